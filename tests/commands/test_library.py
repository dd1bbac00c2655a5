"""The library as a notebook uses it: what each method gives, and what bad input is told, in the words of parameters."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import token_catalog
from tests.support.crash import publish
from tests.support.helpers import bf16_matrix, save_bare
from token_catalog import Catalog, CatalogError

RECIPE = {
    "linkage": {"radius": 0.4, "threshold": 0.2},
    "reference": [{"name": "h", "token": 7}],
    "cluster": [{"name": "short", "where": "norm < 0.15"}],
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a W and a catalog of it, `m`, by a recipe that is a dict. Read it; don't publish to it."""
    folder = tmp_path_factory.mktemp("library")
    source = save_bare(folder / "W.safetensors", bf16_matrix(60, 8))
    report = token_catalog.open(folder / "c").ingest(source, name="m", recipe=RECIPE, with_tokenizer=False)
    assert report.models == ["m"]
    assert report.seconds["linkage"] > 0
    return folder


@pytest.fixture
def cat(made: Path, tmp_path: Path) -> Catalog:
    """Return a catalog of one's own, and the W beside it."""
    shutil.copytree(made, tmp_path, symlinks=True, dirs_exist_ok=True)
    return token_catalog.open(tmp_path / "c")


def test_a_catalog_is_a_collection_of_its_models(cat: Catalog) -> None:
    assert cat.models() == list(cat) == ["m"]
    assert len(cat) == 1
    assert "m" in cat
    assert "n" not in cat
    assert 7 not in cat
    assert cat["m"].name == "m"
    with pytest.raises(CatalogError, match="'n': no such model; the catalog has: m"):
        cat["n"]


def test_a_name_with_several_matrices_stands_for_them_all(tmp_path: Path) -> None:
    publish(tmp_path, {"p/input": 3, "p/output": 4})
    cat = token_catalog.open(tmp_path)
    assert cat.models() == ["p/input", "p/output"]
    assert [name in cat for name in ("p", "p/input", "input")] == [True, True, False]
    assert cat["p"].remove() == ["p/input", "p/output"]
    assert "p" not in cat


def test_a_recipe_may_be_a_dict(made: Path) -> None:
    with token_catalog.connect(made / "c") as connection:
        found = connection.execute("select reference, kind, token_id from reference_vectors").fetchall()
        (distances,) = connection.execute("select linkage_radius, linkage_threshold from models").fetchall()
        (n_short,) = connection.execute("select count(*) from members('short')").fetchone() or (0,)
    assert found == [("h", "token", 7)]
    assert distances == (0.4, 0.2)
    assert n_short > 0


def test_open_takes_the_folder_that_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    assert token_catalog.open() == token_catalog.open("token-catalog") == Catalog(Path.cwd() / "token-catalog")
    monkeypatch.setenv("TOKEN_CATALOG", "/elsewhere/c")
    assert token_catalog.open() == Catalog(Path("/elsewhere/c"))
    assert token_catalog.open("~/c") == Catalog(Path.home() / "c")


def test_files_are_the_current_ones_for_other_tools(cat: Catalog) -> None:
    (before,) = cat.files("features")
    assert pq.read_table(before).num_rows == 60
    cat["m"].relink(radius=0.3)
    assert cat.files("features") == cat["m"].files("features") != [before]
    assert before.exists()  # for who still reads it
    with pytest.raises(CatalogError, match="'feature': no such table; the tables are: models, tokens, features"):
        cat.files("feature")


def test_a_model_is_linked_and_scored_anew(cat: Catalog) -> None:
    model = cat["m"]
    assert model.relink(threshold=0.1).notes[0].endswith("0.4 (as before), components at 0.1 (given)")
    assert model.add_references({"reference": [{"name": "g", "pc": -1}]}).notes == ["m: references added: g"]
    with model.connect() as connection:
        assert connection.execute("select count(*) from scores where reference = 'g'").fetchall() == [(60,)]


def test_a_model_is_verified_and_exported(cat: Catalog, tmp_path: Path) -> None:
    table = tmp_path / "mine.csv"
    table.write_text("figure,published,class\nn_tokens,60,exact\nn_dims,9,exact\n", encoding="utf-8")
    lines = cat["m"].verify(table)
    assert [(line.figure.name, line.found, line.verdict.passes) for line in lines] == [
        ("n_tokens", "60", True),
        ("n_dims", "8", False),
    ]
    assert cat["m"].export("parquet", tmp_path / "m.parquet") == [tmp_path / "m.parquet"]
    assert pq.read_table(tmp_path / "m.parquet").num_rows == 60
    with pytest.raises(CatalogError, match=r"there already; `replace=True` writes over, `output=` names another place"):
        cat["m"].export("parquet", tmp_path / "m.parquet")
    with pytest.raises(CatalogError, match="`to=csv`: unknown; one of tensors, parquet"):
        cat["m"].export("csv")


