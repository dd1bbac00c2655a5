"""How the command line ends: errors in a line or two, an exit code for each way out, Ctrl-C, a closed pipe."""

import errno
import os
import signal
import sys
from types import FrameType

import typer

from token_catalog.catalog.errors import CatalogError, plain
from token_catalog.flags import as_flags

EXIT_FIGURE_FAILS = 1
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130
DEBUG_VARIABLE = "TOKEN_CATALOG_DEBUG"


def run(app: typer.Typer) -> None:
    """Run a command line, and leave with its exit code: 1 where a figure fails, 2 for bad input, 130 for Ctrl-C."""
    interruptions = _interruptions()
    try:
        _run(app)
    except BaseException:
        # A library may turn the interruption that it was struck by into an error of its own.
        if not interruptions or os.environ.get(DEBUG_VARIABLE):
            raise
        print("token-catalog: interrupted", file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)


def _interruptions() -> list[int]:
    """Return a list that Ctrl-C adds to, beside interrupting; where it is ignored (in the background), it stays so."""
    heard: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        heard.append(number)
        signal.default_int_handler(number, frame)

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)
    return heard


def _run(app: typer.Typer) -> None:
    """Run the command line; every way out is an exception."""
    try:
        code = app(standalone_mode=False)
    except BrokenPipeError:  # `token-catalog sql … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except CatalogError as error:
        _fail(as_flags(str(error), app), EXIT_BAD_INPUT)
    except OSError as error:
        if error.errno is None:
            raise
        where = f"{error.filename}: " if error.filename else ""
        way_out = "; free some space, or give another --catalog" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        _fail(f"{where}{os.strerror(error.errno)}{way_out}", EXIT_BAD_INPUT)
    except Exception as error:
        if not hasattr(error, "exit_code") or not hasattr(error, "show"):
            raise
        error.show()  # a wrong option or argument, in click's words
        code = error.exit_code
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, code: int) -> None:
    if os.environ.get(DEBUG_VARIABLE):
        raise  # the error that brought us here
    lines = [plain(line) for line in message.split("\n")]
    print("token-catalog:", "\n".join(lines), file=sys.stderr)
    sys.exit(code)
