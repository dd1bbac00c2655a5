"""What a catalog costs as it grows: publishing one more, opening it, and questions of one model, one run and all.

`python -m tests.benchmarks.growth 1 10 100 1000`: a catalog of so many models of 2,000 x 64, each a copy of one
that was ingested, 25 steps of a run to a version folder, as a batch writes them. Seconds, medians of five. Past 1,000,
models have their row of `models` and no more: for planning.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import save_file

from token_catalog.catalog.publish import Staging, staging
from token_catalog.catalog.schemas import MODELS, TABLES
from token_catalog.catalog.state import read_state
from token_catalog.ingest.run import ingest
from token_catalog.ingest.source.resolve import SourceOptions
from token_catalog.queries.session import connected

SHAPE = (2_000, 64)
RUN = "run"
TOGETHER = 25  # and past 1,000, where little is written, ten times as many
WHOLE = 1_000
REPEATS = 5
ONE = {
    "one: clusters": "from clusters",
    "one: cluster_overlaps": "from cluster_overlaps",
    "one: nearest": "from nearest(7, 5)",
    "one: cone_search": "from cone_search(0, 0, 20)",
}
SERIES = {"run of 10: series_summary": "from series_summary", "run of 10: freezing": "from freezing"}
ALL = {"all: features": "select avg(norm) from features", "all: clusters": "select count(*) from clusters"}


def main() -> None:
    """Print a row for each number of models."""
    sizes = sorted(map(int, sys.argv[1:])) or [1, 10, 100, 1000]
    with tempfile.TemporaryDirectory() as temporary:
        catalog, tables = _beginning(Path(temporary))
        names = ["models", "publish one more", "open", *ONE, *SERIES, *ALL]
        print(f"| {' | '.join(names)} |\n|{'---|' * len(names)}")
        there = 1
        for size in sizes:
            while there < size:
                more = min(TOGETHER * (1 if there < WHOLE else 10), size - there, 10 - there if there < 10 else size)
                series = "small" if there < 10 else RUN
                written = tables if there < WHOLE else {MODELS.name: tables[MODELS.name]}
                _publish(catalog, written, series, range(there, there + more))
                there += more
            row = _row(catalog, tables, ALL if there <= WHOLE else {})
            print(f"| {there:,} | {' | '.join(f'{seconds:.3f}' for seconds in row)} |", flush=True)


def _beginning(folder: Path) -> tuple[Path, dict[str, pa.Table]]:
    """Ingest one matrix; return the catalog, and the tables that the others copy."""
    torch.set_num_threads(1)
    catalog = folder / "catalog"
    generator = torch.Generator().manual_seed(0)
    save_file({"W": torch.randn(*SHAPE, generator=generator)}, folder / "W.safetensors")
    ingest(catalog, str(folder / "W.safetensors"), SourceOptions(name="one"), with_tokenizer=False)
    version = catalog / read_state(catalog).models["one"].folder
    files = {table.name: version / table.file_name for table in TABLES}
    return catalog, {name: pq.read_table(path) for name, path in files.items() if path.exists()}


def _publish(catalog: Path, tables: dict[str, pa.Table], series: str, steps: range) -> float:
    """Publish members of a series together; return how long the publish alone took."""
    with staging(catalog) as area:
        _write(area, tables, series, steps)
        began = time.perf_counter()
        area.publish(replace=True)
        return time.perf_counter() - began


def _write(area: Staging, tables: dict[str, pa.Table], series: str, steps: range) -> None:
    folder = area.pack(series)
    for name, rows in tables.items():
        with pq.ParquetWriter(folder / f"{name}.parquet", rows.schema, compression="zstd") as writer:
            for step in steps:
                own = {"model": f"{series}@{step}"}
                if name == MODELS.name:
                    own |= {"name": f"{series}@{step}", "series": series, "step": step}
                writer.write_table(_with_values(rows, own))
    for step in steps:
        area.add(f"{series}@{step}", f"{series}@{step}", folder)


def _with_values(rows: pa.Table, values: dict[str, object]) -> pa.Table:
    for name, value in values.items():
        at = rows.schema.get_field_index(name)
        field = rows.schema.field(at)
        rows = rows.set_column(at, field, pa.repeat(pa.scalar(value, field.type), len(rows)))
    return rows


def _row(catalog: Path, tables: dict[str, pa.Table], of_all: dict[str, str]) -> list[float]:
    publishing = statistics.median(_publish(catalog, tables, "again", range(1)) for _ in range(REPEATS))
    opening = _seconds(lambda: connected(catalog, "one").__enter__().close())
    one = [_asked(catalog, query, "set variable model = 'one'") for query in ONE.values()]
    series = [_asked(catalog, query, "set variable series = 'small'") for query in SERIES.values()]
    return [publishing, opening, *one, *series, *(_asked(catalog, query, "") for query in of_all.values())]


def _asked(catalog: Path, query: str, narrowing: str) -> float:
    with connected(catalog) as connection:
        connection.execute(narrowing)
        return _seconds(lambda: connection.execute(query).fetchall())


def _seconds(work: Callable[[], object]) -> float:
    """Return the median time of some runs, after one that isn't counted."""
    work()
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


if __name__ == "__main__":
    main()
