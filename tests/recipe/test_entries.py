"""A recipe's references and clusters: every kind, every way to write one wrong, and recipes that ship."""

import json
from pathlib import Path
from typing import Any

import pytest

from token_catalog.catalog.errors import CatalogError
from token_catalog.catalog.selection import check_conditions
from token_catalog.ingest.recipe.entries import DEFAULTS, Cluster, Reference
from token_catalog.ingest.recipe.recipe import LinkageDistances, Orient, Recipe, Sky, parse_recipe
from token_catalog.ingest.recipe.shipping import load_additions, load_recipe, recipe_for, shipped_model, shipped_recipes

NOTEBOOKS = "qwen3-4b-instruct-2507"
BASE = '[[reference]]\nname = "a"\ntoken = 1\n'


def written(tmp_path: Path, text: str) -> Path:
    """Write a recipe."""
    path = tmp_path / "r.toml"
    path.write_text(text)
    return path


def reference(tmp_path: Path, text: str) -> Reference:
    """Return the reference of a recipe that has one, named r."""
    (found,) = load_recipe(written(tmp_path, f'[[reference]]\nname = "r"\n{text}')).references
    return found


KINDS = {
    "sky = { lat = -7.288, lon = 6.941 }": Reference("r", "sky", {"lat": -7.288, "lon": 6.941}),
    "sky = { lat = 90, lon = -350 }": Reference("r", "sky", {"lat": 90.0, "lon": -350.0}),
    'centroid = "largest-component"': Reference("r", "centroid", "largest-component"),
    'centroid = "component:12"': Reference("r", "centroid", "component:12"),
    'centroid = "duplicate:0"': Reference("r", "centroid", "duplicate:0"),
    "first_in_box = { lat = 1, lon = 2.5, diameter = 0 }": Reference(
        "r", "first_in_box", {"lat": 1.0, "lon": 2.5, "diameter": 0.0}
    ),
    "token = 0": Reference("r", "token", 0),
    'text = " hello"': Reference("r", "text", " hello"),
    "pc = 1": Reference("r", "pc", 1),
    "pc = -3": Reference("r", "pc", -3),
    "mean = true": Reference("r", "mean", True),
    "mean = true\nscale = 0.371094": Reference("r", "mean", True, 0.371094),
    "token = 5\nscale = -2": Reference("r", "token", 5, -2.0),
    "token = 5\noptional = true": Reference("r", "token", 5, optional=True),
    "token = 5\noptional = false": Reference("r", "token", 5),
}


@pytest.mark.parametrize(("text", "expected"), KINDS.items())
def test_every_kind_is_read_and_written_again(text: str, expected: Reference, tmp_path: Path) -> None:
    found = reference(tmp_path, text)
    assert found == expected
    recipe = Recipe(references=(found,))
    assert parse_recipe(recipe.as_dict()) == recipe
    assert parse_recipe(json.loads(json.dumps(recipe.as_dict()))) == recipe


def test_a_vector_is_found_beside_its_recipe_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "recipes").mkdir()
    monkeypatch.chdir(tmp_path)
    path = written(Path("recipes"), '[[reference]]\nname = "r"\nvector = { file = "v/h.safetensors", key = "h" }')
    expected = {"file": str(tmp_path / "recipes/v/h.safetensors"), "key": "h"}
    (found,) = load_recipe(path).references
    assert found.value == load_additions(path).references[0].value == expected
    monkeypatch.chdir(tmp_path / "recipes")
    assert parse_recipe({"reference": [found.as_dict()]}, Path("/elsewhere")).references == (found,)


def test_a_vector_elsewhere_keeps_its_whole_path(tmp_path: Path) -> None:
    found = reference(tmp_path, 'vector = { file = "/data/h.safetensors", key = "h" }')
    assert found.value == {"file": "/data/h.safetensors", "key": "h"}