def test_a_model_is_removed_and_the_catalog_rebuilt(cat: Catalog, tmp_path: Path) -> None:
    assert cat.rebuild().models == ["m"]
    assert cat["m"].remove() == ["m"]
    assert cat.models() == []
    cat.ingest(tmp_path / "W.safetensors", name="n", with_tokenizer=False, with_vectors=False)
    assert cat.models() == ["n"]
    assert cat.files("vectors") == []


def test_what_is_stored_can_be_read_again(cat: Catalog) -> None:
    for bad in (True, "0.3"):
        with pytest.raises(CatalogError, match=r"radius: .* is no number"):
            cat["m"].relink(radius=bad)  # type: ignore[arg-type]
    cat["m"].relink(radius=np.float32(0.5))
    token = np.int64(9)
    cat["m"].add_references({"reference": ({"name": "n", "token": token},)})
    with cat.connect() as connection:
        assert connection.execute("select linkage_radius from models").fetchall() == [(0.5,)]
        assert connection.execute("select token_id from reference_vectors where reference = 'n'").fetchall() == [(9,)]


def test_what_methods_return_has_a_name() -> None:
    assert token_catalog.Report.__name__ == "Report"
    assert {token_catalog.Line.__module__, token_catalog.Rebuilt.__module__} == {
        "token_catalog.queries.verify",
        "token_catalog.catalog.publish",
    }
    with pytest.raises(AttributeError, match="has no attribute 'Raport'"):
        token_catalog.Raport  # noqa: B018


def test_errors_name_parameters(cat: Catalog, tmp_path: Path) -> None:
    weights = tmp_path / "W.safetensors"
    for arguments, message in (
        ({"radius": -1.0}, "`radius=-1`: must be a distance above 0"),
        ({"radius": 0.1, "threshold": 0.3}, "`threshold=0.3` is past `radius=0.1`"),
        ({"name": "m", "with_tokenizer": False}, "'m': already in the catalog; `replace=True` puts"),
        ({}, "give one with `tokenizer=`, or `with_tokenizer=False`"),
        ({"matrix": "input"}, "leave `matrix=` out"),
        ({"device": "tpu"}, "`device=tpu`: unknown"),
        ({"recipe": {"skies": {}}}, "skies: unknown key"),
    ):
        with pytest.raises(CatalogError) as error:
            cat.ingest(weights, **arguments)
        assert message in str(error.value)
        assert "--" not in str(error.value)
    with pytest.raises(CatalogError, match=r"`radius=0\.1`; give `threshold=` too"):
        cat["m"].relink(radius=0.1)
    with pytest.raises(CatalogError, match="the catalog has one of that name; give another, or `replace=True`"):
        cat["m"].add_references({"reference": RECIPE["reference"]})


def test_where_there_is_no_catalog_what_makes_one_is_named(tmp_path: Path) -> None:
    assert token_catalog.open(tmp_path / "none").models() == []
    assert "m" not in token_catalog.open(tmp_path / "none")
    for ask in (
        Catalog.connect,
        Catalog.rebuild,
        lambda catalog: catalog["m"],
        lambda catalog: catalog.files("tokens"),
    ):
        with pytest.raises(CatalogError, match=r"no catalog \(nothing is there\); `ingest\(SOURCE\)` makes one"):
            ask(token_catalog.open(tmp_path / "none"))


def test_a_users_own_folders_of_the_same_names_are_let_be(made: Path, tmp_path: Path) -> None:
    """Conditions are asked in a process of their own, which must not take these either."""
    for name in ("catalog", "ingest", "queries"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('mine')")
    code = (
        "import token_catalog\n"
        f"report = token_catalog.open('c').ingest({str(made / 'W.safetensors')!r}, name='m', with_tokenizer=False,\n"
        "    recipe={'cluster': [{'name': 'few', 'where': 'token_id < 3'}]})\n"
        "print(token_catalog.connect('c').sql(\"select count(*) from members('few')\").fetchall())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == "[(3,)]\n", done.stderr
