"""Models that share their files: what is in view, what is opened, and what changes when one of them does."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.crash import contents, leftovers, publish, publish_pack, write_tables
from tests.support.helpers import in_shell, rows
from token_catalog.catalog import paths
from token_catalog.catalog.errors import CatalogError
from token_catalog.catalog.publish import catalogued, publish_together, rebuild, remove, staging
from token_catalog.catalog.schemas import FEATURES, MODELS
from token_catalog.catalog.state import pinned, read_state, table_files
from token_catalog.queries.session import connected

pytestmark = pytest.mark.usefixtures("tables_only")
STEPS = {"run@1": 2, "run@2": 3, "run@10": 4}
COUNTED = "select model, count(*) as n from features group by model order by model"


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    """Return a catalog of a run of three steps in one pack, another of one, and two models outside any series."""
    folder = tmp_path / "c"
    publish_pack(folder, STEPS, "run")
    publish_pack(folder, {"other@1": 5}, "other")
    publish(folder, {"alone": 6, "p/input": 7, "p/output": 8})
    return folder


def narrowed(catalog: Path, query: str, **variables: str) -> list[tuple[object, ...]]:
    """Return a query's rows with variables set."""
    with connected(catalog) as connection:
        for name, value in variables.items():
            connection.execute(f"set variable {name} = $1", [value])
        return connection.execute(query).fetchall()


def test_a_pack_has_one_file_for_each_table(catalog: Path) -> None:
    assert contents(catalog) == STEPS | {"other@1": 5, "alone": 6, "p/input": 7, "p/output": 8}
    assert len({read_state(catalog).models[model].folder for model in STEPS}) == 1
    assert len(table_files(catalog, "features")) == 5
    assert table_files(catalog, "features", "run@1") == table_files(catalog, "features", "run@10")


@pytest.mark.parametrize(
    ("variables", "seen"),
    [
        ({"model": "run@10"}, {"run@10": 4}),
        ({"model": "p"}, {"p/input": 7, "p/output": 8}),
        ({"model": "p/output"}, {"p/output": 8}),
        ({"series": "run"}, STEPS),
        ({"series": "run", "model": "run@2"}, {"run@2": 3}),
        ({"series": "other", "model": "run@2"}, {"run@2": 3}),
        ({"series": "nobody's"}, {}),
        ({"model": "nobody's"}, {}),
    ],
)
def test_a_view_is_narrowed_to_a_model_and_a_series(
    catalog: Path, variables: dict[str, str], seen: dict[str, int]
) -> None:
    assert narrowed(catalog, COUNTED, **variables) == sorted(seen.items())
    keys = "select model from models where model_in_view(model) order by model"
    assert narrowed(catalog, keys, **variables) == [(model,) for model in sorted(seen)]
    script = "".join(
        f"set variable {name} = '{value.replace(chr(39), chr(39) * 2)}';" for name, value in variables.items()
    )
    assert in_shell(catalog, f"{script} {COUNTED};") == [{"model": m, "n": n} for m, n in sorted(seen.items())]


def test_what_is_out_of_view_is_not_opened(catalog: Path) -> None:
    for model, version in read_state(catalog).models.items():
        if not model.startswith("run@"):
            shutil.rmtree(catalog / version.folder, ignore_errors=True)
    assert narrowed(catalog, COUNTED, series="run") == sorted(STEPS.items())
    assert narrowed(catalog, COUNTED, model="run@2") == [("run@2", 3)]
    assert len(narrowed(catalog, "select model from models")) == 7  # of all, in one file


def test_row_groups_of_other_models_are_ruled_out_by_their_statistics(catalog: Path) -> None:
    (plan,) = narrowed(catalog, "explain from features", model="run@10")
    assert "model='run@10'" in str(plan[1]).replace(" ", "")


@pytest.mark.parametrize("name", ["50%", "none", "a|b", "series:run", "all", ".*", "\\Q", "run@1\n", "run)"])
def test_names_of_any_kind_are_kept_apart(catalog: Path, name: str) -> None:
    publish_pack(catalog, {f"{name}@7": 9}, name)
    assert narrowed(catalog, COUNTED, series=name) == [(f"{name}@7", 9)]
    assert narrowed(catalog, COUNTED, model=f"{name}@7") == [(f"{name}@7", 9)]
    assert narrowed(catalog, COUNTED, series="run") == sorted(STEPS.items())


def test_a_model_that_is_removed_or_replaced_leaves_the_others_of_its_pack(catalog: Path) -> None:
    everything = contents(catalog)
    assert remove(catalog, "run@2") == ["run@2"]
    assert contents(catalog) == {model: n for model, n in everything.items() if model != "run@2"}
    assert leftovers(catalog) == []
    publish(catalog, {"run@10": 9}, replace=True)
    assert contents(catalog) == {model: n for model, n in everything.items() if model != "run@2"} | {"run@10": 9}
    assert leftovers(catalog) == []
    publish(catalog, {"later": 2})
    assert leftovers(catalog) == []


