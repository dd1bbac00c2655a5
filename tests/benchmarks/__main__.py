"""Time the catalog at full scale; print three tables.

They are: questions beside the notebooks; the linkage beside its rivals; and, on a replica of the study's matrix, its
figures verified, with and without faults, its files exported, and its notebooks as SQL beside their cells.

Every measurement is a whole process: its wall time, and the peak memory that the operating system counted for it. The
tables give medians.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from tests.benchmarks import LAT, LON, N_DIMS, N_TOKENS
from tests.benchmarks.linking import RADIUS, THRESHOLD, Bench, print_linkage
from tests.benchmarks.measuring import measured
from tests.benchmarks.questions import print_questions
from tests.benchmarks.verifying import print_verification
from token_catalog.queries.session import find_shell

MODEL = "synthetic"
COMMAND = (sys.executable, "-m", "token_catalog")
SYNTHETIC = (sys.executable, "-m", "tests.benchmarks.synthetic")
PARTS = ("questions", "linkage", "verify")
# What notebooks 1.4a to 1.6a ask; {last} is a token of the clump.
RECIPE = """
sky = {{ orient = {{ token = {last}, x = "+", y = "+", z = "-" }} }}
linkage = {{ radius = {radius}, threshold = {threshold} }}
reference = [
    {{ name = "1.4a", sky = {{ lat = {lat}, lon = {lon} }} }},
    {{ name = "1.5c", centroid = "1.4a:cosine-mode" }},
    {{ name = "1.5d", first_in_box = {{ lat = {lat}, lon = {lon}, diameter = 2.0 }} }},
    {{ name = "1.6a", centroid = "largest-component" }},
]
"""
MORE = """
reference = [{{ name = "more-{number}", centroid = "1.5c:dot-mode" }}]
"""


def main() -> None:
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--tokens", type=int, default=N_TOKENS)
    parser.add_argument("--dims", type=int, default=N_DIMS)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where W and the catalog go (kept); default: a temporary folder")
    parser.add_argument("--part", choices=PARTS, help="print one table only; default: all")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        print(f"{options.tokens:,} x {options.dims:,} bf16, {os.cpu_count()} cores, medians of {options.repeats}\n")
        if options.part != "verify":
            _on_synthetic(folder, options)
        if options.part in (None, "verify"):
            shape = (options.tokens, options.dims)
            print_verification(
                folder / "replica", COMMAND, _shell(folder / "replica" / "catalog"), shape, options.repeats
            )


def _on_synthetic(folder: Path, options: argparse.Namespace) -> None:
    """Print the tables of questions and of linkage."""
    folder.mkdir(parents=True, exist_ok=True)
    weights, catalog = folder / "W.safetensors", folder / "catalog"
    if not weights.exists():
        measured([*SYNTHETIC, str(weights), str(options.tokens), str(options.dims)])
    recipe = folder / "recipe.toml"
    chosen = {"last": options.tokens - 1, "radius": RADIUS, "threshold": THRESHOLD, "lat": LAT, "lon": LON}
    recipe.write_text(RECIPE.format(**chosen), encoding="utf-8")
    adding = []
    for number in range(options.repeats):
        more = folder / f"more-{number}.toml"
        more.write_text(MORE.format(number=number), encoding="utf-8")
        adding.append([*COMMAND, "add-references", MODEL, str(more), "--catalog", str(catalog)])
    ingest = [
        *COMMAND, "ingest", str(weights), "--name", MODEL, "--recipe", str(recipe),
        "--no-tokenizer", "--replace", "--profile", "--catalog", str(catalog),
    ]  # fmt: skip
    if options.part != "linkage":
        shape = (options.tokens, options.dims)
        print_questions(weights, ingest, adding, _shell(catalog), shape, options.repeats)
        print()
    if options.part != "questions":
        if not catalog.exists():
            measured(ingest)
        print_linkage(Bench(weights, catalog, MODEL, _shell(catalog), options.tokens, options.repeats))
        print()


def _shell(catalog: Path) -> list[str]:
    return [find_shell(), "-readonly", "-init", str(catalog / "open.sql"), str(catalog / "catalog.duckdb")]


if __name__ == "__main__":
    main()
