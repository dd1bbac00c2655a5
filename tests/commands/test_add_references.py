"""`add-references`: what an ingest with the whole recipe gives, and all the rest as it was; and references relinked."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from tests.support.command_line import refused, run
from tests.support.helpers import bf16_matrix, ingest_bare, rows
from tests.support.models import EMBEDDING, UNEMBEDDING, matrix_of, save_tensors, save_tokenizer
from token_catalog.catalog.errors import CatalogError
from token_catalog.catalog.paths import LOCK
from token_catalog.catalog.publish import remove
from token_catalog.catalog.state import read_state
from token_catalog.ingest import add_references as add_module
from token_catalog.ingest.add_references import add_references
from token_catalog.ingest.recipe.recipe import LinkageDistances, Recipe, parse_recipe
from token_catalog.ingest.recipe.shipping import load_additions
from token_catalog.ingest.references import score_recipe as references_module
from token_catalog.ingest.relink import relink
from token_catalog.ingest.run import ingest
from token_catalog.ingest.source.resolve import SourceOptions

pytestmark = pytest.mark.usefixtures("tables_only")
N_TOKENS, N_DIMS = 120, 12
LIMITS, WIDER = LinkageDistances(0.03, 0.01), LinkageDistances(0.5, 0.12)
BASE: list[dict[str, Any]] = [
    {"name": "mean", "mean": True},
    {"name": "base", "token": 3},
    {"name": "largest", "centroid": "largest-component"},
]
NORTH = {"name": "north", "where": "lat > 20"}


def matrix() -> torch.Tensor:
    """Return a matrix with rows that lie together around row 3, rows equal to row 7, a zero, and one not finite."""
    W = bf16_matrix(N_TOKENS, N_DIMS).float()
    W[50:70] = W[3] + W[50:70] * 0.01
    W[90:95] = W[7]
    W[95] = 0
    W[100, 3] = float("nan")
    return W.to(torch.bfloat16)


def recipe(references: list[dict[str, Any]] | None = None, clusters: list[dict[str, str]] | None = None) -> Recipe:
    """Return a recipe of these references and clusters."""
    return parse_recipe({"reference": references or [], "cluster": clusters or []})


def seen(catalog: Path, but: str = "''") -> list[list[tuple[Any, ...]]]:
    """Return every value that references and clusters have, of all references but some."""
    return [
        rows(catalog, f"from reference_vectors where reference not in ({but}) order by model, reference"),
        rows(catalog, f"from scores where reference not in ({but}) order by model, reference, token_id"),
        rows(catalog, "from recipe_clusters order by model, cluster, token_id"),
        [(model, json.loads(text)["reference"]) for model, text in rows(catalog, "select model, recipe from models")],
    ]


def names(catalog: Path) -> list[str]:
    """Return the names of the references that there are."""
    return [name for (name,) in rows(catalog, "select reference from reference_vectors order by reference")]


def folder(catalog: Path, model: str = "m") -> Path:
    """Return the folder of a model's version in force."""
    return catalog / read_state(catalog).models[model].folder


def inodes(path: Path) -> dict[str, int]:
    """Return which file each table of a version is."""
    return {file.stem: file.stat().st_ino for file in path.glob("*.parquet")}


def on_disk(catalog: Path) -> dict[Path, tuple[int, int]]:
    """Return every file of a catalog but its lock, and when it was written."""
    files = (path for path in catalog.rglob("*") if path.is_file() and path.name != LOCK)
    return {path: (path.lstat().st_ino, path.lstat().st_mtime_ns) for path in files}


@pytest.fixture(scope="module")
def vector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with vectors, good and bad."""
    path = tmp_path_factory.mktemp("vectors") / "h.safetensors"
    h = np.linspace(-1, 1, N_DIMS, dtype=np.float32)
    bad = h.copy()
    bad[2] = np.nan
    huge = h * np.float32(3e38)
    huge[0] = 3.4e38
    made = {"h": h, "nan": bad, "inf": bad * np.inf, "zero": h * 0, "long": np.ones(N_DIMS + 1, np.float32)}
    save_file(made | {"matrix": h[None], "whole": np.arange(N_DIMS), "huge": huge}, path)
    return path


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a catalog of `m`, with the base's references and `north`. Read it; publish nothing to it."""
    catalog = tmp_path_factory.mktemp("base") / "c"
    ingest_bare(catalog, matrix(), recipe=recipe(BASE, [NORTH]), asked=LIMITS)
    return catalog


