"""Time the ingest and the questions at full scale, each beside the notebook's way, and print one table.

Every measurement is a whole process: its wall time, and the peak memory that the operating system counted for it. Those
of a pair take turns, and the table gives medians, and the median of the pairs' ratios.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from queries.session import find_shell
from tests.benchmarks import notebooks
from tests.benchmarks.synthetic import N_DIMS, N_TOKENS, write_synthetic


def measured(command: list[str], stdin: str = "") -> tuple[float, float]:
    """Run a command; return its wall seconds and peak memory in GiB."""
    read, write = os.pipe()
    os.write(write, stdin.encode())
    os.close(write)
    began = time.perf_counter()
    pid = os.posix_spawn(
        command[0],
        command,
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_DUP2, read, 0),
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
        ],
    )
    os.close(read)
    _, status, usage = os.wait4(pid, 0)
    if status:
        raise SystemExit(f"failed: {' '.join(command)[:200]}")
    unit = 1 if sys.platform == "darwin" else 1024
    return time.perf_counter() - began, usage.ru_maxrss * unit / 2**30


def row(name: str, ours: list[tuple[float, float]], rival: list[tuple[float, float]]) -> None:
    """Print a line of the table: medians, and the median ratio of the pairs."""
    seconds, memory = (statistics.median(values) for values in zip(*ours, strict=True))
    line = f"| {name} | {seconds:.1f} s | {memory:.1f} GiB |"
    if rival:
        rival_seconds, rival_memory = (statistics.median(values) for values in zip(*rival, strict=True))
        ratio = statistics.median(r / o for (o, _), (r, _) in zip(ours, rival, strict=True))
        line += f" {rival_seconds:.1f} s | {rival_memory:.1f} GiB | {ratio:.1f} |"
    else:
        line += " | | |"
    print(line, flush=True)


def main() -> None:
    """Run every pair in turn."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--tokens", type=int, default=N_TOKENS)
    parser.add_argument("--dims", type=int, default=N_DIMS)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where W and the catalog go (kept); default: a temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        weights, catalog = folder / "W.safetensors", folder / "catalog"
        if not weights.exists():
            write_synthetic(weights, options.tokens, options.dims)
        token = options.tokens - 1
        ingest = [
            sys.executable, "-m", "token_catalog", "ingest", str(weights), "--name", "synthetic",
            "--no-tokenizer", "--replace", "--profile", "--catalog", str(catalog),
        ]  # fmt: skip
        shell = [find_shell(), "-readonly", "-init", str(catalog / "open.sql"), str(catalog / "catalog.duckdb")]
        python = [sys.executable, "-c"]
        features = [*python, notebooks.FEATURES.format(path=str(weights))]
        questions = [
            ("same_dot_as (1.5d)", f"select count(*) from same_dot_as({token});", notebooks.SAME_DOT),
            (
                "mode of the cosines to a row (1.4a)",
                f"select mode(cosine_bf16) from point_at_token({token});",
                notebooks.COSINES,
            ),
            ("dots with any vector", f"select count(dot_bf16) from point_at({_vector(options.dims)});", None),
            (
                "dots and cosines with any vector",
                f"select count(dot_bf16), count(cosine_bf16) from point_at({_vector(options.dims)});",
                None,
            ),
            ("the 10 nearest vectors", f"from nearest({token}, 10);", None),
            ("a window of the sky", "select count(*) from box_search(-7, 7, 5);", None),
        ]
        print(f"{options.tokens:,} x {options.dims:,} bf16, {os.cpu_count()} cores, medians of {options.repeats}\n")
        print("| | catalog | peak | notebook | peak | notebook / catalog |")
        print("|---|---|---|---|---|---|")
        pairs = [(measured(ingest), measured(features)) for _ in range(options.repeats)]
        row("ingest, vectors and all / the notebooks' PCA and sky", *map(list, zip(*pairs, strict=True)))
        for name, sql, notebook in questions:
            ours, rival = [], []
            for _ in range(options.repeats):
                ours.append(measured(shell, sql))
                if notebook:
                    rival.append(measured([*python, notebook.format(path=str(weights), token=token)]))
            row(name, ours, rival)


def _vector(n_dims: int) -> list[float]:
    return [round(((7 * i) % 13 - 6) / 100, 2) for i in range(n_dims)]


if __name__ == "__main__":
    main()
