"""A published version of a model, read back; and its revision: a new version that shares the tables which stay.

`relink` and `add-references` compute from what the catalog holds, not from the model's own files.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from token_catalog.catalog import schemas
from token_catalog.catalog.errors import CatalogError
from token_catalog.catalog.publish import staging
from token_catalog.catalog.state import pinned, read_state, require, state_of
from token_catalog.catalog.tables import as_rows, read_columns, read_lists, read_row

from .arithmetic.arrays import Floats, Ids
from .devices import enough_memory
from .frames.axes import Axes
from .frames.places import PlacedFrame
from .new_version import NewVersion
from .recipe.frames import LETTERS
from .recipe.recipe import Recipe, parse_recipe
from .references.matrix_view import MatrixView
from .references.scores import ScoredReference
from .report import Report
from .shared_sky import own_axes, read_shared
from .spectra.spectrum import Spectrum

# What a matrix was stored as; `vectors` has its values as FLOAT, exactly.
TORCH_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


@dataclass(frozen=True)
class StoredModel:
    """One version of a matrix: its name in the catalog, and the folder with its tables."""

    model: str
    folder: Path

    @cached_property
    def about(self) -> dict[str, Any]:
        """Its row of `models`, but for the key; NULL is what an older version lacks."""
        row = read_row(self.folder, schemas.MODELS, self.model)
        return {column.name: row.get(column.name) for column in schemas.MODELS.columns if column.name != "model"}

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe in force; one from before there were references has none."""
        return parse_recipe({"reference": [], **json.loads(self.about["recipe"])})

    def columns(self, table: schemas.Table) -> dict[str, pa.Array]:
        """Return the columns of a table, by name; those that an older version lacks are NULL."""
        columns = read_columns(self.folder, table, self.model)
        n_rows = len(next(iter(columns.values())))
        missing = [column for column in table.columns if column.name not in (*columns, "model")]
        return columns | {column.name: pa.nulls(n_rows, column.type) for column in missing}

    def table(self, table: schemas.Table) -> pa.Table:
        """Return a table's rows, as `columns` has them."""
        return as_rows(table, self.model, self.columns(table))

    def W(self) -> Tensor:  # noqa: N802 (as in every paper)
        """Return the matrix as it was stored, `(n_tokens, n_dims)`; CatalogError where it was left out."""
        if not (self.folder / schemas.VECTORS.file_name).exists():
            raise CatalogError(
                f"{self.model}: was ingested with `with_vectors=False`, so its rows aren't here; "
                "ingest it again, with `replace=True`"
            )
        W = torch.empty(self.about["n_tokens"], self.about["n_dims"], dtype=TORCH_TYPES[self.about["dtype"]])
        start = 0
        for chunk in read_lists(self.folder, schemas.VECTORS, "vector", self.model):
            W[start : start + len(chunk)].copy_(torch.tensor(chunk))
            start += len(chunk)
        return W

    def components(self) -> Floats:
        """Return the principal components, `(n_dims, n_dims)`, in rows."""
        return np.concatenate(list(read_lists(self.folder, schemas.PRINCIPAL_COMPONENTS, "vector", self.model)))

    def component(self, pc: int) -> Floats:
        """Return one principal component, `(n_dims,)`, reading no other."""
        start = 0
        for chunk in read_lists(self.folder, schemas.PRINCIPAL_COMPONENTS, "vector", self.model):
            if pc <= start + len(chunk):
                vector: Floats = chunk[pc - 1 - start]
                return vector
            start += len(chunk)
        raise CatalogError(f"{self.model}: has {start} components, so no PC{pc}")

    def frames(self) -> list[PlacedFrame]:
        """Return the frames but the default one, spectra's skies among them, with every row's place."""
        if not (self.folder / schemas.FRAME_AXES.file_name).exists():
            return []
        axes, places = self.columns(schemas.FRAME_AXES), self.columns(schemas.FRAME_PLACES)
        names = axes["frame"].to_pylist()
        lists = {name: self._lists(column) for name, column in axes.items() if name not in ("frame", "definition")}
        values = {name: masked(column) for name, column in places.items() if name not in ("frame", "token_id")}
        n_tokens = self.about["n_tokens"]
        return [
            PlacedFrame(
                name,
                axes["definition"][i].as_py(),
                Axes(
                    lists["origin"][i],
                    *(np.stack([lists[f"{letter}_{kind}"][i] for letter in LETTERS]) for kind in ("asked", "axis")),
                ),
                {column: value[i * n_tokens : (i + 1) * n_tokens] for column, value in values.items()},
            )
            for i, name in enumerate(names)
        ]

    def spectra(self) -> list[Spectrum]:
        """Return the spectra of its clusters."""
        if not (self.folder / schemas.SPECTRA.file_name).exists():
            return []
        columns = self.columns(schemas.SPECTRUM_COMPONENTS)
        names, weightings = (columns[key].to_numpy(zero_copy_only=False) for key in ("cluster", "weighting"))
        spectra = []
        for row in self.table(schemas.SPECTRA).drop_columns(["model"]).to_pylist():
            cluster, weighting = row.pop("cluster"), row.pop("weighting")
            own = pa.array((names == cluster) & (weightings == weighting))
            eigenvalues, shares = (columns[key].filter(own).to_numpy() for key in ("eigenvalue", "variance_share"))
            spectra.append(
                Spectrum(cluster, weighting, row, eigenvalues, shares, self._lists(columns["vector"].filter(own)))
            )
        return spectra

    def _lists(self, column: pa.Array) -> Floats:
        """Return a column of vectors of W's width as an array, `(n_rows, n_dims)`."""
        vectors: Floats = column.flatten().to_numpy().reshape(len(column), self.about["n_dims"])
        return vectors

    def references(self) -> list[ScoredReference]:
        """Return the references with their scores; none, where the version is from before there were any."""
        if not (self.folder / schemas.REFERENCE_VECTORS.file_name).exists():
            return []
        rows, scores = self.table(schemas.REFERENCE_VECTORS), self.columns(schemas.SCORES)
        values = {name: masked(column) for name, column in scores.items() if name not in ("reference", "token_id")}
        n_tokens = len(scores["token_id"]) // max(1, len(rows))
        references = []
        for i, row in enumerate(rows.drop_columns(["model", "vector"]).to_pylist()):
            vector = rows["vector"][i].values.to_numpy()
            own = {name: value[i * n_tokens : (i + 1) * n_tokens] for name, value in values.items()}
            references.append(ScoredReference(row.pop("reference"), row | {"vector": vector}, own))
        return references

    def members(self) -> dict[str, Ids]:
        """Return the tokens of the recipe's clusters, by name."""
        if not self.recipe.clusters:
            return {}
        columns = self.columns(schemas.RECIPE_CLUSTERS)
        names, ids = columns["cluster"].to_numpy(zero_copy_only=False), columns["token_id"].to_numpy()
        return {cluster.name: ids[names == cluster.name] for cluster in self.recipe.clusters}

    def view(self, W: Tensor, features: pa.Table) -> MatrixView:
        """Return the matrix as references see it, with these features."""
        tokens = partial(self.table, schemas.TOKENS)
        return MatrixView(W, features, tokens, self.components, self.sky)

    def sky(self) -> Floats:
        """Return the axes x, y, z of its sky, `(3, n_dims)`: its own, or its series'."""
        shared = read_shared(self.folder, self.model)
        return shared.axes if shared else own_axes(self.components(), self.recipe.sky)


# Writes the tables of the new version that differ from the stored one's, and changes its row of `models`.
Revise = Callable[[StoredModel, NewVersion], None]


def revise(catalog: Path, name: str, work: Revise) -> Report:
    """Let `work` write the tables that change, for each model of this key or name, and publish them together.

    On bad input: CatalogError, and the catalog is as it was.
    """
    report = Report()
    catalog = require(catalog)
    with pinned(catalog) as database:  # nobody clears what is read here
        state = state_of(database.parent) or read_state(catalog)
        with staging(catalog) as area:
            for model in state.named(name):
                before = state.models[model]
                stored = StoredModel(model, catalog / before.folder)
                new = NewVersion(model, area.version(model, before.name, before), dict(stored.about), report)
                with enough_memory(model):
                    work(stored, new)
                with report.stage("tables"):
                    new.write_models()
                report.models.append(model)
            with report.stage("publish"):
                area.publish(replace=True)
    return report


def masked(column: pa.Array) -> "np.ma.MaskedArray[Any, Any]":
    """Return a numeric Arrow column as a masked array."""
    missing = column.is_null().to_numpy(zero_copy_only=False)
    return np.ma.MaskedArray(column.fill_null(0).to_numpy(zero_copy_only=False), missing)
