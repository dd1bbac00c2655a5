"""`relink`: the same linkage as an ingest's, and all the rest as it was."""

import json
from pathlib import Path

import pytest
import torch

from tests.support.helpers import bf16_matrix, ingest_bare, rows
from tests.support.models import EMBEDDING, UNEMBEDDING, matrix_of, save_tensors
from token_catalog.catalog.errors import CatalogError
from token_catalog.catalog.publish import remove
from token_catalog.catalog.state import read_state
from token_catalog.ingest import relink as relink_module
from token_catalog.ingest.recipe.recipe import LinkageDistances
from token_catalog.ingest.relink import relink
from token_catalog.ingest.run import ingest
from token_catalog.ingest.source.resolve import SourceOptions

pytestmark = pytest.mark.usefixtures("tables_only")
LINKED = "component, component_size, n_neighbors, nn_distance, nn_token_id, linkage_order, linkage_distance"


def matrix(dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:
    """Return a matrix with duplicates, a dense part, -0.0 and a row that isn't finite."""
    W = bf16_matrix(200, 20).float()
    W[50:90] = W[3] + W[50:90] * 0.01
    W[90:95] = W[7]
    W[95], W[96] = 0.0, -0.0
    W[100, 3] = float("nan")
    return W.to(dtype)


def everything(catalog: Path) -> list[tuple[object, ...]]:
    """Return what linking gives, in tokens and in the views."""
    return [
        *rows(catalog, f"select {LINKED} from features order by token_id"),
        *rows(catalog, "from components order by component"),
        *rows(catalog, "select linkage_radius, linkage_threshold, linkage_rule from models"),
    ]


@pytest.fixture(scope="module")
def linked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a catalog of `m`, linked up to 0.3, with components at 0.1. Read it; publish nothing to it."""
    catalog = tmp_path_factory.mktemp("linked") / "c"
    ingest_bare(catalog, matrix(), asked=LinkageDistances(0.3, 0.1))
    return catalog


@pytest.mark.views
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("limits", [LinkageDistances(0.2, 0.05), LinkageDistances()])
def test_it_gives_what_an_ingest_gives(tmp_path: Path, dtype: torch.dtype, limits: LinkageDistances) -> None:
    ingest_bare(tmp_path / "once", matrix(dtype), asked=limits)
    ingest_bare(tmp_path / "again", matrix(dtype), asked=LinkageDistances(0.01, 0.001))
    assert everything(tmp_path / "again") != everything(tmp_path / "once")
    relink(tmp_path / "again", "m", limits)
    assert everything(tmp_path / "again") == everything(tmp_path / "once")


def test_it_shares_the_files_that_it_does_not_change(tmp_path: Path) -> None:
    catalog = tmp_path / "c"
    ingest_bare(catalog, matrix())
    old = catalog / read_state(catalog).models["m"].folder
    before = {path.name: path.stat().st_ino for path in old.glob("*.parquet")}
    relink(catalog, "m", LinkageDistances(0.3, 0.1))
    new = catalog / read_state(catalog).models["m"].folder
    shared = {path.name for path in new.glob("*.parquet") if before[path.name] == path.stat().st_ino}
    assert new != old
    unlinked = {"tokens", "vectors", "principal_components", "dimensions", "lattice", "recipe_clusters"}
    same = {"reference_vectors", "scores"}  # the largest component is the same one
    assert shared == {f"{name}.parquet" for name in unlinked | same}
    assert set(before) - shared == {"features.parquet", "models.parquet", "component_diameters.parquet"}
    assert old.exists()  # for who still reads it, until the next publish
    relink(catalog, "m", LinkageDistances(0.2))
    assert not old.exists()


def test_what_has_nothing_to_do_with_linkage_stays(tmp_path: Path) -> None:
    catalog = tmp_path / "c"
    ingest_bare(catalog, matrix())
    queries = [
        f"select * exclude ({LINKED}) from features order by token_id",
        "select * exclude (linkage_radius, linkage_threshold, linkage_rule, recipe) from models",
        "from tokens order by token_id",
        "from principal_components order by pc",
    ]
    before = [rows(catalog, query) for query in queries]
    relink(catalog, "m", LinkageDistances(0.3, 0.1))
    assert [rows(catalog, query) for query in queries] == before
    ((recipe,),) = rows(catalog, "select recipe from models")
    assert json.loads(recipe)["linkage"] == {"radius": 0.3, "threshold": 0.1}
    assert json.loads(recipe)["sky"] == {"north": 2, "meridian": 1, "equinox": 3}


def test_what_is_left_open_stays_as_it_is(tmp_path: Path) -> None:
    catalog = tmp_path / "c"
    ingest_bare(catalog, matrix(), asked=LinkageDistances(0.3, 0.1))
    query = "select linkage_radius, linkage_threshold, linkage_rule from models"
    relink(catalog, "m", LinkageDistances(radius=0.4))
    assert rows(catalog, query) == [(0.4, 0.1, "radius: given; threshold: as before")]
    relink(catalog, "m", LinkageDistances(threshold=0.2))
    assert rows(catalog, query) == [(0.4, 0.2, "radius: as before; threshold: given")]


def test_the_recipe_has_what_was_asked_for_and_not_what_the_rule_chose(tmp_path: Path) -> None:
    catalog = tmp_path / "c"
    ingest_bare(catalog, matrix())
    for asked, expected in (
        (LinkageDistances(threshold=0.001), {"threshold": 0.001}),
        (LinkageDistances(radius=0.5), {"radius": 0.5, "threshold": 0.001}),
        (LinkageDistances(), {}),
    ):
        relink(catalog, "m", asked)
        ((recipe,),) = rows(catalog, "select recipe from models")
        assert json.loads(recipe)["linkage"] == expected


def test_a_radius_within_which_nothing_lies_is_told(tmp_path: Path) -> None:
    catalog = tmp_path / "c"
    report = ingest_bare(catalog, torch.eye(5), asked=LinkageDistances(1, 1))
    note = "m: no two different rows are nearer than 1; `relink('m', radius=R)` links further"
    assert note in report.notes
    assert note not in relink(catalog, "m", LinkageDistances(2)).notes


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (LinkageDistances(radius=0.05), "threshold 0.1 is past `radius=0.05`; give `threshold=` too"),
        (LinkageDistances(threshold=0.5), "linked up to 0.3, and `threshold=0.5` is past that; give `radius=` too"),
        (LinkageDistances(0.1, 0.2), "`threshold=0.2` is past `radius=0.1`"),
        (LinkageDistances(radius=-1), "`radius=-1`: must be a distance above 0"),
        (LinkageDistances(radius=float("nan")), "`radius=nan`"),
    ],
)
def test_bad_limits_are_refused_and_nothing_changes(linked: Path, limits: LinkageDistances, message: str) -> None:
    before = everything(linked)
    with pytest.raises(CatalogError) as error:
        relink(linked, "m", limits)
    assert message in str(error.value)
    assert everything(linked) == before
    assert len(list((linked / "models").glob("*/*"))) == 1


def test_without_vectors_it_says_how_to_go_on(tmp_path: Path) -> None:
    ingest_bare(tmp_path / "c", matrix(), with_vectors=False)
    with pytest.raises(
        CatalogError, match=r"with `with_vectors=False`, so its rows aren't here; .* with `replace=True`"
    ):
        relink(tmp_path / "c", "m", LinkageDistances(0.3))


def test_an_unknown_model_is_named_with_those_there(linked: Path) -> None:
    with pytest.raises(CatalogError, match="'x': no such model; the catalog has: m"):
        relink(linked, "x", LinkageDistances(0.3))


@pytest.mark.parametrize("meanwhile", ["replaced", "removed"])
def test_a_model_that_changed_meanwhile_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    catalog = tmp_path / "c"
    ingest_bare(catalog, matrix())
    ingest_bare(catalog, matrix(), "other")
    original = relink_module._relink

    def interrupted(*arguments: object) -> object:
        changed = original(*arguments)  # type: ignore[arg-type]
        if meanwhile == "replaced":
            ingest_bare(catalog, bf16_matrix(30, 4), "m", replace=True)
        else:
            remove(catalog, "m")
        return changed

    monkeypatch.setattr(relink_module, "_relink", interrupted)
    with pytest.raises(CatalogError, match="m: was replaced or removed in the meantime"):
        relink(catalog, "m", LinkageDistances(0.3, 0.1))
    left = rows(catalog, "select model, n_tokens from models order by model")
    assert left == ([("m", 30), ("other", 200)] if meanwhile == "replaced" else [("other", 200)])


def test_a_name_with_several_matrices_is_linked_as_a_whole(tmp_path: Path) -> None:
    catalog = tmp_path / "c"
    folder = save_tensors(tmp_path / "untied", {EMBEDDING: matrix_of(1), UNEMBEDDING: matrix_of(2)})
    ingest(catalog, str(folder), SourceOptions(name="p"), with_tokenizer=False)
    assert relink(catalog, "p", LinkageDistances(5, 4)).models == ["p/input", "p/output"]
    assert rows(catalog, "select distinct linkage_radius, linkage_threshold from models") == [(5, 4)]
    relink(catalog, "p/output", LinkageDistances(6))
    found = rows(catalog, "select model, linkage_radius from models order by model")
    assert found == [("p/input", 5), ("p/output", 6)]
