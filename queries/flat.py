"""A model as one flat Parquet file, for tools that read a table and nothing else."""

from collections.abc import Iterable
from pathlib import Path

from catalog import schemas
from catalog.quoting import identifier, quoted
from queries.session import asked, copy_rows

# pcs, the only list among the features, becomes the columns pc1, pc2, …
_N_PCS = 8
_KEYS = ("model", "token_id")


def to_parquet(catalog: Path, model: str, path: Path) -> None:
    """Write one row per token: `tokens`, `features`, and columns for each reference and each cluster of the recipe.

    A reference's are `REF:dot`, `REF:dot_bf16` and so on, a cluster's is `NAME:member`; all are numbers, text, bytes or
    truth values.
    """
    with asked(catalog, model) as connection:
        references = connection.execute("select reference from reference_vectors order by reference").fetchall()
        clusters = connection.execute("select distinct cluster from recipe_clusters order by cluster").fetchall()
        flat = _flat([name for (name,) in references], [name for (name,) in clusters])
        copy_rows(connection.sql(flat), "parquet", path)


def _flat(references: Iterable[str], clusters: Iterable[str]) -> str:
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
    for i, cluster in enumerate(clusters):
        columns.append(f"c{i}.token_id is not null as {identifier(f'{cluster}:member')}")
        joins.append(
            f"left join (from recipe_clusters where cluster = {quoted(cluster)}) as c{i} using (model, token_id)"
        )
    return f"select {', '.join(columns)} {' '.join(joins)} order by t.token_id"