def test_a_whole_recipe_is_written_as_it_was_read(tmp_path: Path) -> None:
    text = f"""
        [sky]
        north = 4
        orient = {{ token = 1, x = "+", y = "-", z = "+" }}
        [linkage]
        threshold = 0.5
        {BASE}
        [[reference]]
        name = "b c"
        centroid = "a:dot-self"
        scale = 3
        [[reference]]
        name = "d"
        centroid = "north"
        [[cluster]]
        name = "north"
        where = "lat > 80 -- degrees"
    """
    recipe = load_recipe(written(tmp_path, text))
    assert recipe == Recipe(
        Sky(north=4, orient=Orient(1, {"x": 1, "y": -1, "z": 1})),
        LinkageDistances(threshold=0.5),
        (
            Reference("a", "token", 1),
            Reference("b c", "centroid", "a:dot-self", 3.0),
            Reference("d", "centroid", "north"),
        ),
        (Cluster("north", "lat > 80 -- degrees"),),
    )
    assert [found.builds_on for found in recipe.references] == [None, "a", None]
    assert parse_recipe(json.loads(json.dumps(recipe.as_dict()))) == recipe


def test_without_references_there_are_the_mean_and_the_largest_component(tmp_path: Path) -> None:
    recipe = load_recipe(written(tmp_path, '[[cluster]]\nname = "c"\nwhere = "true"'))
    assert recipe.references == DEFAULTS
    assert [(found.name, found.kind, found.optional) for found in DEFAULTS] == [
        ("mean", "mean", True),
        ("largest-component", "centroid", True),
    ]
    assert parse_recipe(json.loads(json.dumps(recipe.as_dict()))) == recipe


def test_a_recipe_may_ask_for_no_reference(tmp_path: Path) -> None:
    recipe = load_recipe(written(tmp_path, "reference = []"))
    assert recipe.references == ()
    assert parse_recipe(recipe.as_dict()) == recipe


def wrong(kind: str) -> str:
    """Return a recipe whose one reference, r, is so."""
    return f'[[reference]]\nname = "r"\n{kind}'


def centroid(cluster: str) -> str:
    """Return a recipe in which r is the centroid of a cluster, and comes after a and before b."""
    return f'{BASE}{wrong(f"centroid = {json.dumps(cluster)}")}\n[[reference]]\nname = "b"\ntoken = 2'


