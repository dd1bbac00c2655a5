"""A connection for a notebook: narrowed, on a private copy, and what it reads stays until it is closed or dropped."""

import gc
import subprocess
import sys
import tempfile
from pathlib import Path

import duckdb
import pytest

from tests.support.crash import leftovers, publish
from token_catalog.catalog import paths
from token_catalog.catalog.errors import CatalogError
from token_catalog.catalog.publish import remove
from token_catalog.queries.session import connect

COUNT = "select model, count(*) from features group by model order by model"


@pytest.fixture
def catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a catalog with two models; without the SQL of queries/, which takes time."""
    monkeypatch.setattr("token_catalog.catalog.definitions.definitions", list)
    catalog = tmp_path / "catalog"
    publish(catalog, {"a": 2, "b": 3})
    return catalog


def models_on_disk(catalog: Path) -> set[str]:
    """Return the folders of models that are there after the next publish."""
    publish(catalog, {"next": 1}, replace=True)
    assert leftovers(catalog) == []
    return {path.name for path in (catalog / paths.MODELS_FOLDER).iterdir()} - {paths.slug("next")}


@pytest.mark.parametrize("how", ["closed", "dropped", "left with its block"])
def test_what_a_connection_reads_stays_until_it_is(catalog: Path, how: str) -> None:
    early, narrow = connect(catalog), connect(catalog, "b")
    publish(catalog, {"a": 4, "b": 5}, replace=True)
    late = connect(catalog)
    remove(catalog, "a")
    publish(catalog, {"b": 6}, replace=True)
    publish(catalog, {"b": 7}, replace=True)
    assert early.execute(COUNT).fetchall() == [("a", 2), ("b", 3)]
    assert narrow.sql(COUNT).fetchall() == [("b", 3)]
    assert late.sql(COUNT).fetchall() == [("a", 4), ("b", 5)]
    if how == "closed":
        for connection in (early, narrow, late):
            connection.close()
    elif how == "dropped":
        del early, narrow, late
        gc.collect()
    else:
        with early, narrow, late:
            pass
    assert models_on_disk(catalog) == {paths.slug("b")}


def test_one_of_two_connections_keeps_what_both_read(catalog: Path) -> None:
    first, second = connect(catalog), connect(catalog)
    remove(catalog, "a")
    first.close()
    publish(catalog, {"next": 1})
    assert second.sql(COUNT).fetchall() == [("a", 2), ("b", 3)]
    second.close()
    assert models_on_disk(catalog) == {paths.slug("b")}


def test_no_copy_is_left_where_temporary_files_are(
    catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    with connect(catalog) as connection:
        assert list(folder.iterdir()) == []
        assert connection.sql(COUNT).fetchall() == [("a", 2), ("b", 3)]
        with pytest.raises(duckdb.Error, match="read-only"):
            connection.execute("create table mine as select 42 as answer")
        connection.execute("create table memory.mine as select 42 as answer")
        assert connection.sql("select answer, count(*) from memory.mine, tokens group by all").fetchall() == [(42, 5)]
    assert list(folder.iterdir()) == []


def test_a_connection_that_cannot_be_had_keeps_nothing(catalog: Path, tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="no such model; the catalog has: a, b"):
        connect(catalog, "c")
    with pytest.raises(CatalogError, match="nothing is there"):
        connect(tmp_path / "nowhere")
    remove(catalog, "a")
    (catalog / paths.DATABASE).resolve().write_bytes(b"torn" * 10_000)
    with pytest.raises(duckdb.Error, match="not a valid DuckDB database file"):
        connect(catalog)
    assert models_on_disk(catalog) == {paths.slug("b")}


def test_a_program_that_ends_with_a_connection_open_says_nothing(catalog: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from token_catalog.queries.session import connect; "
        "first, second = (connect(Path(sys.argv[1])) for _ in range(2)); "
        "print(first.sql('select count(*) from tokens').fetchall())"
    )
    done = subprocess.run([sys.executable, "-c", code, str(catalog)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[(5,)]\n", "")
