"""The tables of alignments: a model has one with each other model at most, so a new one takes an old one's place."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from token_catalog.catalog import schemas
from token_catalog.catalog.tables import Columns, as_rows

from ..new_version import NewVersion
from .procrustes import Alignment, MatchedRows


def write_alignment(
    version: NewVersion,
    before: Mapping[str, pa.Table],
    other: Mapping[str, Any],
    found: Alignment,
    rows: MatchedRows,
) -> None:
    """Write `alignments` and `aligned_tokens`.

    `before` has the rows that are there of each table, by its name; `other`, the row of `models` of the other model.
    """
    n = len(rows.own)
    order = np.argsort(rows.own, kind="stable")
    tables: dict[schemas.Table, Columns] = {
        schemas.ALIGNMENTS: {
            "other": [other["model"]],
            "n_tokens": [int(rows.fitted.sum())],
            "n_dims": [version.about["n_dims"]],
            "other_n_dims": [other["n_dims"]],
            "residual": [found.residual],
            "relative_residual": [found.relative],
            "scale": [found.rotation.scale],
            "other_tensor_sha256": [other["tensor_sha256"]],
        },
        schemas.ALIGNED_TOKENS: {
            "other": [other["model"]] * n,
            "token_id": rows.own[order],
            "other_token_id": rows.other[order],
            "fitted": rows.fitted[order],
            "distance": found.distances[order],
            "cosine": np.ma.masked_invalid(found.cosines[order]),
        },
    }
    for table, columns in tables.items():
        added = as_rows(table, version.model, columns)
        if table.name in before:
            kept = before[table.name].filter(pc.not_equal(before[table.name]["other"], other["model"]))
            added = pa.concat_tables([kept, added])
        whole = added.combine_chunks()
        version.write(table, {name: whole[name].combine_chunks() for name in whole.column_names if name != "model"})
