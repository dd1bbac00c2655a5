"""Publishing in one process: what is kept, what goes, what a rebuild finds, and that a failure changes nothing."""

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from tests.support.crash import contents, leftovers, publish
from tests.support.helpers import bf16_matrix, in_shell, ingest_bare, rows, save_bare
from token_catalog import cli, exits
from token_catalog.catalog import build, paths
from token_catalog.catalog.errors import CatalogError
from token_catalog.catalog.publish import rebuild, remove, staging
from token_catalog.catalog.state import State, current_generation, read_state, table_files

pytestmark = pytest.mark.usefixtures("tables_only")
Command = Callable[..., tuple[object, str]]
W = bf16_matrix(200, 8)
# An argument for each parameter that a macro may have, by its name in the contract.
ARGUMENTS = {
    "at_lat": "0.0", "at_lon": "0.0", "diameter": "180.0", "angle": "180.0", "h": "[1.0, 2, 3, 4, 5, 6, 7, 8]",
    "token": "0", "k": "3", "distance": "0.001", "width": "0.1", "most_steps": "2", "most_vectors": "5000",
    "with_epsilon": "0.001", "metric_name": "'linf'",
    "query_vectors": "[struct_pack(model := null::varchar, numbers := [1.0, 2, 3, 4, 5, 6, 7, 8])]",
    "points": "null::struct(model varchar, id integer, numbers double[])[]",
    "pairs": "null::struct(model varchar, id integer, other_id integer, distance double)[]",
    "listed_tokens": "[struct_pack(model := 'a', token_id := 0)]",
    "ids": "[0, 1]", "most_apart": "5", "most_ulps": "1",
    "model_a": "'m'", "model_b": "'m'", "model_key": "'m'",
    "cluster_name": "'mean:dot-mode'", "other_name": "'mean:cosine-mode'",
}  # fmt: skip
# What begins so refuses a model that was ingested without vectors.
REFUSING = (
    "causal_",
    "different_",
    "dimension_",
    "distances_",
    "lattice_",
    "pair_",
    "pairs_",
    "shells",
    "vector_pairs",
)


def versions(catalog: Path, model: str) -> list[str]:
    """Return the names of a model's version folders, oldest first."""
    return sorted(path.name for path in (catalog / paths.MODELS_FOLDER / paths.slug(model)).glob("*"))