WRONG = {
    "[reference]\ntoken = 1": r"reference: is no array of tables; write \[\[reference\]\] above each",
    "reference = 3": "reference: is no array of tables",
    "reference = [3]": "reference: is no array of tables",
    "cluster = {}": r"cluster: is no array of tables; write \[\[cluster\]\] above each",
    "[[references]]\ntoken = 1": "references: unknown key; here are known: model, sky, pca, causal, linkage, "
    "reference, cluster, frame",
    "[[reference]]\ntoken = 1": "reference 1: name: missing",
    f"{BASE}[[reference]]\ntoken = 1": "reference 2: name: missing",
    "[[reference]]\nname = 3\ntoken = 1": "reference 1: name: 3 is no text",
    '[[reference]]\nname = ""\ntoken = 1': "reference 1: name: is empty",
    '[[reference]]\nname = "a:b"\ntoken = 1': "reference 1: name: 'a:b' has a colon, which names such as REF:dot-mode",
    BASE + BASE: "reference 'a': there are 2 of that name; give each its own",
    wrong(""): "reference 'r': of no kind; give sky, centroid, first_in_box, token, text, pc, mean, vector",
    wrong("scale = 2"): "reference 'r': of no kind",
    wrong("token = 1\nmean = true"): "reference 'r': token and mean: it can be one kind only",
    wrong("tokken = 1"): "reference 'r'.tokken: unknown key; here are known: name, sky, centroid",
    wrong("token = -1"): "reference 'r'.token: -1 is no token_id; they are numbered from 0",
    wrong("token = 1.0"): "reference 'r'.token: 1.0 is no whole number",
    wrong('token = "1"'): "reference 'r'.token: '1' is no whole number",
    wrong("token = true"): "reference 'r'.token: True is no whole number",
    wrong("pc = 0"): r"reference 'r'.pc: components are numbered from 1 \(negative: flipped\); 0 is none",
    wrong("pc = 1.5"): "reference 'r'.pc: 1.5 is no whole number",
    wrong("mean = false"): "reference 'r'.mean: write mean = true, or leave the reference out",
    wrong("mean = 1"): "reference 'r'.mean: write mean = true",
    wrong("text = 3"): "reference 'r'.text: 3 is no text",
    wrong('text = ""'): "reference 'r'.text: is empty",
    wrong("centroid = 3"): "reference 'r'.centroid: 3 is no text",
    wrong("sky = 3"): "reference 'r'.sky: 3 is no table",
    wrong("sky = { lat = 1 }"): "reference 'r'.sky.lon: missing; sky = { lat = …, lon = … }",
    wrong("sky = { lat = 1, lon = 2, diameter = 3 }"): "reference 'r'.sky.diameter: unknown key; here are known: lat",
    wrong('sky = { lat = "1", lon = 2 }'): "reference 'r'.sky.lat: '1' is no number",
    wrong("sky = { lat = 90.5, lon = 2 }"): "reference 'r'.sky.lat: 90.5: from -90 to 90 degrees",
    wrong("sky = { lat = 1, lon = inf }"): "reference 'r'.sky.lon: inf is not finite",
    wrong("sky = { lat = nan, lon = 1 }"): "reference 'r'.sky.lat: nan is not finite",
    wrong("first_in_box = { lat = 1, lon = 2 }"): "reference 'r'.first_in_box.diameter: missing; first_in_box = { lat",
    wrong("first_in_box = { lat = 1, lon = 2, diameter = -1 }"): "reference 'r'.first_in_box.diameter: -1 is below 0",
    wrong("first_in_box = { lat = -91, lon = 2, diameter = 1 }"): "reference 'r'.first_in_box.lat: -91: from -90 to",
    wrong('vector = "h.safetensors"'): "reference 'r'.vector: 'h.safetensors' is no table",
    wrong('vector = { file = "h" }'): "reference 'r'.vector.key: missing; vector = { file = …, key = … }",
    wrong('vector = { file = 3, key = "h" }'): "reference 'r'.vector.file: 3 is no text",
    wrong('vector = { file = "h", key = "" }'): "reference 'r'.vector.key: is empty",
    wrong('vector = { file = "h", kye = "h" }'): "reference 'r'.vector.kye: unknown key",
    wrong("token = 1\nscale = 0"): "reference 'r'.scale: 0 leaves no direction",
    wrong("token = 1\nscale = -0.0"): "reference 'r'.scale: 0 leaves no direction",
    wrong("token = 1\nscale = nan"): "reference 'r'.scale: nan is not finite",
    wrong(f"token = 1\nscale = 1{'0' * 400}"): "reference 'r'.scale: inf is not finite",
    wrong('token = 1\nscale = "2"'): "reference 'r'.scale: '2' is no number",
    wrong("token = 1\noptional = 1"): "reference 'r'.optional: 1 is neither true nor false",
    centroid("b:dot-mode"): "reference 'r'.centroid: 'b:dot-mode': reference 'b' stands below; put it above",
    centroid("r:dot-mode"): "reference 'r'.centroid: 'r:dot-mode': reference 'r' stands below",
    centroid("x:dot-mode"): "reference 'r'.centroid: 'x:dot-mode': reference 'x' isn't there; above are 'a'",
    centroid(":dot-mode"): "reference 'r'.centroid: ':dot-mode': reference '' isn't there",
    centroid(
        "a:dot-mod"
    ): "reference 'r'.centroid: no cluster 'a:dot-mod'; there are 'largest-component', component:ID, "
    "duplicate:ID, and REF:cosine-mode, REF:dot-mode, REF:dot-self of references above: 'a'",
    centroid("a"): "reference 'r'.centroid: no cluster 'a'",
    centroid("component:x"): "reference 'r'.centroid: no cluster 'component:x'",
    centroid("component:-1"): "reference 'r'.centroid: no cluster 'component:-1'",
    centroid("component:"): "reference 'r'.centroid: no cluster 'component:'",
    centroid("duplicates:3"): "reference 'r'.centroid: no cluster 'duplicates:3'",
    '[[cluster]]\nwhere = "true"': "cluster 1: name: missing",
    '[[cluster]]\nname = "a:b"\nwhere = "true"': "cluster 1: name: 'a:b' has a colon",
    '[[cluster]]\nname = "c"': "cluster 'c'.where: missing",
    '[[cluster]]\nname = "c"\nwhere = ""': "cluster 'c'.where: is empty",
    '[[cluster]]\nname = "c"\nwhere = true': "cluster 'c'.where: True is no text",
    '[[cluster]]\nname = "c"\nwhere = "true"\nscale = 2': "cluster 'c'.scale: unknown key; here are known: name, where",
    '[[cluster]]\nname = "c"\nwhere = "true"\nfile = "i.txt"': "cluster 'c': where and file: it can have one only",
    '[[cluster]]\nname = "c"\nwhere = "true"\nkey = "m"': "cluster 'c'.key: says what of a file",
    '[[cluster]]\nname = "c"\nfile = 3': "cluster 'c'.file: 3 is no text",
    '[[cluster]]\nname = "c"\nfile = "i.txt"\ncolumn = "a"': "cluster 'c'.column: a .txt has none",
    '[[cluster]]\nname = "c"\nfile = "i.csv"\nkey = "a"': "cluster 'c'.key: a .csv has none; it has column",
    '[[cluster]]\nname = "c"\nfile = "i.safetensors"': "cluster 'c'.key: missing; key = \"cluster_mask\", say",
    '[[cluster]]\nname = "c"\nfile = "i.safetensors"\ncolumn = "a"': "cluster 'c'.column: a .safetensors has none; it",
    '[[cluster]]\nname = "c"\nfile = "i.xlsx"': "cluster 'c'.file: 'i.xlsx': of the endings .txt, .csv, .parquet",
    '[[cluster]]\nname = "largest-component"\nwhere = "true"': "cluster 'largest-component': every model has a cluster",
    '[[cluster]]\nname = "c"\nwhere = "true"\n' * 2: "cluster 'c': there are 2 of that name; give each its own",
}


