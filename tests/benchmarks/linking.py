"""The linkage of the whole vocabulary beside its rivals; those that would take too long get a part of it.

What a rival would take for the whole is extrapolated, and said to be: of its process, only the seconds that grow with
the rows are, and the rest is added as it was.
"""

import json
import math
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks import rivals
from tests.benchmarks.measuring import PYTHON, Run, measured, medians

RADIUS, THRESHOLD, ASKED = 0.02, 0.002, 0.01
# The notebook's window of the sky has 13% of the vocabulary.
NOTEBOOK_ROWS = 20_373
FAISS_QUERIES = 2_000
# Two sizes for each of DBSCAN's algorithms, to see the growth: as many rows as take a minute or so.
DBSCAN_ROWS = {"kd_tree": (20_000, 40_000), "brute": (10_000, 20_000), "ball_tree": (2_000, 4_000)}


BASIS = """
from pathlib import Path
import numpy as np
from token_catalog.catalog.schemas import PRINCIPAL_COMPONENTS
from token_catalog.catalog.state import read_state
from token_catalog.catalog.tables import read_lists
catalog = Path({catalog!r})
folder = catalog / read_state(catalog).models[{model!r}].folder
np.save({path!r}, np.concatenate(list(read_lists(folder, PRINCIPAL_COMPONENTS, "vector"))))
"""


@dataclass(frozen=True)
class Bench:
    """What is linked, in which catalog, and how many runs make a median."""

    weights: Path
    catalog: Path
    model: str
    shell: Sequence[str]
    n_tokens: int
    repeats: int

    def runs(self, command: Sequence[str], stdin: str = "") -> list[Run]:
        """Run a command as often as asked."""
        return [measured(command, stdin) for _ in range(self.repeats)]

    def rival(self, script: str, **values: Any) -> list[Run]:
        """Run a rival's script on W."""
        return self.runs([*PYTHON, script.format(path=str(self.weights), radius=RADIUS, threshold=THRESHOLD, **values)])


def print_linkage(bench: Bench) -> None:
    """Print the table; the model is in the catalog."""
    print("| | rows | wall | peak | largest component | the whole vocabulary |")
    print("|---|---|---|---|---|---|")
    basis = _basis(bench)
    limits = [str(RADIUS), str(THRESHOLD)]
    stages = bench.runs([sys.executable, "-m", "tests.benchmarks.stages", str(bench.weights), str(basis), *limits])
    _row(f"the catalog's linkage, radius {RADIUS:g}", bench.n_tokens, stages, "all of it")
    relink = [sys.executable, "-m", "token_catalog", "relink", bench.model, "--catalog", str(bench.catalog)]
    relinked = bench.runs([*relink, "--radius", str(RADIUS), "--threshold", str(THRESHOLD)])
    _row("`relink`, reading and writing the catalog", bench.n_tokens, relinked, "all of it")
    _notebook(bench)
    _faiss(bench)
    _dbscan(bench)
    components = f"select count(*) as n_rows, max(component_size) as largest from components_at({ASKED});"
    asked = bench.runs([*bench.shell, "-json"], components)
    _row(f"`components_at({ASKED})` in the DuckDB shell", bench.n_tokens, asked, "all of it", digits=2)
    parts = [_said(run)["parts"] for run in stages]
    seconds = {part: statistics.median(said[part] for said in parts) for part in parts[0]}
    print("\nThe catalog's linkage: " + "; ".join(f"{part} {seconds[part]:.2f} s" for part in seconds))


def _basis(bench: Bench) -> Path:
    """Write the catalogued principal components beside W, once: they are given, as for `relink`."""
    path = bench.weights.with_suffix(".basis.npy")
    if not path.exists():
        measured([*PYTHON, BASIS.format(catalog=str(bench.catalog), model=bench.model, path=str(path))])
    return path


def _notebook(bench: Bench) -> None:
    rows = min(NOTEBOOK_ROWS, bench.n_tokens)
    found = bench.rival(rivals.NOTEBOOK, rows=rows)
    share = f"{rows / bench.n_tokens:.0%} of it, as the notebook takes; not extrapolated"
    _row("the notebooks' cdist and connected_components (1.4b, 1.4h)", rows, found, share)


def _faiss(bench: Bench) -> None:
    queries = min(FAISS_QUERIES, bench.n_tokens)
    found = bench.rival(rivals.FAISS, rows=queries)
    whole = _whole(found, bench.n_tokens, 1.0)
    note = f"{whole:,.0f} s, extrapolated: linear in the queries"
    _row("faiss IndexFlatL2.range_search, pairs only", f"{queries:,} against all", found, note)


def _dbscan(bench: Bench) -> None:
    for algorithm, sizes in DBSCAN_ROWS.items():
        rows = [min(size, bench.n_tokens) for size in sizes]
        few, more = (bench.rival(rivals.DBSCAN, algorithm=algorithm, rows=size) for size in rows)
        exponent = _exponent(few, more)
        note = (
            f"{_whole(more, bench.n_tokens, exponent):,.0f} s, extrapolated: rows to the power of {exponent:.2f}, "
            f"as from {rows[0]:,} rows ({medians(few)[0]:.1f} s)"
        )
        _row(f"scikit-learn DBSCAN, {algorithm}, eps {THRESHOLD:g}", rows[1], more, note)


def _exponent(few: list[Run], more: list[Run]) -> float:
    """Return by which power of the rows the work grew: 2 at most, as all pairs are no more.

    Processor seconds tell, which other processes disturb less than wall seconds.
    """
    times, sizes = (math.log(_median(more, key) / _median(few, key)) for key in ("cpu", "rows"))
    return min(2.0, times / sizes) if sizes else 2.0


def _whole(runs: list[Run], n_tokens: int, exponent: float) -> float:
    """Return the wall seconds to expect for the whole vocabulary."""
    growing = _median(runs, "seconds")
    return medians(runs)[0] - growing + growing * (n_tokens / _median(runs, "rows")) ** exponent


def _said(run: Run) -> dict[str, Any]:
    """Return what a process printed as JSON, in its last line; nothing where it printed none."""
    last = run.output.strip().rpartition("\n")[2].strip("[]")
    return dict(json.loads(last)) if last.startswith("{") else {}


def _median(runs: list[Run], key: str) -> float:
    return statistics.median(_said(run)[key] for run in runs)


def _row(name: str, rows: int | str, runs: list[Run], whole: str, digits: int = 1) -> None:
    seconds, memory = medians(runs)
    shown = rows if isinstance(rows, str) else f"{rows:,}"
    largest = _said(runs[0]).get("largest")
    found = "" if largest is None else f"{largest:,}"
    print(f"| {name} | {shown} | {seconds:.{digits}f} s | {memory:.{digits}f} GiB | {found} | {whole} |", flush=True)