def snapshot(catalog: Path) -> dict[str, str | bool]:
    """Return all that there is in a folder but the lock: a file by its hash, a link by its target."""
    found = {}
    for path in sorted(catalog.rglob("*")):
        what = str(path.readlink()) if path.is_symlink() else path.is_file() and sha256(path.read_bytes()).hexdigest()
        if path.name != paths.LOCK:
            found[path.relative_to(catalog).as_posix()] = what
    return found


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    """Return a catalog with two models, `a` and the untied `p`."""
    catalog = tmp_path / "catalog"
    publish(catalog, {"a": 2})
    publish(catalog, {"p/input": 3, "p/output": 4})
    return catalog


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Return a function that runs the command line, and gives its exit code and what it said on stderr."""

    def run(*arguments: object) -> tuple[object, str]:
        monkeypatch.setattr(sys, "argv", ["token-catalog", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        return exit_.value.code, capsys.readouterr().err

    return run


def test_a_replaced_version_stays_until_that_model_is_published_again(catalog: Path) -> None:
    (first,) = versions(catalog, "a")
    opened = (catalog / paths.DATABASE).resolve()
    publish(catalog, {"a": 5}, replace=True)
    assert len(versions(catalog, "a")) == 2
    with duckdb.connect(str(opened), read_only=True) as late:  # who followed the link just before the swap
        assert late.execute("select count(*) from vectors where model = 'a'").fetchall() == [(2,)]
    publish(catalog, {"b": 2})
    publish(catalog, {"p/input": 1}, replace=True)
    assert versions(catalog, "a")[0] == first
    publish(catalog, {"a": 6}, replace=True)
    assert len(versions(catalog, "a")) == 2
    assert first not in versions(catalog, "a")
    assert contents(catalog) == {"a": 6, "b": 2, "p/input": 1, "p/output": 4}
    assert leftovers(catalog) == []


def test_a_tied_model_that_an_untied_one_replaced_goes_with_the_next_publish_of_that_name(catalog: Path) -> None:
    publish(catalog, {"a/input": 2, "a/output": 2}, replace=True)
    publish(catalog, {"b": 2})
    assert len(versions(catalog, "a")) == 1
    assert rebuild(catalog).adopted == []
    publish(catalog, {"a/input": 3, "a/output": 3}, replace=True)
    assert versions(catalog, "a") == []
    assert contents(catalog) == {"a/input": 3, "a/output": 3, "b": 2, "p/input": 3, "p/output": 4}


@pytest.mark.parametrize(
    ("name", "gone", "left"),
    [
        ("p", {"p/input", "p/output"}, {"a"}),
        ("p/input", {"p/input"}, {"a", "p/output"}),
        ("a", {"a"}, {"p/input", "p/output"}),
    ],
)
def test_remove_takes_a_key_or_a_name_and_deletes_its_files(
    catalog: Path, name: str, gone: set[str], left: set[str]
) -> None:
    publish(catalog, {"a": 2, "p/input": 3, "p/output": 4}, replace=True)
    assert set(remove(catalog, name)) == gone
    assert contents(catalog).keys() == left
    assert not any(versions(catalog, model) for model in gone)
    assert [*(catalog / paths.GENERATIONS).iterdir()] == [current_generation(catalog)]  # none that reads those files
    assert leftovers(catalog) == []
    with pytest.raises(CatalogError, match="no such model; the catalog has: "):
        remove(catalog, name)


def test_the_files_of_a_table_are_those_of_the_current_versions(catalog: Path) -> None:
    publish(catalog, {"a": 5}, replace=True)
    files = table_files(catalog, "features")
    assert [pq.read_metadata(path).num_rows for path in files] == [5, 3, 4]
    assert all(path.is_absolute() and path.name == "features.parquet" for path in files)
    assert table_files(catalog, "features", "p") == files[1:]
    assert table_files(catalog, "features", "p/output") == files[2:]
    assert table_files(catalog, "scores") == []  # a table that no model has
    with pytest.raises(CatalogError, match=r"^'dot_classes': no such table; the tables are: models, tokens, features,"):
        table_files(catalog, "dot_classes")
    with pytest.raises(CatalogError, match="'b': no such model; the catalog has: a, p/input, p/output"):
        table_files(catalog, "features", "b")
    with pytest.raises(CatalogError, match="no catalog"):
        table_files(catalog / "nowhere", "features")


def test_a_lost_database_is_rebuilt_from_the_parquet_files(catalog: Path) -> None:
    before = contents(catalog)
    (catalog / paths.DATABASE).unlink()
    assert rebuild(catalog).models == ["a", "p/input", "p/output"]
    assert contents(catalog) == before
    shutil.rmtree(catalog / paths.GENERATIONS)
    assert rebuild(catalog).models == ["a", "p/input", "p/output"]
    assert contents(catalog) == before


def test_a_publish_builds_the_database_once(catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = []

    def build_and_count(folder: Path, generation: Path, catalog: Path, state: State, before: State) -> build.Built:
        built.append(sorted(state.models))
        return build.build_generation(folder, generation, catalog, state, before)

    monkeypatch.setattr("token_catalog.catalog.publish.build_generation", build_and_count)
    publish(tmp_path / "new", {"p/input": 3, "p/output": 4})
    assert built.pop() == ["p/input", "p/output"]
    (catalog / paths.DATABASE).unlink()
    publish(catalog, {"b": 2})
    assert built.pop() == ["a", "b", "p/input", "p/output"]
    assert remove(catalog, "p") == ["p/input", "p/output"]
    assert built.pop() == ["a", "b"]
    assert rebuild(catalog).models == built.pop()
    assert built == []


@pytest.mark.parametrize("step", ["build_generation", "open_sql", "Path.symlink_to", "Path.replace", "sync_file"])
def test_a_first_publish_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    def fail(*_: object) -> None:
        if step != "sync_file" or (tmp_path / paths.OPEN_SQL).exists():  # just before the database is put there
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(f"token_catalog.catalog.publish.{step}", fail)
    with pytest.raises(OSError, match="No space left on device"):
        publish(tmp_path, {"p/input": 3, "p/output": 4})
    assert snapshot(tmp_path) == {paths.STAGING: False}
    monkeypatch.undo()
    publish(tmp_path, {"p/input": 5})
    assert contents(tmp_path) == {"p/input": 5}


def test_with_a_damaged_generation_the_newest_version_of_each_model_is_shown(catalog: Path) -> None:
    folders = []
    for n_rows in range(3, 9):
        publish(catalog, {"a": n_rows}, replace=True)
        folders.append(read_state(catalog).models["a"].folder)
    assert folders == sorted(folders)  # so that the newest can be told
    generation = current_generation(catalog)
    assert generation is not None
    (generation / paths.STATE).write_text("{")
    (generation / paths.DATABASE).write_bytes(b"torn")
    publish(catalog, {"b": 2})
    assert contents(catalog) == {"a": 8, "b": 2, "p/input": 3, "p/output": 4}
    assert leftovers(catalog) == []


def test_rebuild_adopts_a_model_folder_that_was_copied_in(catalog: Path, tmp_path: Path) -> None:
    publish(tmp_path / "other", {"guest": 7})
    shutil.copytree(tmp_path / "other/models", catalog / "models", dirs_exist_ok=True)
    publish(catalog, {"b": 2})  # which doesn't take it for something left over
    rebuilt = rebuild(catalog)
    assert rebuilt.adopted == ["guest"]
    assert contents(catalog)["guest"] == 7


def test_rebuild_shows_an_older_version_that_was_copied_back_in(catalog: Path, tmp_path: Path) -> None:
    shutil.copytree(catalog / "models", tmp_path / "backup")
    for n_rows in (5, 6):
        publish(catalog, {"a": n_rows, "p/input": n_rows}, replace=True)
    for features in (catalog / "models" / paths.slug("a")).glob("*/features.parquet"):
        features.unlink()
    shutil.copytree(tmp_path / "backup", catalog / "models", dirs_exist_ok=True)
    assert rebuild(catalog).gone == []
    assert contents(catalog) == {"a": 2, "p/input": 6, "p/output": 4}
    assert leftovers(catalog) == []  # not the older p/input either


def test_rebuild_leaves_out_what_is_gone_and_shows_it_again_once_it_is_back(catalog: Path, tmp_path: Path) -> None:
    folder = catalog / read_state(catalog).models["a"].folder
    features = folder / "features.parquet"
    features.rename(tmp_path / "features.parquet")
    rebuilt = rebuild(catalog)
    assert (rebuilt.models, rebuilt.gone) == (["p/input", "p/output"], ["a"])
    publish(catalog, {"b": 2})
    assert contents(catalog) == {"b": 2, "p/input": 3, "p/output": 4}
    (tmp_path / "features.parquet").rename(features)
    assert rebuild(catalog).adopted == ["a"]
    shutil.rmtree(folder)
    with pytest.raises(CatalogError, match=r"can't be read .* `rebuild\(\)`"):
        publish(catalog, {"c": 2})
    assert rebuild(catalog).gone == ["a"]
    assert contents(catalog) == {"b": 2, "p/input": 3, "p/output": 4}


def test_rebuild_leaves_out_a_version_of_which_a_file_is_cut_short(catalog: Path) -> None:
    features = catalog / read_state(catalog).models["a"].folder / "features.parquet"
    features.write_bytes(features.read_bytes()[:-1])
    assert rebuild(catalog).gone == ["a"]
    assert contents(catalog) == {"p/input": 3, "p/output": 4}


def test_what_is_still_being_staged_is_nobodys_to_clear(catalog: Path) -> None:
    with staging(catalog) as area:
        folder = area.version("mine", "mine")
        publish(catalog, {"b": 2})
        rebuild(catalog)
        assert folder.is_dir()
    assert leftovers(catalog) == []


def test_what_others_keep_in_the_folder_is_let_be(tmp_path: Path) -> None:
    for name in (".staging/notes.txt", "generations/mine/notes.txt", "models/notes.txt", "notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    for _ in range(3):
        publish(tmp_path, {"a": 2}, replace=True)
    rebuild(tmp_path)
    for name in (".staging/notes.txt", "generations/mine/notes.txt", "models/notes.txt", "notes.txt"):
        assert (tmp_path / name).read_text() == name


def test_a_name_that_was_taken_meanwhile_is_refused_at_the_last_moment(
    catalog: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("token_catalog.ingest.run.refuse_taken", lambda *_, **__: None)
    before = snapshot(catalog)
    with pytest.raises(CatalogError, match="'a': already in the catalog; `replace=True`"):
        ingest_bare(catalog, W, "a")
    assert snapshot(catalog) == before


def test_a_taken_name_leaves_the_catalog_as_it_was(command: Command, catalog: Path, tmp_path: Path) -> None:
    source = save_bare(tmp_path / "a.safetensors", W)
    before = snapshot(catalog)
    code, said = command("ingest", source, "--no-tokenizer", "--catalog", catalog)
    assert code == exits.EXIT_BAD_INPUT
    assert "'a': already in the catalog; --replace" in said
    assert snapshot(catalog) == before


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/nowhere", "foreign", "linked"])
def test_a_place_that_is_no_catalog_is_refused_and_left_alone(command: Command, tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "linked").mkdir()
    with duckdb.connect(str(tmp_path / "foreign/catalog.duckdb")) as connection:
        connection.execute("create table mine as select 42 as answer")
    (tmp_path / "linked/catalog.duckdb").symlink_to(tmp_path / "foreign/catalog.duckdb")
    source = save_bare(tmp_path / "a.safetensors", W)
    before = snapshot(tmp_path)
    code, said = command("ingest", source, "--no-tokenizer", "--catalog", tmp_path / place)
    assert code == exits.EXIT_BAD_INPUT
    assert str(tmp_path / place) in said
    assert "another" in said
    assert snapshot(tmp_path) == before


def refused_for_want_of_space(command: Command, catalog: Path, tmp_path: Path) -> object:
    """Check that an ingest finds no space and leaves the catalog as it was; return how that is."""
    source = save_bare(tmp_path / "a.safetensors", W)
    before = snapshot(catalog)
    code, said = command("ingest", source, "--no-tokenizer", "--replace", "--catalog", catalog)
    assert code == exits.EXIT_BAD_INPUT
    assert "No space left on device" in said
    assert snapshot(catalog) == before
    return before


@pytest.mark.parametrize("table", ["vectors", "features", "principal_components", "tokens", "models"])
def test_a_disk_that_fills_up_under_any_table_leaves_the_catalog_as_it_was(
    command: Command, catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    class FullWriter(pq.ParquetWriter):
        def write_table(self, *arguments: object, **options: object) -> None:
            if Path(self.where).name.startswith(f"{table}."):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            super().write_table(*arguments, **options)

    monkeypatch.setattr(pq, "ParquetWriter", FullWriter)
    refused_for_want_of_space(command, catalog, tmp_path)


@pytest.mark.parametrize("step", ["_write_database", "open_sql", "Path.symlink_to", "Path.replace"])
def test_a_swap_that_fails_leaves_the_catalog_as_it_was(
    command: Command, catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def fail(*_: object) -> None:
        if step == "_write_database":
            raise duckdb.IOException("Could not write: No space left on device")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(f"token_catalog.catalog.{'build' if step == '_write_database' else 'publish'}.{step}", fail)
    before = refused_for_want_of_space(command, catalog, tmp_path)
    with pytest.raises((CatalogError, OSError), match="No space left on device"):
        remove(catalog, "a")
    assert snapshot(catalog) == before


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a disk of 2 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this user can't mount a small disk")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_full_disk_leaves_the_catalog_as_it_was_wherever_it_runs_out(command: Command, small_disk: Path) -> None:
    catalog, filler = small_disk / "c", small_disk / "filler"
    publish(catalog, {"keep": 2})
    source = save_bare(small_disk.parent / "a.safetensors", W)
    before = snapshot(catalog)
    failures = set()
    for n_free in range(0, 1 << 20, 16 << 10):
        filler.unlink(missing_ok=True)
        free = os.statvfs(small_disk)
        filler.write_bytes(bytes(free.f_bavail * free.f_frsize - n_free))
        code, said = command("ingest", source, "--no-tokenizer", "--catalog", catalog)
        if not code:
            break
        assert code == exits.EXIT_BAD_INPUT
        assert "No space left on device" in said
        assert snapshot(catalog) == before
        failures.add("database" if "can't be built" in said else "tables")
    assert contents(catalog) == {"keep": 2, "a": 200}
    assert failures == {"database", "tables"}


@pytest.mark.parametrize(
    "name",
    ["it's", 'say "hi"', "org/name", "a b", "a;--", "*", "模型 é 🙂", "x" * 5000, "../..", ".", "two\nlines", "%s{}$1"],
)
def test_any_name_can_be_catalogued_narrowed_to_and_removed(tmp_path: Path, name: str) -> None:
    catalog = tmp_path / "c"
    publish(catalog, {"other": 2})
    ingest_bare(catalog, W, name)
    assert rows(catalog, "select distinct model from features", name) == [(name,)]
    quoted = name.replace("'", "''")
    narrowed = f"set variable model = '{quoted}'; select distinct model, name from vectors join models using (model);"
    assert in_shell(catalog, narrowed) == [{"model": name, "name": name}]
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {"c"}
    assert remove(catalog, name) == [name]
    assert contents(catalog) == {"other": 2}


def test_names_that_differ_only_in_case_live_side_by_side(tmp_path: Path) -> None:
    publish(tmp_path, {"Model": 2})
    publish(tmp_path, {"model": 3})
    assert contents(tmp_path) == {"Model": 2, "model": 3}
    assert len({path.name.lower() for path in (tmp_path / "models").iterdir()}) == 2
    assert remove(tmp_path, "Model") == ["Model"]
    assert contents(tmp_path) == {"model": 3}


@pytest.mark.parametrize("place", ["model=zzz", "a [b] *", "it's", "läß 🙂"])
def test_a_catalog_may_lie_in_a_folder_of_any_name(tmp_path: Path, place: str) -> None:
    catalog = tmp_path / place / "c"
    publish(catalog, {"a": 2})
    assert contents(catalog) == {"a": 2}
    assert in_shell(catalog, "select distinct model from features;") == [{"model": "a"}]


def everything(catalog: Path, but: tuple[str, ...] = ()) -> dict[str, int]:
    """Return the number of rows of every view and table macro, in the shell, but of those that begin so."""
    asked = """
        select view_name as name, null as parameters from duckdb_views()
        where database_name = current_database() and not internal
        union all select function_name, parameters from duckdb_functions()
        where database_name = current_database() and not internal and function_type = 'table_macro'
    """
    calls = {
        name: "" if given is None else f"({', '.join(map(ARGUMENTS.get, given))})"
        for name, given in rows(catalog, asked)
        if not name.startswith(but)
    }
    counts = [f"select '{name}' as name, count(*) as n from {name}{given}" for name, given in calls.items()]
    return {row["name"]: row["n"] for row in in_shell(catalog, " union all ".join(counts) + ";")}


@pytest.mark.views
def test_in_an_empty_catalog_every_view_and_macro_gives_no_rows(tmp_path: Path) -> None:
    publish(tmp_path, {"a": 2})
    remove(tmp_path, "a")
    found = everything(tmp_path)
    assert found.pop("help") > len(found)
    assert {"models", "tokens", "duplicate_groups", "point_at", "box_search"} <= found.keys()
    assert set(found.values()) == {0}


@pytest.mark.views
def test_without_vectors_what_reads_them_gives_no_rows(tmp_path: Path) -> None:
    catalog = tmp_path / "c"
    ingest_bare(catalog, W, with_vectors=False)
    found = everything(catalog, but=REFUSING)
    assert found["features"] == 200
    assert found["cone_search"] > 0
    reading = ("vectors", "point_at", "point_at_token", "same_dot_as", "nearest", "vectors_of")
    assert {found[name] for name in reading} == {0}
    ingest_bare(catalog, W, "n")
    assert rows(catalog, "select model, count(*) from vectors group by model") == [("n", 200)]


def test_a_table_is_called_parquet_only_once_it_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []

    class WatchedWriter(pq.ParquetWriter):
        def write_table(self, *arguments: object, **options: object) -> None:
            super().write_table(*arguments, **options)
            written.append(Path(self.where).name)
            for path in tmp_path.rglob("*.parquet"):
                pq.read_metadata(path)

    monkeypatch.setattr(pq, "ParquetWriter", WatchedWriter)
    ingest_bare(tmp_path / "c", W)
    (folder,) = (tmp_path / "c" / "models").glob("*/*")
    assert sorted(written) == sorted(f"{path.name}.part" for path in folder.glob("*.parquet"))
    assert {"features.parquet.part", "lattice.parquet.part", "vectors.parquet.part"} <= {*written}


def test_the_database_is_of_a_format_that_shells_from_1_2_on_read(catalog: Path) -> None:
    asked = "select tags['storage_version'] as version from duckdb_databases() where database_name = 'catalog';"
    assert in_shell(catalog, asked) == [{"version": "v1.2.0+"}]


@pytest.mark.parametrize("folder", ["../precious", "models/../precious", "{}/precious", "models/a", "models/./a"])
def test_a_catalog_that_names_folders_outside_deletes_none_of_them(tmp_path: Path, folder: str) -> None:
    """Catalogs are copied around: what their state names is not to be trusted."""
    catalog, precious = tmp_path / "c", tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.tex").write_text("years")
    publish(catalog, {"a": 2})
    folder = folder.format(tmp_path)
    forged = {"models": {"b": {"name": "b", "folder": folder}}, "before": {}}
    (catalog / "generations" / "000000").mkdir()
    (catalog / "generations" / "000000" / "state.json").write_text(json.dumps(forged))
    for name in ("c", "d"):
        publish(catalog, {name: 2})
    rebuild(catalog)
    assert (precious / "thesis.tex").read_text() == "years"
    assert rows(catalog, "select model from models order by model") == [("a",), ("c",), ("d",)]
