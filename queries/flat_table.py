"""A model as one flat Parquet file, for tools that read a table and nothing else."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from token_catalog.catalog import schemas
from token_catalog.catalog.errors import CatalogError
from token_catalog.catalog.quoting import identifier, quoted

from .session import asked, copy_rows

if TYPE_CHECKING:
    import duckdb

# pcs, the only list among the features, becomes the columns pc1, pc2, …
_N_PCS = 8
_KEYS = ("model", "token_id")


def to_parquet(catalog: Path, model: str, path: Path) -> None:
    """Write one row per token: the columns of `tokens` and `features`, of each reference and of each cluster.

    A reference's columns are `REF:dot`, `REF:dot_bf16` and so on, a cluster's is `NAME:member`; components and groups
    of duplicates have none but those in `features`. All are numbers, text, bytes or truth values. CatalogError where
    two names differ in case only: to DuckDB, they would be one column.
    """
    with asked(catalog, model) as connection:
        references = _distinct_names(connection, "select reference from reference_vectors")
        clusters = _distinct_names(
            connection, "select cluster from clusters where kind not in ('component', 'duplicate')"
        )
        copy_rows(connection, _flat_query(references, clusters), "parquet", path)


def _distinct_names(connection: "duckdb.DuckDBPyConnection", query: str) -> list[str]:
    """Return the names that a query gives, sorted; CatalogError where two differ in case only."""
    names = sorted(name for (name,) in connection.execute(query).fetchall())
    seen: dict[str, str] = {}
    for name in names:
        if seen.setdefault(name.lower(), name) != name:
            raise CatalogError(
                f"{seen[name.lower()]} and {name} differ in case only, and can't be columns of one table"
            )
    return names


def _flat_query(references: Iterable[str], clusters: Iterable[str]) -> str:
    """Return the query of the flat table."""
    columns = [f"t.{identifier(column.name)}" for column in schemas.TOKENS.columns]
    columns += [
        f"f.{identifier(column.name)}" for column in schemas.FEATURES.columns if column.name not in (*_KEYS, "pcs")
    ]
    columns += [f"f.pcs[{k}] as pc{k}" for k in range(1, _N_PCS + 1)]
    joins = ["from tokens as t join features as f using (model, token_id)"]
    for i, reference in enumerate(references):
        columns += [
            f"s{i}.{identifier(column.name)} as {identifier(f'{reference}:{column.name}')}"
            for column in schemas.SCORES.columns
            if column.name not in (*_KEYS, "reference")
        ]
        joins.append(f"join (from scores where reference = {quoted(reference)}) as s{i} using (model, token_id)")
    columns += [
        f"coalesce(list_contains(c.clusters, {quoted(cluster)}), false) as {identifier(f'{cluster}:member')}"
        for cluster in clusters
    ]
    joins.append(
        "left join (select model, token_id, list(cluster) as clusters from cluster_members group by model, token_id)"
        " as c using (model, token_id)"
    )
    return f"select {', '.join(columns)} {' '.join(joins)} order by t.token_id"
