"""`catalog/README.md` names what is built: every table, view and macro, with their columns and parameters."""

import inspect
import re
from pathlib import Path

import pytest
import typer.main

import token_catalog
from tests.support.helpers import rows
from tests.support.pages import CONTRACT
from token_catalog.catalog.schemas import TABLES, Table
from token_catalog.cli import app

_ROW = re.compile(r"^\| `(\w+)` \| [^|]* \| ([^|]*) \|$", re.MULTILINE)


def told_columns() -> dict[str, list[str]]:
    """Return the columns that the contract's sections 3 and 4 tell of each relation: a list's first words."""
    text = CONTRACT.read_text(encoding="utf-8")
    return {
        name: [column.split()[0] for column in re.sub(r"\([^)]*\)", "", columns).split(",")]
        for name, columns in _ROW.findall(text)
    }


@pytest.mark.parametrize("table", TABLES, ids=[table.name for table in TABLES])
def test_it_names_the_columns_of_a_table_in_their_order(table: Table) -> None:
    assert told_columns()[table.name] == [column.name for column in table.columns]


def test_it_names_the_columns_of_every_view_in_their_order(minilm: Path) -> None:
    built = rows(
        minilm,
        "select split_part(c.name, '.', 1) as view, list(split_part(c.name, '.', 2)) from help as c "
        "where c.kind = 'column' and exists (from help as v where v.kind = 'view' and v.name = view) group by view",
    )
    told = told_columns()
    assert len(built) == 21
    assert {view: told[view] for view, _ in built} == dict(built)


def test_it_gives_macros_the_parameters_that_they_have(minilm: Path) -> None:
    built = {signature for (signature,) in rows(minilm, "select signature from help where kind = 'macro'")}
    section = CONTRACT.read_text(encoding="utf-8").partition("## 5. Macros")[2].partition("## 6.")[0]
    told = set(re.findall(r"`(\w+\([a-z_, ]*\))`", section))
    assert len(told) > 20
    assert told <= built


def test_it_names_every_kind_of_cluster(minilm: Path) -> None:
    section = CONTRACT.read_text(encoding="utf-8").partition("Names of clusters")[2].partition("## 5.")[0]
    ((comment,),) = rows(minilm, "select comment from help where name = 'cluster_members.kind'")
    told = re.findall(r"`([a-z-]+)`", "".join(re.findall(r"^\|[^|]*\|([^|]*)\|", section, re.MULTILINE)))
    assert set(told) == set(re.split(r",\s+| or ", comment.partition(": ")[2]))


def test_it_names_the_library_as_it_is() -> None:
    section = CONTRACT.read_text(encoding="utf-8").partition("## 9. Python")[2].partition("## The folder")[0]
    told = set(re.findall(r"`((?:Catalog\.|Model\.)?\w+)\(", section)) | set(re.findall(r"`([A-Z]\w+)`", section))
    built = set(token_catalog.__all__)
    for class_ in (token_catalog.Catalog, token_catalog.Model):
        methods = (name for name, member in vars(class_).items() if callable(member) and not name.startswith("_"))
        built |= {f"{class_.__name__}.{name}" for name in methods}
    assert told == built


def test_it_names_every_parameter_of_an_ingest() -> None:
    (told,) = re.findall(
        r"^\| `Catalog\.ingest\(source, …\)` \| catalogues a model\. `([a-z_ ]*)`",
        CONTRACT.read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert told.split() == list(inspect.signature(token_catalog.Catalog.ingest).parameters)[2:]


def test_it_names_every_command() -> None:
    section = CONTRACT.read_text(encoding="utf-8").partition("## 8.")[2].partition("## 9.")[0]
    told = set(
        re.findall(r"`([a-z-]+)(?: [A-Z\[][^`]*)?`", "".join(re.findall(r"^\|([^|]*)\|", section, re.MULTILINE)))
    )
    assert told == set(typer.main.get_group(app).commands)
