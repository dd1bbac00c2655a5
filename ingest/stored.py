"""What a published version holds, read back for what is computed from it later: rows of W, tables, references."""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from token_catalog.catalog import schemas
from token_catalog.catalog.errors import CatalogError
from token_catalog.catalog.tables import as_rows, read_columns, read_lists
from token_catalog.ingest.arithmetic.distances import Ids
from token_catalog.ingest.features.sky import Floats
from token_catalog.ingest.recipe.recipe import AXES, Recipe, parse_recipe
from token_catalog.ingest.references.clusters import ScoredReference
from token_catalog.ingest.references.resolve import MatrixView

# What a matrix was stored as; `vectors` has its values as FLOAT, exactly.
TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


def stored_rows(folder: Path, model: str, about: Mapping[str, Any]) -> Tensor:
    """Return W as it was stored, `(n_tokens, n_dims)`; `about` is the row of `models`."""
    if not (folder / schemas.VECTORS.file_name).exists():
        raise CatalogError(
            f"{model}: was ingested with --no-vectors, so its rows aren't here; ingest it again, with --replace"
        )
    W = torch.empty(about["n_tokens"], about["n_dims"], dtype=TYPES[about["dtype"]])
    start = 0
    for chunk in read_lists(folder, schemas.VECTORS, "vector"):
        W[start : start + len(chunk)].copy_(torch.tensor(chunk))
        start += len(chunk)
    return W


def recipe_of(about: Mapping[str, Any]) -> Recipe:
    """Return the recipe in force; one from before there were references has none."""
    return parse_recipe({"reference": [], **json.loads(about["recipe"])})


def components(folder: Path) -> Floats:
    """Return the principal components, `(n_dims, n_dims)`, in rows."""
    return np.concatenate(list(read_lists(folder, schemas.PRINCIPAL_COMPONENTS, "vector")))


def rows_of(folder: Path, table: schemas.Table, model: str) -> pa.Table:
    """Return a table's rows; columns that an older version lacks are NULL."""
    return as_rows(table, model, read_columns(folder, table))


def catalogued(folder: Path, model: str, about: Mapping[str, Any], W: Tensor, features: pa.Table) -> MatrixView:
    """Return a stored matrix for references to be resolved on."""
    axes = {axis: about[f"{axis}_pc"] for axis in AXES}
    return MatrixView(
        W,
        features,
        partial(rows_of, folder, schemas.TOKENS, model),
        partial(components, folder),
        (axes["meridian"], axes["equinox"], axes["north"]),
    )


def references(folder: Path) -> list[ScoredReference]:
    """Return the references that a version has, with their scores; none, where it is from before there were any."""
    if not (folder / schemas.REFERENCE_VECTORS.file_name).exists():
        return []
    about = read_columns(folder, schemas.REFERENCE_VECTORS)
    scores = read_columns(folder, schemas.SCORES)
    names = about.pop("reference").to_pylist()
    values = {name: masked(column) for name, column in scores.items() if name not in ("reference", "token_id")}
    n_tokens = len(scores["token_id"]) // max(1, len(names))
    return [
        ScoredReference(
            name,
            {key: column[i].as_py() for key, column in about.items() if key != "vector"}
            | {"vector": about["vector"][i].values.to_numpy()},
            {key: value[i * n_tokens : (i + 1) * n_tokens] for key, value in values.items()},
        )
        for i, name in enumerate(names)
    ]


def recipe_members(folder: Path, recipe: Recipe) -> dict[str, Ids]:
    """Return the tokens of the clusters of the recipe in force."""
    if not recipe.clusters:
        return {}
    columns = read_columns(folder, schemas.RECIPE_CLUSTERS)
    names, ids = columns["cluster"].to_numpy(zero_copy_only=False), columns["token_id"].to_numpy()
    return {cluster.name: ids[names == cluster.name] for cluster in recipe.clusters}


def masked(column: Any) -> Any:
    """Return a numeric Arrow column as a masked array."""
    missing = column.is_null().to_numpy(zero_copy_only=False)
    return np.ma.MaskedArray(column.fill_null(0).to_numpy(zero_copy_only=False), missing)