def test_a_rebuild_finds_every_model_of_a_pack(catalog: Path) -> None:
    before = contents(catalog)
    shutil.rmtree(catalog / paths.GENERATIONS)
    shutil.rmtree(catalog / paths.DEFINITIONS)
    (catalog / paths.DATABASE).unlink()
    assert rebuild(catalog).models == sorted(before)
    assert contents(catalog) == before
    assert leftovers(catalog) == []


def test_a_rebuild_while_a_shell_is_open_brings_no_removed_model_back_nor_shows_the_others_twice(
    catalog: Path, tmp_path: Path
) -> None:
    copied = shutil.copytree(catalog, tmp_path / "copy", symlinks=True)
    everything = contents(catalog)
    with pinned(catalog):  # as `shell` does: its files stay
        remove(catalog, "run@2")
        left = contents(catalog)
        assert left == {model: n for model, n in everything.items() if model != "run@2"}
        assert rebuild(catalog).adopted == []
        assert contents(catalog) == left
        (catalog / paths.DATABASE).resolve().with_name(paths.STATE).unlink()
        publish(catalog, {"later": 1})
        assert contents(catalog) == left | {"later": 1}
    # Nor does a folder of several that was copied in, one of which is there already.
    shutil.rmtree(catalog)
    publish_pack(catalog, {"run@1": 7}, "run")
    shutil.copytree(copied / paths.MODELS_FOLDER, catalog / paths.MODELS_FOLDER, dirs_exist_ok=True)
    assert rebuild(catalog).adopted == ["alone", "other@1", "p/input", "p/output"]
    assert contents(catalog) == {"run@1": 7, "alone": 6, "other@1": 5, "p/input": 7, "p/output": 8}
    remove(catalog, "run@1")
    assert rebuild(catalog).adopted == sorted(STEPS)


def test_the_rows_of_models_are_those_of_the_version_folders(catalog: Path) -> None:
    table = catalogued(catalog)
    assert table["model"].to_pylist() == sorted(contents(catalog))
    assert dict(zip(table["model"].to_pylist(), table["step"].to_pylist(), strict=True))["run@10"] == 10
    assert rows(catalog, "select model, series, step from models order by model") == list(
        zip(*(table[name].to_pylist() for name in ("model", "series", "step")), strict=True)
    )
    assert len(catalogued(catalog / "nowhere")) == 0


def test_definitions_that_are_lost_are_made_again(catalog: Path) -> None:
    shutil.rmtree(catalog / paths.DEFINITIONS)
    publish(catalog, {"later": 2})
    assert contents(catalog)["later"] == 2
    assert len([*(catalog / paths.DEFINITIONS).iterdir()]) == 1


def test_a_connection_is_narrowed_to_a_series(catalog: Path) -> None:
    with connected(catalog, series="run") as connection:
        assert connection.execute(COUNTED).fetchall() == sorted(STEPS.items())
    with (
        pytest.raises(CatalogError, match="'sprint': no such series; the catalog has: 'other', 'run'"),
        connected(catalog, series="sprint"),
    ):
        pass


@pytest.mark.parametrize("told", [[5], None, {"features.parquet": 5}])
def test_what_was_tampered_with_is_found_anew(catalog: Path, told: Any) -> None:
    before = contents(catalog)
    for path in [
        (catalog / paths.DATABASE).resolve().with_name(paths.STATE),
        *catalog.glob("models/*/*/manifest.json"),
    ]:
        said = json.loads(path.read_text())
        said |= {"columns": told} if path.name == paths.MANIFEST else {"definitions": told, "contents": told}
        path.write_text(json.dumps(said))
    publish(catalog, {"later": 2})
    assert contents(catalog) == before | {"later": 2}
    assert remove(catalog, "later") == ["later"]
    assert leftovers(catalog) == []


def test_a_name_from_elsewhere_brings_no_files_into_view(catalog: Path) -> None:
    forged = "a\x1emodel:run@1\x1ffn\x1fmodels/elsewhere\x1cabcdefghijklmnopqrstuvwxyz\x1f\x1f\x1e"
    publish(catalog, {forged: 3})
    assert narrowed(catalog, COUNTED, model="run@1") == [("run@1", 2)]
    assert sum(n for _, n in narrowed(catalog, COUNTED)) == sum(contents(catalog).values())


def test_a_model_that_two_areas_have_is_published_by_neither(catalog: Path) -> None:
    before = contents(catalog)
    with staging(catalog) as one, staging(catalog) as other:
        for area in (one, other):
            write_tables(area.version("twice", "twice"), (MODELS, FEATURES), "twice", "twice", 2)
        with pytest.raises(CatalogError, match="'twice': written twice in one publish"):
            publish_together([one, other], replace=True)
    assert contents(catalog) == before
    assert leftovers(catalog) == []