@pytest.fixture
def mine(catalog: Path, tmp_path: Path) -> Path:
    """Return a copy of that catalog to publish to."""
    copied: Path = shutil.copytree(catalog, tmp_path / "c", symlinks=True)
    return copied


def additions(vector: Path) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """Return references of every kind that needs no tokenizer, on clusters old and new; and clusters."""
    entries: list[dict[str, Any]] = [
        {"sky": {"lat": 10, "lon": 20}},
        {"first_in_box": {"lat": 0, "lon": 0, "diameter": 90}},
        {"token": 17, "scale": -0.5},
        {"pc": -2},
        {"mean": True, "scale": 2.0},
        {"vector": {"file": str(vector), "key": "h"}},
        *({"centroid": name} for name in ("base:dot-mode", "base:cosine-mode", "base:dot-self", "mean:dot-mode")),
        *({"centroid": name} for name in ("component:3", "duplicate:7", "largest-component", "north", "south")),
        *({"centroid": name} for name in ("largest:dot-mode", "r2:cosine-mode", "r16:dot-mode")),
    ]
    entries = [{"name": f"r{place}", **entry} for place, entry in enumerate(entries)]
    return entries, [{"name": "south", "where": "lat < -20 and component_size = 1"}, {"name": "none", "where": "false"}]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, vector: Path) -> Path:
    """Return a catalog with the base and the additions, all from one ingest."""
    entries, clusters = additions(vector)
    catalog = tmp_path_factory.mktemp("whole") / "c"
    ingest_bare(catalog, matrix(), recipe=recipe(BASE + entries, [NORTH, *clusters]), asked=LIMITS)
    return catalog


def test_it_gives_bit_for_bit_what_an_ingest_with_the_whole_recipe_gives(mine: Path, whole: Path, vector: Path) -> None:
    entries, clusters = additions(vector)
    add_references(mine, "m", recipe(entries[:3]))  # the others build on these, now in the catalog, and on each other
    report = add_references(mine, "m", recipe(entries[3:], clusters))
    assert report.models == ["m"]
    added = ", ".join(entry["name"] for entry in entries[3:])
    assert report.notes == [
        "m: cluster 'none' has no token: false",
        f"m: references added: {added}",
        "m: clusters added: south, none",
    ]
    assert len(names(mine)) == len(BASE) + len(entries)
    assert seen(mine) == seen(whole)
    ((told,),) = rows(mine, "select recipe from models")
    assert parse_recipe(json.loads(told)) == recipe(BASE + entries, [NORTH, *clusters]).linked(LIMITS)


def test_it_shares_the_files_that_it_does_not_change_and_leaves_the_version_before(mine: Path) -> None:
    about = "select * exclude (recipe) from models"
    versions, before = [folder(mine)], rows(mine, about)
    cluster = [{"name": "new", "where": "lat < 0"}]
    for added, changed in (
        (new(pc=1), {"models", "reference_vectors", "scores"}),
        (recipe([], cluster), {"models", "recipe_clusters"}),
    ):
        old, files = folder(mine), inodes(folder(mine))
        add_references(mine, "m", added)
        versions.append(folder(mine))
        after = inodes(folder(mine))
        assert set(after) == set(files)
        assert {name for name in files if after[name] != files[name]} == changed
        assert inodes(old) == files  # for who still reads it, until the next publish
    assert [version.exists() for version in versions] == [False, True, True]
    assert rows(mine, about) == before


def test_clusters_alone_need_no_vectors(mine: Path) -> None:
    catalog = mine
    (folder(catalog) / "vectors.parquet").unlink()  # as --no-vectors leaves it
    add_references(catalog, "m", recipe([], [{"name": "new", "where": "component_size > 1 and duplicate_count = 1"}]))
    query = "select token_id from recipe_clusters where cluster = 'new' order by token_id"
    found = [token for (token,) in rows(catalog, query)]
    assert found == [3, *range(50, 70)]
    before = on_disk(catalog)
    with pytest.raises(CatalogError, match=r"m: was .* `with_vectors=False`, so its rows aren't here; ingest it again"):
        add_references(catalog, "m", recipe([{"name": "new", "token": 1}]))
    assert on_disk(catalog) == before


