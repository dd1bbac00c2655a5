"""What imports what, read from the source by its syntax trees: nothing is run, and imports within functions count."""

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PRODUCT = "token_catalog"
_FOLDERS = ("catalog", "ingest", "queries")  # links in the package lead to them

Imports = Mapping[str, set[str]]


def sources() -> dict[str, Path]:
    """Return the file of every module of the product, by its name."""
    files = {path: path.relative_to(ROOT) for folder in _FOLDERS for path in (ROOT / folder).rglob("*.py")}
    files |= {path: path.relative_to(ROOT / PRODUCT) for path in (ROOT / PRODUCT).glob("*.py")}
    return {".".join((PRODUCT, *_parts(relative))): path for path, relative in files.items()}


@cache
def imports() -> Imports:
    """Return, for each module of the product, the modules that it imports: its own, and others by their whole name."""
    modules = sources()
    return {name: set(_imported(name, path, modules)) for name, path in modules.items()}


def within(imported: Imports) -> Imports:
    """Return imports with the product's own modules alone."""
    return {name: {other for other in found if other in imported} for name, found in imported.items()}


def in_room(module: str, room: str) -> bool:
    """Tell whether a module is of a folder of the product.

    >>> in_room("token_catalog.ingest.source.hub", "ingest"), in_room("token_catalog.ingest.run", "ingest.source")
    (True, False)
    """
    return f"{module}.".startswith(f"{PRODUCT}.{room}.")


def _parts(relative: Path) -> tuple[str, ...]:
    return tuple(part for part in relative.with_suffix("").parts if part != "__init__")


def _imported(name: str, path: Path, modules: Mapping[str, Path]) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = _absolute(node, name if path.stem == "__init__" else name.rpartition(".")[0])
            whole = [f"{source}.{alias.name}" for alias in node.names]
            yield from (module if module in modules else source for module in whole)


def _absolute(node: ast.ImportFrom, package: str) -> str:
    """Return where an import is from by its whole name: `from ..report` in a package is another package's."""
    parts = package.split(".")
    above = parts[: len(parts) - node.level + 1] if node.level else []
    return ".".join([*above, *([node.module] if node.module else [])])
