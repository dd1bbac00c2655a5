"""Recipes: which components span the sky, and every way to say it wrong."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.helpers import bf16_matrix, rows, save_bare
from token_catalog.catalog.errors import CatalogError
from token_catalog.ingest.recipe.recipe import Orient, Recipe, Sky
from token_catalog.ingest.recipe.shipping import load_recipe
from token_catalog.ingest.run import ingest
from token_catalog.ingest.source.resolve import SourceOptions

pytestmark = pytest.mark.usefixtures("tables_only")

ORIENT = 'orient = { token = 1, x = "+", y = "-", z = "+" }'


def recipe(tmp_path: Path, text: str | bytes) -> Recipe:
    """Return a recipe of this text."""
    path = tmp_path / "r.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return load_recipe(path)


def sky(tmp_path: Path, text: str) -> list[tuple[Any, ...]]:
    """Return x, y, z and the first four pcs of every token of a small W, catalogued with a recipe."""
    source = save_bare(tmp_path / "m" / "W.safetensors", bf16_matrix(30, 6))
    chosen = recipe(tmp_path, text)
    ingest(tmp_path / "catalog", str(source), SourceOptions(), recipe=chosen, with_tokenizer=False, replace=True)
    return rows(tmp_path / "catalog", "select [x, y, z], pcs[:4] from features order by token_id")


def test_a_recipe_without_a_word_is_the_default(tmp_path: Path) -> None:
    assert recipe(tmp_path, "") == recipe(tmp_path, "[sky]") == Recipe(Sky(north=2, meridian=1, equinox=3))


def test_a_recipe_says_the_axes_and_the_signs(tmp_path: Path) -> None:
    assert recipe(tmp_path, "[sky]\nnorth = 4\nmeridian = -2\nequinox = 1").sky == Sky(4, -2, 1)
    oriented = recipe(tmp_path, f"[sky]\n{ORIENT}").sky
    assert oriented == Sky(orient=Orient(1, {"x": 1, "y": -1, "z": 1}))


def test_the_axes_of_a_recipe_are_those_of_the_catalog(tmp_path: Path) -> None:
    for (x, y, z), pcs in sky(tmp_path, "[sky]\nnorth = 4\nmeridian = 2\nequinox = 1"):
        assert [x, y, z] == [pcs[1], pcs[0], pcs[3]]
    assert rows(tmp_path / "catalog", "select north_pc, meridian_pc, equinox_pc from models") == [(4, 2, 1)]


def test_a_negative_component_is_the_axis_turned_round(tmp_path: Path) -> None:
    plain = sky(tmp_path, "[sky]\nnorth = 2")
    turned = sky(tmp_path, "[sky]\nnorth = -2")
    assert [xyz for xyz, _ in turned] == [[x, y, -z] for (x, y, z), _ in plain]


@pytest.mark.parametrize("signs", ["+++", "---", "+-+", "-+-"])
def test_orient_gives_a_token_the_signs_it_asks_for(signs: str, tmp_path: Path) -> None:
    x, y, z = signs
    text = f'[sky]\norient = {{ token = 3, x = "{x}", y = "{y}", z = "{z}" }}'
    assert ["+" if value > 0 else "-" for value in sky(tmp_path, text)[3][0]] == list(signs)


WRONG = {
    "[sky]\nnroth = 3": "sky.nroth: unknown key; here are known: north, meridian, equinox, orient",
    "[skies]\nnorth = 3": "skies: unknown key",
    "north = 3": "north: unknown key",
    "sky = 3": "sky: 3 is no table",
    "[[sky]]\nnorth = 3": "sky: .* is no table",
    "[sky]\nnorth = 2.0": "sky.north: 2.0 is no whole number",
    '[sky]\nnorth = "2"': "sky.north: '2' is no whole number",
    "[sky]\nmeridian = true": "sky.meridian: True is no whole number",
    "[sky]\nequinox = [3]": r"sky.equinox: \[3\] is no whole number",
    "[sky]\nnorth = 0": "components are numbered from 1; 0 is none",
    "[sky]\nnorth = 3": "north 3, meridian 1 and equinox 3 must be three different ones",
    "[sky]\nnorth = -1": "north -1, meridian 1 and equinox 3 must be three different ones",
    "[sky]\norient = 3": "sky.orient: 3 is no table",
    "[sky]\norient = {}": "sky.orient.token: missing; write orient = ",
    '[sky]\norient = { token = 1, x = "+", y = "+" }': "sky.orient.z: missing",
    f"[sky]\n{ORIENT}".replace("token = 1", "token = -1"): "sky.orient.token: -1 is no token_id",
    f"[sky]\n{ORIENT}".replace("token = 1", 'token = "a"'): "sky.orient.token: 'a' is no whole number",
    f"[sky]\n{ORIENT}".replace('"-"', '"minus"'): "sky.orient.y: 'minus' is no sign",
    f"[sky]\n{ORIENT}".replace('"-"', "-1"): "sky.orient.y: -1 is no sign",
    f"[sky]\n{ORIENT}".replace("x =", "w ="): "sky.orient.w: unknown key; here are known: token, x, y, z",
    f"[sky]\nnorth = -2\n{ORIENT}": "sky.orient: settles the signs by itself",
    "[sky\nnorth = 3": "not TOML: ",
    "[sky]\nnorth = 2\nnorth = 4": "not TOML: ",
}


@pytest.mark.parametrize(("text", "message"), WRONG.items())
def test_a_wrong_recipe_is_refused_with_its_file_and_key(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=rf"{tmp_path}/r.toml: .*{message}"):
        recipe(tmp_path, text)


def test_what_is_no_text_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"r.toml: not TOML: 'utf-8' codec can't decode"):
        recipe(tmp_path, b"[sky]\nnorth = 2 # \xff\xfe")
    with pytest.raises(CatalogError, match=r"none.toml: can't be read \(No such file or directory\)"):
        load_recipe(tmp_path / "none.toml")
    with pytest.raises(CatalogError, match=r": can't be read \(Is a directory\)"):
        load_recipe(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[sky]\nnorth = 7", "sky.north is PC7, but W has 6 columns, so as many components"),
        ("[sky]\nequinox = -9", "sky.equinox is PC9, but W has 6 columns, so as many components"),
        (f"[sky]\n{ORIENT}".replace("token = 1", "token = 30"), "sky.orient.token is 30, but W has rows 0 to 29"),
    ],
)
def test_what_a_matrix_does_not_have_is_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=message):
        sky(tmp_path, text)
    assert not (tmp_path / "catalog" / "catalog.duckdb").exists()


def test_the_last_component_and_the_last_token_are_there(tmp_path: Path) -> None:
    (x, y, z), _ = sky(tmp_path, f"[sky]\nnorth = 6\n{ORIENT}".replace("token = 1", "token = 29"))[29]
    assert (x > 0, y > 0, z > 0) == (True, False, True)
