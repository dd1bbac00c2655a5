"""What a whole process costs: its wall time, and the peak memory that the operating system counted for it.

Linux counts for a process what its parent had held, too, when it was started: whoever measures here must stay small, so
no NumPy or torch is imported, and even W is written by a process of its own.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import NamedTuple

PYTHON = (sys.executable, "-c")


class Run(NamedTuple):
    """A process that has ended: wall seconds, peak memory in GiB, and what it wrote to stdout."""

    seconds: float
    memory: float
    output: str


def measured(command: Sequence[str], stdin: str = "", *, status: int = 0) -> Run:
    """Run a command that ends with this exit status."""
    read, write = os.pipe()
    os.write(write, stdin.encode())
    os.close(write)
    with tempfile.TemporaryFile() as output:
        began = time.perf_counter()
        pid = os.posix_spawn(
            command[0],
            command,
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, read, 0),
                (os.POSIX_SPAWN_DUP2, output.fileno(), 1),
            ],
        )
        os.close(read)
        _, ended, usage = os.wait4(pid, 0)
        seconds = time.perf_counter() - began
        if os.waitstatus_to_exitcode(ended) != status:
            raise SystemExit(f"failed: {' '.join(command)[:200]}")
        output.seek(0)
        unit = 1 if sys.platform == "darwin" else 1024
        return Run(seconds, usage.ru_maxrss * unit / 2**30, output.read().decode())


def medians(runs: Sequence[Run]) -> tuple[float, float]:
    """Return the median seconds and the median memory of a command's runs."""
    return statistics.median(run.seconds for run in runs), statistics.median(run.memory for run in runs)


def print_row(name: str, ours: Sequence[Run], rival: Sequence[Run] = ()) -> None:
    """Print a line of a table of six columns: medians, and the median ratio of the pairs."""
    seconds, memory = medians(ours)
    line = f"| {name} | {seconds:.1f} s | {memory:.1f} GiB |"
    if rival:
        rival_seconds, rival_memory = medians(rival)
        ratio = statistics.median(r.seconds / o.seconds for o, r in zip(ours, rival, strict=True))
        line += f" {rival_seconds:.1f} s | {rival_memory:.1f} GiB | {ratio:.1f} |"
    else:
        line += " | | |"
    print(line, flush=True)
