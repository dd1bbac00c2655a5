"""The study's figures and files at full scale, on a replica: `verify`, with and without faults; exports; the notebooks.

The notebooks run beside their SQL files, on the CPU, each in a process of its own as it is; notebook 1.4h's distance
matrix is in the other part (`linking`).
"""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.measuring import PYTHON, Run, measured, print_row

MODEL = "replica"
RECIPE = "qwen3-4b-instruct-2507"
FOLDER = Path(__file__).parent.parent.parent / "queries" / "notebooks"
# Those of `tests.faults`, which is not imported: it would weigh on what is measured.
FAULTS = ("one_step", "lengthened", "doubled", "stretched", "scattered", "strayed", "torn")
# The cells of a notebook on W; those before it have left their files in the folder.
CELLS = """
from pathlib import Path
from safetensors.torch import load_file
from tests.support import notebook_cells
W, folder = load_file({weights!r})["W"], Path({folder!r})
notebook_cells.{cells}
"""
NOTEBOOKS = {
    "1.4a_cosine_resolution": "notebook_1_4a(W, folder, oriented_by=124)",
    "1.4h_extract_cluster_tokens": None,
    "1.5c_logit_equivalence": "notebook_1_5c(W, folder)",
    "1.5d_cluster_members_by_dot_product": "notebook_1_5d(W, folder, oriented_by=124)",
    "1.6a_cluster_reference_frame": "notebook_1_6a(W, folder, oriented_by=124)",
}


def print_verification(
    folder: Path, command: Sequence[str], shell: Sequence[str], shape: tuple[int, int], n: int
) -> None:
    """Print the table: medians of `n` runs, but for one ingest of the replica and one of each fault."""
    weights, figures, catalog = folder / "W.safetensors", folder / "figures.csv", folder / "catalog"
    if not figures.exists():
        measured([sys.executable, "-m", "tests.support.replica", str(folder), *map(str, shape)])
    verify = [*command, "verify", MODEL, "--figures", str(figures), "--catalog", str(catalog)]
    export = [*command, "export", MODEL, "--replace", "--catalog", str(catalog), "--to"]
    tensors = folder / "tensors"
    print("| | catalog | peak | notebook | peak | notebook / catalog |")
    print("|---|---|---|---|---|---|")
    print_row(
        "ingest of the replica, with its tokenizer and the notebooks' recipe",
        [measured(_ingest(command, folder, catalog))],
    )
    verified = [measured(verify) for _ in range(n)]
    print_row(f"`verify`: {_summary(verified[0])}", verified)
    print_row("`export --to tensors`", [measured([*export, "tensors", "-o", str(tensors)]) for _ in range(n)])
    flat = [*export, "parquet", "-o", str(folder / "flat.parquet")]
    print_row("`export --to parquet`", [measured(flat) for _ in range(n)])
    for stem, cells in NOTEBOOKS.items():
        ours, rival = [], []
        for _ in range(n):
            ours.append(measured(shell, f".read {FOLDER / stem}.sql\n"))
            if cells:
                script = CELLS.format(cells=cells, weights=str(weights), folder=str(tensors))
                rival.append(measured([*PYTHON, script]))
        print_row(f"{stem}.sql / the notebook's cells", ours, rival)
    for fault in FAULTS:
        faulty = folder / fault
        measured([sys.executable, "-m", "tests.support.faults", fault, str(folder), str(faulty)])
        print_row(f"ingest of the fault `{fault}`", [measured(_ingest(command, faulty, catalog))])
        found = measured(verify, status=1)
        print_row(f"`verify`: {_summary(found)}", [found])
        shutil.rmtree(faulty)


def _ingest(command: Sequence[str], folder: Path, catalog: Path) -> list[str]:
    """Return the command that catalogues what lies in a folder, W and tokenizer, in the place of what was there."""
    return [
        *command, "ingest", str(folder / "W.safetensors"), "--name", MODEL, "--tokenizer", str(folder / "tokenizer"),
        "--recipe", RECIPE, "--replace", "--catalog", str(catalog),
    ]  # fmt: skip


def _summary(run: Run) -> str:
    return run.output.splitlines()[-1]