@pytest.mark.parametrize(("text", "message"), WRONG.items())
def test_a_wrong_entry_is_refused_with_its_file_key_and_way_out(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=rf"^{tmp_path}/r.toml: {message}"):
        load_recipe(written(tmp_path, text))


def test_a_reference_may_build_on_any_cluster_of_those_above_it(tmp_path: Path) -> None:
    for cluster in ("a:cosine-mode", "a:dot-mode", "a:dot-self", "largest-component", "component:3", "duplicate:3"):
        assert load_recipe(written(tmp_path, centroid(cluster))).references[1].value == cluster


def test_a_reference_may_build_on_a_cluster_written_below_it(tmp_path: Path) -> None:
    text = centroid("c") + '\n[[cluster]]\nname = "c"\nwhere = "true"'
    assert load_recipe(written(tmp_path, text)).references[1].value == "c"


@pytest.mark.parametrize("table", ["[sky]\nnorth = 4", "[linkage]", "[linkage]\nradius = 1"])
def test_what_the_ingest_settled_is_no_addition(table: str, tmp_path: Path) -> None:
    key = table[1 : table.index("]")]
    with pytest.raises(CatalogError, match=rf"r.toml: {key}: was settled by the ingest; leave it out here"):
        load_additions(written(tmp_path, f"{table}\n{BASE}"))


def test_additions_have_no_references_but_their_own(tmp_path: Path) -> None:
    assert load_additions(written(tmp_path, "")) == Recipe(references=())
    found = load_additions(written(tmp_path, '[[cluster]]\nname = "c"\nwhere = "true"'))
    assert found == Recipe(references=(), clusters=(Cluster("c", "true"),))


def test_additions_may_build_on_what_a_catalog_may_have(tmp_path: Path) -> None:
    found = load_additions(written(tmp_path, wrong('centroid = "there-already:dot-mode"')))
    assert found.references[0].builds_on == "there-already"


def test_wrong_additions_are_refused_with_their_file(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"r.toml: reference 'r'.pc: components are numbered from 1"):
        load_additions(written(tmp_path, wrong("pc = 0")))
    with pytest.raises(CatalogError, match=r"r.toml: \[?skies: unknown key"):
        load_additions(written(tmp_path, "[skies]"))
    with pytest.raises(
        CatalogError, match=r"none.toml: can't be read \(No such file or directory\); recipes that ship"
    ):
        load_additions(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (Reference("r", "token", 10), "reference 'r'.token: 10: W has rows 0 to 9"),
        (Reference("r", "pc", 5), "reference 'r'.pc: 5: W has 4 columns, so as many components"),
        (Reference("r", "pc", -5), "reference 'r'.pc: -5: W has 4 columns"),
    ],
)
def test_what_a_matrix_of_this_shape_does_not_have_is_refused(entry: Reference, message: str) -> None:
    with pytest.raises(CatalogError, match=message):
        Recipe(references=(entry,)).check(10, 4)


