"""The command line, in this process (what it says and its exit code are the same there) or in one of its own."""

import io
import os
import signal
import subprocess
import sys
from subprocess import CompletedProcess

import pytest

from token_catalog.cli import main


def run(*arguments: object) -> CompletedProcess[str]:
    """Run the command line in this process; return its exit code and what it wrote. What isn't an exit is raised."""
    argv = ["token-catalog", *map(str, arguments)]
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    interrupting = signal.getsignal(signal.SIGINT)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"argv": argv, "stdout": out, "stderr": err}.items():
            patch.setattr(sys, name, value)
        try:
            with pytest.raises(SystemExit) as stopped:
                main()
        finally:
            signal.signal(signal.SIGINT, interrupting)
    written = [file.buffer.getvalue().decode() for file in (out, err)]  # type: ignore[attr-defined]
    return CompletedProcess(argv, int(stopped.value.code or 0), *written)


def run_apart(*arguments: object, stdin: str = "", env: dict[str, str] | None = None) -> CompletedProcess[str]:
    """Run the command line in a process of its own, as a shell does."""
    return subprocess.run(
        [sys.executable, "-m", "token_catalog", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **(env or {})},
    )


def refused(*arguments: object) -> str:
    """Return the message of a command that bad input stops: exit code 2, a line or two, no traceback."""
    done = run(*arguments)
    assert done.returncode == 2, done
    assert "Traceback" not in done.stderr
    assert 0 < len(done.stderr.strip().splitlines()) <= 3, done.stderr
    return done.stderr
