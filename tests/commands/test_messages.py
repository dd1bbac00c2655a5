"""The library's messages name parameters and calls, as Python has them; the command line says flags and commands."""

import ast
import re
from collections.abc import Iterator

import pytest

from tests.support.imports import in_room, sources
from token_catalog.cli import app
from token_catalog.flags import as_flags

ROOMS = ("catalog", "ingest", "queries")


def messages(tree: ast.AST) -> Iterator[str]:
    """Yield every text in a syntax tree, with 1 for each value that is put into it, and without docstrings."""
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "1" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and not {id(node)} & (docstrings | parts):
            yield node.value


@pytest.mark.parametrize("room", ROOMS)
def test_the_library_names_parameters_and_the_command_line_flags(room: str) -> None:
    # The demo prints, for whom ran its command.
    paths = [path for name, path in sources().items() if in_room(name, room) and not in_room(name, "queries.demo")]
    said = [text for path in paths for text in messages(ast.parse(path.read_text(encoding="utf-8")))]
    told = [text for text in said if re.search(r"`\w+(=|\()", text)]
    assert len(told) > 5
    assert [text for text in said if re.search(r"(^| )--[a-z]", text) and "pip install" not in text] == []
    assert [text for text in told if re.search(r"`\w+(=|\()", as_flags(text, app))] == []