def test_the_last_token_and_component_are_there() -> None:
    last = (Reference("t", "token", 9), Reference("p", "pc", 4), Reference("q", "pc", -4))
    Recipe(references=last).check(10, 4)


@pytest.mark.parametrize("name", shipped_recipes())
def test_a_shipped_recipe_is_found_by_its_name_and_has_conditions_that_can_be_asked(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = load_recipe(Path(name))
    assert recipe == load_recipe(name)
    assert parse_recipe(json.loads(json.dumps(recipe.as_dict()))) == recipe
    model = shipped_model(name)
    assert model.name.lower() == name
    recipe.check(model.n_tokens, model.n_dims)
    check_conditions({cluster.key: cluster.where for cluster in recipe.clusters})


def test_a_file_of_ones_own_goes_before_a_shipped_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / NOTEBOOKS).write_text(BASE)
    assert load_recipe(Path(NOTEBOOKS)).references == (Reference("a", "token", 1),)


def test_the_notebooks_recipe_is_the_contracts() -> None:
    """But for one that is optional: a matrix without a token in so small a window is for `verify` to fail."""
    recipe = load_recipe(Path(NOTEBOOKS))
    assert recipe.sky == Sky(2, 1, 3, Orient(124, {"x": 1, "y": 1, "z": -1}))
    assert recipe.linkage == LinkageDistances(0.02, 0.002)
    assert recipe.references == (
        Reference("1.4a", "sky", {"lat": -7.288, "lon": 6.941}),
        Reference("1.5c", "centroid", "1.4a:cosine-mode"),
        Reference("1.5d", "first_in_box", {"lat": -7.2888, "lon": 6.94, "diameter": 0.001}, optional=True),
        Reference("1.6a", "centroid", "largest-component"),
        Reference("row-124", "token", 124),
        Reference("mean", "mean", True),
    )
    spike = "lat between -15 and 5 and lon between -10 and 20 and radius between 0.2 and 0.5"
    assert recipe.clusters == (Cluster("spike", spike),)


HUB = "Qwen/Qwen3-4B-Instruct-2507"
SHAPE = (151_936, 2_560)


@pytest.mark.parametrize(
    ("name", "source", "shape", "expected"),
    [
        ("mine", HUB, SHAPE, NOTEBOOKS),
        ("Qwen3-4B-Instruct-2507", "/data/W.safetensors", SHAPE, NOTEBOOKS),
        ("mine", "/models/qwen3-4b-instruct-2507", SHAPE, NOTEBOOKS),
        ("mine", "/hub/models--Qwen--Qwen3-4B-Instruct-2507/snapshots/abc", SHAPE, NOTEBOOKS),
        ("mine", "/tensors/Qwen3-4B-Instruct-2507/W.safetensors", SHAPE, NOTEBOOKS),
        ("mine", HUB, (SHAPE[0] + 1, SHAPE[1]), None),
        ("mine", HUB, (SHAPE[0], SHAPE[1] * 2), None),
        ("mine", HUB, SHAPE[::-1], None),
        ("mine", f"{HUB}-FP8", SHAPE, None),
        ("my-Qwen3-4B-Instruct-2507", "/data/W.safetensors", SHAPE, None),
        ("Qwen3-4B", "Qwen/Qwen3-4B", SHAPE, None),
        ("mine", "/data/W.safetensors", SHAPE, None),
        ("all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2", (30_522, 384), None),
    ],
)
def test_a_shipped_recipe_is_chosen_by_the_models_name_or_source_and_shape(
    name: str, source: str, shape: tuple[int, int], expected: str | None
) -> None:
    recipe = recipe_for(name, source, *shape)
    assert (recipe.origin if recipe else None) == expected


def test_limits_given_beside_a_recipe_leave_its_references(tmp_path: Path) -> None:
    recipe: Any = load_recipe(written(tmp_path, BASE)).linked(LinkageDistances(2.0, 1.0))
    assert recipe.linkage == LinkageDistances(2.0, 1.0)
    assert recipe.references == (Reference("a", "token", 1),)