def test_an_optional_reference_that_cannot_be_had_is_noted_and_makes_room_for_one_of_its_name(mine: Path) -> None:
    asked = {"name": "new", "centroid": "component:20", "optional": True}
    report = add_references(mine, "m", recipe([asked]))
    (note,) = report.notes
    assert note.startswith("m: left out: reference 'new'.centroid: 'component:20': no component of two tokens")
    assert "new" not in names(mine)
    assert seen(mine)[3] == [("m", [*BASE, asked])]
    add_references(mine, "m", new(token=1))
    assert "new" in names(mine)
    assert seen(mine)[3] == [("m", [*BASE, {"name": "new", "token": 1}])]


def test_a_reference_that_is_not_optional_must_be_had(catalog: Path) -> None:
    before = on_disk(catalog)
    with pytest.raises(CatalogError, match=r"reference 'new'.centroid: 'component:1': no component of two tokens"):
        add_references(catalog, "m", recipe([{"name": "new", "centroid": "component:1"}]))
    assert on_disk(catalog) == before


def new(**entry: object) -> Recipe:
    """Return additions of one reference, `new`."""
    return recipe([{"name": "new", **entry}])


BAD: Mapping[str, tuple[Recipe, str]] = {
    "no entry": (recipe(), r"the recipe has no \[\[reference\]\], no \[\[cluster\]\] and no \[\[frame\]\]: there is"),
    "name taken": (
        recipe([{"name": "base", "pc": 1}]),
        "reference 'base': the catalog has one of that name; give",
    ),
    "cluster taken": (recipe([], [NORTH]), "cluster 'north': the catalog has one of that name; give another"),
    "no such token": (new(token=N_TOKENS), f"reference 'new'.token: {N_TOKENS}: W has rows 0 to {N_TOKENS - 1}"),
    "no such component": (new(pc=N_DIMS + 1), "reference 'new'.pc: 13: W has 12 columns, so as many components"),
    "no such cluster": (new(centroid="nroth"), "no cluster 'nroth'; there are 'largest-component', 'north', compo"),
    "no such reference": (new(centroid="bsae:dot-mode"), "reference 'bsae' isn't there; above are 'base', 'la"),
    "no such duplicates": (
        new(centroid="duplicate:8"),
        "reference 'new'.centroid: 'duplicate:8': no equal rows",
    ),
    "alone": (new(centroid="component:20"), "reference 'new'.centroid: 'component:20': no component of two"),
    "past int32": (new(centroid=f"component:{10**20}"), "'component:100000000000000000000': no component"),
    "a later one": (
        recipe([{"name": "new", "centroid": "next:dot-mode"}, {"name": "next", "pc": 1}]),
        "reference 'next' stands below; put it above",
    ),
    "an empty cluster": (
        recipe([{"name": "new", "centroid": "none"}], [{"name": "none", "where": "false"}]),
        "reference 'new'.centroid: 'none': no token is in it",
    ),
    "a cluster of a row that isn't finite": (
        recipe([{"name": "new", "centroid": "odd"}], [{"name": "odd", "where": "norm is null"}]),
        "reference 'new'.centroid: none of its rows is finite",
    ),
    "bad SQL": (recipe([], [{"name": "c", "where": "nolat > 0"}]), "^cluster 'c'.where: .*nolat"),
    "an empty window": (
        new(first_in_box={"lat": 89, "lon": 0, "diameter": 0.001}),
        "'new'.first_in_box: no token is in",
    ),
    "text without a tokenizer": (new(text="hello"), "reference 'new'.text: 'hello': there is no text at all"),
    "a row not finite": (new(token=100), "reference 'new'.token: the vector has a NaN, an infinity"),
    "a row of zeros": (new(token=95), "reference 'new'.token: the vector is zero in bf16, and so has"),
    "scaled past bf16": (
        new(token=1, scale=1e300),
        "'new'.token: the vector, scaled by 1e.300, has a NaN",
    ),
    "scaled to nothing": (new(token=1, scale=1e-300), "'new'.token: the vector, scaled by 1e-300, is zero"),
}


