"""The command line, as users run it."""

import os
import subprocess
import sys


def run(*arguments: str, stdin: str = "", env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "token_catalog", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **(env or {})},
    )


def refused(*arguments: str) -> str:
    """Return the message of a command that bad input stops: exit code 2, a line or two, no traceback."""
    done = run(*arguments)
    assert done.returncode == 2, done
    assert "Traceback" not in done.stderr
    assert 0 < len(done.stderr.strip().splitlines()) <= 3, done.stderr
    return done.stderr
