"""The manifest: which SQL files there are, and in which order the build runs them."""

import re
import tomllib
from pathlib import Path

from token_catalog.catalog.definitions import definitions
from token_catalog.catalog.schemas import TABLES

QUERIES = Path(__file__).parents[2] / "queries"
# SQL that asks a catalog, and is no part of one.
ASKING = {"demo", "notebooks", "published", "study"}


def themes() -> dict[str, list[str]]:
    """Return the manifest."""
    return tomllib.loads((QUERIES / "manifest.toml").read_text(encoding="utf-8"))


def code(path: Path) -> str:
    """Return a file's SQL without its comments and texts."""
    return re.sub(r"--[^\n]*|'(?:[^']|'')*'", " ", path.read_text(encoding="utf-8"))


def test_every_sql_file_of_a_theme_is_in_the_manifest_once_and_no_other_is() -> None:
    there = [path for path in QUERIES.glob("*/*.sql") if path.parent.name not in ASKING]
    named = [QUERIES / theme / f"{name}.sql" for theme, names in themes().items() for name in names]
    assert sorted(named) == sorted(there)
    assert [path.relative_to(path.parents[1]) for path in definitions()] == [
        path.relative_to(QUERIES) for path in named
    ]
    assert not list(QUERIES.glob("*.sql"))


def test_a_file_makes_the_one_relation_of_its_name_and_a_comment_on_it() -> None:
    for path in definitions():
        made = re.findall(r"^create (view|macro) (\w+)", code(path), re.MULTILINE)
        assert [name for _, name in made] == [path.stem]
        kind, name = made[0]
        assert re.findall(rf"^comment on {kind} (?:table )?(\w+) is", code(path), re.MULTILINE) == [name]


def test_what_a_relation_reads_stands_above_it() -> None:
    """Tables are there before; DuckDB itself would tell of a view, but of no macro, that comes too early."""
    names = {name for names in themes().values() for name in names}
    assert names.isdisjoint(table.name for table in TABLES)
    above: set[str] = set()
    for path in definitions():
        read = {name for name in names if re.search(rf"\b(?:from|join) {name}\b|\b{name}\(", code(path))}
        assert read - above <= {path.stem}, path.stem
        above.add(path.stem)
