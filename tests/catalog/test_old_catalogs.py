"""A catalog that version 0.1.0 wrote, of 240 tokens with references of every kind: what is asked and done with it now.

`support/stored/0.1.0` is as that version left it, but for the generation before and what was empty. Its matrix has a
cluster, equal rows, a row of zeros and one with a NaN; it was ingested with a tokenizer and a cluster of its own.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import token_catalog
from tests.support.command_line import run
from tests.support.crash import leftovers
from tests.support.helpers import answers, in_shell, ingest_bare, rows
from token_catalog.catalog import schemas
from token_catalog.catalog.publish import rebuild
from token_catalog.catalog.schemas import TABLES
from token_catalog.ingest.recipe.entries import Reference
from token_catalog.ingest.recipe.recipe import Recipe

STORED = Path(__file__).parents[1] / "support" / "stored" / "0.1.0"
# Tables that came after it.
LATER = {
    "aligned_tokens", "alignments", "dimensions", "frame_axes", "frame_places", "lattice", "series_frames", "spectra",
    "spectrum_components",
}  # fmt: skip
REFERENCES = ["boxed", "file", "largest", "look", "mean", "mid", "pc2", "tok", "txt"]

Contents = dict[str, tuple[list[str], list[str]]]


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Return a copy of the catalog, somewhere else than where it was written."""
    return Path(shutil.copytree(STORED, tmp_path / "catalog", symlinks=True))


def relations(catalog: Path) -> list[str]:
    """Return the names of the views, tables among them."""
    query = (
        "select view_name from duckdb_views() where database_name = current_database() and not internal order by all"
    )
    return [name for (name,) in rows(catalog, query)]


def contents(catalog: Path, columns: dict[str, list[str]] | None = None) -> Contents:
    """Return the columns' names and the rows, as text, of every relation, or of some with some columns."""
    if columns is None:
        columns = {name: [row[0] for row in rows(catalog, f"describe {name}")] for name in relations(catalog)}
    return {
        name: (listed, [*map(repr, rows(catalog, f"select {', '.join(listed)} from {name} order by all"))])
        for name, listed in columns.items()
    }


def test_it_opens_by_the_database_that_it_was_written_with(old: Path) -> None:
    views = relations(old)
    assert {table.name for table in TABLES} - LATER < {*views}
    counts = answers(old, "\n".join(f"select count(*) as n from {name};" for name in views))
    in_the_shell = {name: row["n"] for name, (row,) in zip(views, counts, strict=True)}
    assert in_the_shell == {name: len(found) for name, (_, found) in contents(old).items()}
    assert in_the_shell["tokens"] == 240
    assert min(in_the_shell.values()) > 0
    nearest = in_shell(old, "from nearest(9, 3);")
    assert [row["token_id"] for row in nearest] == [
        token for (token,) in rows(old, "select token_id from nearest(9, 3)")
    ]


def test_rebuilt_it_says_what_it_said_before(old: Path) -> None:
    before = contents(old)
    told = {name for (name,) in rows(old, "select name from help")}
    assert rebuild(old).models == ["small"]
    del before["help"]  # its words are this version's
    assert {name for (name,) in rows(old, "select name from help")} >= told
    after = contents(old, {name: columns for name, (columns, _) in before.items()})
    assert [name for name in before if after[name] != before[name]] == []
    assert leftovers(old) == []


def test_rebuilt_every_relation_answers_in_the_shell(old: Path) -> None:
    rebuild(old)
    views = relations(old)
    counts = answers(old, "\n".join(f"select count(*) as n from {name};" for name in views))
    of_several = {"same_tensors", "series_steps", "series_tokens", "series_summary", "freezing", "merges"}
    assert {name for name, (row,) in zip(views, counts, strict=True) if not row["n"]} == LATER | of_several


def test_it_is_linked_anew(old: Path) -> None:
    ((radius,),) = rows(old, "select linkage_radius from models")
    done = run("relink", "small", "--radius", radius * 2, "--catalog", old)
    assert done.returncode == 0, done.stderr
    assert rows(old, "select linkage_radius from models") == [(radius * 2,)]
    assert [name for (name,) in rows(old, "select reference from reference_vectors order by all")] == REFERENCES


def test_references_are_added_to_it(old: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "more.toml"
    recipe.write_text('[[reference]]\nname = "new"\ncentroid = "tok:dot-mode"\n', encoding="utf-8")
    scores = "select count(*), sum(dot) from scores where reference <> 'new'"
    before = rows(old, scores)
    done = run("add-references", "small", recipe, "--catalog", old)
    assert done.returncode == 0, done.stderr
    assert [name for (name,) in rows(old, "select reference from reference_vectors order by all")] == sorted(
        [*REFERENCES, "new"]
    )
    assert rows(old, scores) == before
    assert rows(old, "select count(*) from scores where reference = 'new'") == [(240,)]


def test_rebuilt_it_says_which_tokens_its_references_are(old: Path) -> None:
    """As those that are added say it, also where the file of one model has the column and another's hasn't."""
    tokens = "select reference, token_id from reference_vectors where token_id is not null order by all"
    rebuild(old)
    ((box, text),) = rows(
        old,
        """
        select any_value(recipe) filter (reference = 'boxed'), any_value(recipe) filter (reference = 'txt')
        from reference_vectors
        """,
    )
    window = json.loads(box)["first_in_box"]
    first = f"select min(token_id) from box_search({window['lat']}, {window['lon']}, {window['diameter']})"
    ((boxed,),) = rows(old, first)
    ((spelt,),) = rows(old, f"select token_id from tokens where text = '{json.loads(text)['text']}'")
    ((given,),) = rows(old, "select (recipe ->> '$.token')::integer from reference_vectors where kind = 'token'")
    assert rows(old, tokens) == [("boxed", boxed), ("tok", given), ("txt", spelt)]
    ingest_bare(old, torch.eye(4), "new", recipe=Recipe(references=(Reference("r", "token", 2),)))
    assert rows(old, tokens) == [("boxed", boxed), ("r", 2), ("tok", given), ("txt", spelt)]


def test_a_catalog_from_before_a_column_was_added_can_be_changed(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the files lack is NULL in the new version, whichever command writes it."""
    for name in ("FEATURES", "MODELS", "REFERENCE_VECTORS"):
        table = getattr(schemas, name)
        newer = replace(table, columns=(*table.columns, schemas.Column("newer", pa.float64(), "added later")))
        monkeypatch.setattr(schemas, name, newer)
    catalog = token_catalog.open(old)
    catalog["small"].relink(radius=0.02)
    catalog["small"].add_references({"reference": [{"name": "new", "pc": 1}]})
    for name in ("features", "models", "reference_vectors"):
        (path,) = catalog.files(name)
        assert set(pq.read_table(path)["newer"].to_pylist()) == {None}


def test_rebuilt_its_views_have_the_columns_that_came_later(old: Path) -> None:
    rebuild(old)
    kinds = dict(rows(old, "select distinct cluster, kind from cluster_members"))
    assert None not in kinds.values()
    assert kinds == dict(rows(old, "select cluster, kind from clusters"))
    named = {"largest-component": "largest-component", "north": "recipe", "tok:dot-self": "dot-self"}
    assert {name: kinds[name] for name in named} == named
    ranked = rows(old, "select component_rank, component from components order by n_tokens desc, component")
    assert [rank for rank, _ in ranked] == [*range(1, len(ranked) + 1)]