@pytest.mark.parametrize(("added", "message"), BAD.values(), ids=BAD)
def test_bad_additions_are_refused_and_nothing_changes(catalog: Path, added: Recipe, message: str) -> None:
    before = on_disk(catalog)
    with pytest.raises(CatalogError, match=message):
        add_references(catalog, "m", added)
    assert on_disk(catalog) == before


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("long", "has 13 numbers, and W's rows have 12"),
        ("nan", "the vector has a NaN, an infinity, or a number past bf16's range"),
        ("inf", "the vector has a NaN, an infinity, or a number past bf16's range"),
        ("huge", "the vector has a NaN, an infinity, or a number past bf16's range"),
        ("zero", "the vector is zero in bf16, and so has no direction"),
        ("matrix", r"'matrix' is no vector, but torch.float32 of shape \[1, 12\]"),
        ("whole", "'whole' is no vector, but torch.int64"),
        ("k", "no tensor 'k'; it has 'h', "),
    ],
)
def test_a_vector_that_cannot_serve_is_refused_and_nothing_changes(
    catalog: Path, vector: Path, key: str, message: str
) -> None:
    before = on_disk(catalog)
    with pytest.raises(CatalogError, match=rf"reference 'new'.vector: .*{message}"):
        add_references(catalog, "m", new(vector={"file": str(vector), "key": key}))
    assert on_disk(catalog) == before


@pytest.mark.parametrize(
    "content", [None, b"", b"no safetensors", b"\xff" * 100], ids=["gone", "empty", "text", "huge"]
)
def test_a_file_that_holds_no_vectors_is_refused_and_nothing_changes(
    catalog: Path, tmp_path: Path, content: bytes | None
) -> None:
    before = on_disk(catalog)
    if content is not None:
        (tmp_path / "h.safetensors").write_bytes(content)
    with pytest.raises(CatalogError, match=r"h\.safetensors"):
        add_references(catalog, "m", new(vector={"file": str(tmp_path / "h.safetensors"), "key": "h"}))
    assert on_disk(catalog) == before


def test_an_unknown_model_is_named_with_those_there(catalog: Path, tmp_path: Path) -> None:
    before = on_disk(catalog)
    with pytest.raises(CatalogError, match="'x': no such model; the catalog has: m"):
        add_references(catalog, "x", new(token=1))
    with pytest.raises(CatalogError, match="none"):
        add_references(tmp_path / "none", "m", new(token=1))
    assert not (tmp_path / "none").exists()
    assert on_disk(catalog) == before


