"""The command line, in this process (what it says and its exit code are the same there) or in one of its own.

`python -m tests.support.command_line` runs commands that it reads, one after another.
"""

import io
import json
import os
import signal
import subprocess
import sys
from importlib import import_module
from subprocess import CompletedProcess
from typing import Any, Self

import pytest

from token_catalog import cli

READY = ["ready"]


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
                cli.main()
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


class CommandLine:
    """A process that runs one command after another: it loads torch once."""

    def __enter__(self) -> Self:
        """Start the process."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def wait(self) -> None:
        """Wait until the process has loaded what it needs."""
        assert self._answer() == READY

    def start(self, *arguments: object) -> None:
        """Begin a command, and don't wait for its end."""
        assert self._process.stdin
        print(json.dumps([*map(str, arguments)]), file=self._process.stdin, flush=True)

    def ended(self) -> tuple[int, str]:
        """Wait for the command's end; return its exit code and its errors."""
        code, errors = self._answer()
        return code, errors

    def _answer(self) -> list[Any]:
        assert self._process.stdout
        answer: list[Any] = json.loads(self._process.stdout.readline())
        return answer


def main() -> None:
    """Run each command that is a line of stdin, and write its exit code and errors to stdout."""
    import_module("token_catalog.ingest.run")
    print(json.dumps(READY), flush=True)
    for line in sys.stdin:
        done = run(*json.loads(line))
        print(json.dumps([done.returncode, done.stderr]), flush=True)


if __name__ == "__main__":
    main()