@pytest.mark.parametrize("meanwhile", ["replaced", "removed"])
def test_a_model_that_changed_meanwhile_is_not_overwritten(
    mine: Path, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    catalog = mine
    original = add_module._add

    def interrupted(*arguments: object) -> object:
        changed = original(*arguments)  # type: ignore[arg-type]
        if meanwhile == "replaced":
            ingest_bare(catalog, bf16_matrix(30, 4), replace=True)
        else:
            remove(catalog, "m")
        return changed

    monkeypatch.setattr(add_module, "_add", interrupted)
    with pytest.raises(CatalogError, match="m: was replaced or removed in the meantime"):
        add_references(catalog, "m", new(token=1))
    assert rows(catalog, "select n_tokens from models") == ([(30,)] if meanwhile == "replaced" else [])
    assert "new" not in names(catalog)


def test_both_matrices_of_an_untied_model_get_them_or_neither(tmp_path: Path) -> None:
    catalog = tmp_path / "c"
    folder = save_tensors(tmp_path / "untied", {EMBEDDING: matrix_of(1), UNEMBEDDING: matrix_of(2)})
    save_tokenizer(folder, 40)
    ingest(catalog, str(folder), SourceOptions(name="p"), recipe=recipe(BASE[:2]))
    entries = [{"name": "new", "text": "w5"}, {"name": "near", "centroid": "new:dot-mode"}]
    assert add_references(catalog, "p", recipe(entries)).models == ["p/input", "p/output"]
    assert rows(catalog, "select model, count(*) from scores group by model order by model") == [
        ("p/input", 4 * 40),
        ("p/output", 4 * 40),
    ]
    assert rows(
        catalog,
        "select model from reference_vectors inner join vectors using (model, vector) "
        "where reference = 'new' and vectors.token_id = 5 order by model",
    ) == [("p/input",), ("p/output",)]
    add_references(catalog, "p/output", recipe([{"name": "mine", "pc": 1}]))
    assert rows(catalog, "select model from reference_vectors where reference = 'mine'") == [("p/output",)]
    before = on_disk(catalog)
    with pytest.raises(CatalogError, match="reference 'mine': the catalog has one of that name"):
        add_references(catalog, "p", recipe([{"name": "mine", "pc": 1}]))
    assert on_disk(catalog) == before


def test_the_command_adds_what_a_file_beside_its_vectors_asks_for(tmp_path: Path, mine: Path, vector: Path) -> None:
    catalog = mine
    (tmp_path / "h.safetensors").write_bytes(vector.read_bytes())
    path = tmp_path / "more.toml"
    path.write_text('[[reference]]\nname = "new"\nvector = { file = "h.safetensors", key = "h" }')
    done = run("add-references", "m", str(path), "--catalog", str(catalog))
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    assert "added to m" in done.stdout + done.stderr
    assert names(catalog) == ["base", "largest", "mean", "new"]
    ((found,),) = rows(catalog, "select vector from reference_vectors where reference = 'new'")
    assert found == np.linspace(-1, 1, N_DIMS, dtype=np.float32).tolist()


def test_the_command_refuses_what_the_ingest_settled(catalog: Path, tmp_path: Path) -> None:
    before = on_disk(catalog)
    path = tmp_path / "more.toml"
    path.write_text("[linkage]\nradius = 1")
    message = refused("add-references", "m", str(path), "--catalog", str(catalog))
    assert f"{path}: linkage: was settled by the ingest; leave it out here" in message
    path.write_text('[sky]\nnorth = 2\n[[reference]]\nname = "new"\ntoken = 1')
    with pytest.raises(CatalogError, match="sky: was settled by the ingest"):
        load_additions(path)
    assert on_disk(catalog) == before


LINKED: list[dict[str, Any]] = [
    {"name": "on-it", "centroid": "largest:dot-mode"},
    {"name": "on-that", "centroid": "on-it:cosine-mode"},
    {"name": "big", "centroid": "big"},
    {"name": "far", "centroid": "base:dot-mode"},
    {"name": "axis", "pc": 1},
]
BIG = {"name": "big", "where": "component_size > 3 and nn_distance is not null"}


def test_relink_scores_anew_what_hangs_on_linkage_and_only_that(
    tmp_path: Path, mine: Path, vector: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(shutil.copy(vector, tmp_path / "h.safetensors"))
    more = [*LINKED, {"name": "file", "vector": {"file": str(path), "key": "h"}}]
    ingest_bare(tmp_path / "fresh", matrix(), recipe=recipe(BASE + more, [NORTH, BIG]), asked=WIDER)
    add_references(mine, "m", recipe(more, [BIG]))
    path.unlink()  # its vector is in the catalog
    before = dict(rows(mine, "select reference, vector from reference_vectors"))
    n_big = rows(mine, "select count(*) from recipe_clusters where cluster = 'big'")
    scored: list[Any] = []
    score = references_module.score

    def noted(*arguments: Any) -> Any:
        scored.extend(there.vector.tolist() for there in arguments[3])
        return score(*arguments)

    monkeypatch.setattr(references_module, "score", noted)
    relink(mine, "m", WIDER)
    after = dict(rows(mine, "select reference, vector from reference_vectors"))
    changed = {name for name, found in after.items() if found != before[name]}
    assert {"largest", "big"} <= changed <= {"largest", "on-it", "on-that", "big"}
    assert sorted(scored) == sorted(after[name] for name in changed)
    assert rows(mine, "select count(*) from recipe_clusters where cluster = 'big'") != n_big
    assert seen(mine) == seen(tmp_path / "fresh")


def test_relink_that_leaves_the_vectors_as_they_are_keeps_their_files(mine: Path) -> None:
    before, values = inodes(folder(mine)), seen(mine)
    relink(mine, "m", LinkageDistances(radius=0.031))
    after = inodes(folder(mine))
    assert {name for name in before if before[name] == after[name]} >= {"reference_vectors", "scores", "vectors"}
    assert seen(mine) == values


def test_relink_finds_and_loses_the_largest_component(tmp_path: Path) -> None:
    catalog, W = tmp_path / "c", torch.diag(torch.tensor([1.0, 2, 3, 4]))
    ingest_bare(catalog, W, asked=LinkageDistances(1, 1))
    assert names(catalog) == ["mean"]
    relink(catalog, "m", LinkageDistances(3, 3))
    assert names(catalog) == ["largest-component", "mean"]
    query = "select vector from reference_vectors where reference = 'largest-component'"
    assert rows(catalog, query) == [([0.5, 1, 0, 0],)]  # 1 and 2 are √5 apart; the others √10 or more
    report = relink(catalog, "m", LinkageDistances(1, 1))
    assert names(catalog) == ["mean"]
    assert [note for note in report.notes if "left out: reference 'largest-component'" in note]


def test_relink_that_leaves_a_reference_nothing_changes_nothing(tmp_path: Path) -> None:
    catalog, W = tmp_path / "c", torch.diag(torch.tensor([1.0, 2, 3, 4]))
    ingest_bare(catalog, W, recipe=recipe(BASE[2:]), asked=LinkageDistances(3, 3))
    before = on_disk(catalog)
    with pytest.raises(CatalogError, match=r"m: linked so, it has no reference 'largest'.* nothing was changed"):
        relink(catalog, "m", LinkageDistances(1, 1))
    assert on_disk(catalog) == before


def test_relink_evaluates_clusters_anew_where_there_are_no_references(tmp_path: Path) -> None:
    catalog = tmp_path / "c"
    ingest_bare(catalog, matrix(), recipe=recipe([], [BIG]), asked=LIMITS)
    relink(catalog, "m", WIDER)
    expected = rows(catalog, f"select token_id from features where {BIG['where']} order by token_id")
    assert rows(catalog, "select token_id from recipe_clusters order by token_id") == expected


def test_with_replace_references_and_clusters_take_the_place_of_those_of_their_names(tmp_path: Path) -> None:
    """What builds on them changes with them; what doesn't keeps its scores."""
    first = recipe([*BASE, {"name": "up", "centroid": "north"}, {"name": "on", "centroid": "base:dot-mode"}], [NORTH])
    other = {"name": "north", "where": "lat > 0"}
    ingest_bare(tmp_path / "c", matrix(), recipe=first, asked=LIMITS)
    before = dict(rows(tmp_path / "c", "select reference, vector from reference_vectors"))
    added = recipe([{"name": "base", "token": 9}], [other])
    with pytest.raises(CatalogError, match="reference 'base': the catalog has one of that name"):
        add_references(tmp_path / "c", "m", added)
    report = add_references(tmp_path / "c", "m", added, replace=True)
    assert report.notes == ["m: references added: base, up, on", "m: clusters added: north"]
    later = [reference.as_dict() for reference in first.references[3:]]
    now = recipe([BASE[0], {"name": "base", "token": 9}, BASE[2], *later], [other])
    ingest_bare(tmp_path / "fresh", matrix(), recipe=now, asked=LIMITS)
    assert seen(tmp_path / "c") == seen(tmp_path / "fresh")
    after = dict(rows(tmp_path / "c", "select reference, vector from reference_vectors"))
    assert {name for name in after if after[name] != before[name]} == {"base", "up", "on"}
    assert parse_recipe(json.loads(rows(tmp_path / "c", "select recipe from models")[0][0])).clusters == now.clusters


def test_a_cluster_without_tokens_is_still_known_later(tmp_path: Path) -> None:
    first = recipe([{"name": "o", "centroid": "none", "optional": True}], [{"name": "none", "where": "norm > 9"}])
    ingest_bare(tmp_path / "c", matrix(), recipe=first, asked=LIMITS)
    report = add_references(tmp_path / "c", "m", recipe([{"name": "new", "token": 1}]))
    left_out = "m: left out: reference 'o'.centroid: 'none': no token is in it"
    assert report.notes == [left_out, "m: references added: new"]
    assert names(tmp_path / "c") == ["new"]
    add_references(tmp_path / "c", "m", recipe([], [{"name": "none", "where": "norm > 0"}]), replace=True)
    assert names(tmp_path / "c") == ["new", "o"]
