"""Frames against naive fp64 arithmetic, on small matrices: origins, axes, places, and when they are found again."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.helpers import bf16_matrix, in_shell, ingest_bare, rows
from token_catalog.catalog.errors import CatalogError
from token_catalog.catalog.publish import remove
from token_catalog.catalog.state import read_state
from token_catalog.ingest.add_references import add_references
from token_catalog.ingest.frames.axes import orthonormal
from token_catalog.ingest.recipe.recipe import LinkageDistances, Recipe, parse_recipe
from token_catalog.ingest.recipe.shipping import load_additions, load_recipe
from token_catalog.ingest.relink import relink
from token_catalog.ingest.spectrum import cluster_spectrum

Array = np.ndarray[Any, np.dtype[np.float64]]

pytestmark = pytest.mark.usefixtures("tables_only")
N_TOKENS, N_DIMS = 90, 10
LIMITS, WIDER = LinkageDistances(0.03, 0.01), LinkageDistances(0.5, 0.15)
INSIDE = [3, *range(50, 70)]
PCS = {"x": {"pc": 1}, "y": {"pc": 2}, "z": {"pc": 3}}
BASE: dict[str, Any] = {
    "reference": [
        {"name": "mean", "mean": True},
        {"name": "row", "token": 7},
        {"name": "largest", "centroid": "largest-component"},
    ],
    "cluster": [{"name": "inside", "where": "token_id = 3 or token_id between 50 and 69"}],
}


def matrix(seed: int = 0) -> torch.Tensor:
    """Return a matrix with rows that lie together around row 3, rows equal to row 7, a zero, and one not finite."""
    W = bf16_matrix(N_TOKENS, N_DIMS, seed).float()
    W[50:70] = W[3] + W[50:70] * 0.01
    W[72:75] = W[7]
    W[75], W[76] = 0.0, -0.0
    W[80, 3] = float("nan")
    return W.to(torch.bfloat16)


def frame(name: str = "f", origin: object = "zero", **axes: dict[str, Any]) -> dict[str, Any]:
    """Return a frame, its axes W's leading components but for those given."""
    return {"name": name, "origin": origin, **PCS, **axes}


def recipe(*frames: dict[str, Any]) -> Recipe:
    """Return a recipe of the base and some frames."""
    return load_recipe({**BASE, "frame": list(frames)})


def finite(W: torch.Tensor) -> Array:
    """Return a matrix in fp64, NULL rows apart."""
    X: Array = W.double().numpy()
    return X[np.isfinite(X).all(axis=1)]


def components(X: Array) -> Array:
    """Return the principal components of rows, in rows, on their mean's side."""
    vectors = np.linalg.eigh(np.cov(X, rowvar=False, bias=True))[1][:, ::-1].T
    signed: Array = vectors * np.where(vectors @ X.mean(axis=0) < 0, -1, 1)[:, None]
    return signed


def mean(X: Array) -> Array:
    """Return the mean of rows as centroids and references have it, in fp32."""
    rounded: Array = X.mean(axis=0).astype(np.float32).astype(np.float64)
    return rounded


def expected(W: torch.Tensor, origin: Array, axes: Array) -> Array:
    """Return x, y, z, radius, lat and lon of every row about an origin, along axes made orthonormal by QR."""
    Q, R = np.linalg.qr(axes.T)
    xyz = (W.double().numpy() - origin) @ (Q * np.sign(np.diag(R)))
    radius = np.sqrt((xyz**2).sum(axis=1))
    with np.errstate(invalid="ignore"):
        angles = np.degrees([np.arcsin(xyz[:, 2] / radius), np.arctan2(xyz[:, 1], xyz[:, 0])])
    found: Array = np.column_stack([xyz, radius, *angles])
    return found


def places(catalog: Path, name: str) -> Array:
    """Return x, y, z, radius, lat and lon of every row in a frame; NaN where NULL."""
    query = f"select x, y, z, radius, lat, lon from frame_places where frame = '{name}' order by token_id"
    return np.array(rows(catalog, query), dtype=np.float64)


def inodes(catalog: Path) -> dict[str, int]:
    """Return which file each table of the version in force is."""
    return {path.stem: path.stat().st_ino for path in (catalog / read_state(catalog).models["m"].folder).glob("*.par*")}


ORIGINS = {
    "zero": ("zero", lambda X: np.zeros(N_DIMS)),
    "mean": ("mean", lambda X: mean(finite(torch.from_numpy(X)))),
    "a centroid": ({"centroid": "inside"}, lambda X: mean(X[INSIDE])),
    "a component's centroid": ({"centroid": "component:3"}, lambda X: mean(X[INSIDE])),
    "a token": ({"token": 12}, lambda X: X[12]),
    "a reference": ({"reference": "row"}, lambda X: X[7]),
}
AXES = {
    "pcs": ({}, lambda X, V: V[:3]),
    "flipped": ({"x": {"pc": -4}, "z": {"pc": 1}}, lambda X, V: np.stack([-V[3], V[1], V[0]])),
    "of a cluster": (
        {"x": {"pc": 2, "cluster": "inside"}, "z": {"pc": -1, "cluster": "inside"}},
        lambda X, V: np.stack([components(X[INSIDE])[1], V[1], -components(X[INSIDE])[0]]),
    ),
    "references": (
        {"y": {"reference": "row"}, "z": {"reference": "mean"}},
        lambda X, V: np.stack([V[0], X[7] / np.linalg.norm(X[7]), mean(finite(torch.from_numpy(X)))]),
    ),
}


@pytest.mark.parametrize(("origin", "of_origin"), ORIGINS.values(), ids=ORIGINS)
@pytest.mark.parametrize(("axes", "of_axes"), AXES.values(), ids=AXES)
def test_places_are_what_naive_arithmetic_gives(
    tmp_path: Path, origin: object, of_origin: Any, axes: dict[str, Any], of_axes: Any
) -> None:
    W = matrix()
    X = W.double().numpy()
    ingest_bare(tmp_path / "c", W, recipe=recipe(frame("f", origin, **axes)), asked=LIMITS)
    truth = expected(W, of_origin(X), of_axes(X, components(finite(W))))
    found = places(tmp_path / "c", "f")
    np.testing.assert_allclose(found[:, :4], truth[:, :4], atol=1e-12)
    far = truth[:, 3] > 1e-3
    np.testing.assert_allclose(found[far, 4:], truth[far, 4:], atol=1e-7)
    assert np.isnan(found[80]).all()


def test_a_frame_of_exact_numbers(tmp_path: Path) -> None:
    """Along the axes of the plane (0.6, 0.8), from row 0: (5, 0) is 5 - 0 away, at 0.6·4 along x and ∓0.8·4 along y."""
    W = torch.tensor([[1.0, 0, 0], [5, 0, 0], [0, 0, 2], [1, 0, 0], [3, 4, 0]])
    references = [
        {"name": "a", "vector": {"file": str(save(tmp_path, [3.0, 4, 0], "a")), "key": "h"}},
        {"name": "b", "vector": {"file": str(save(tmp_path, [0.0, 8, 0], "b")), "key": "h"}},
        {"name": "c", "vector": {"file": str(save(tmp_path, [1.0, 1, 5], "c")), "key": "h"}},
    ]
    axes = {letter: {"reference": name} for letter, name in zip("xyz", "abc", strict=True)}
    asked = load_recipe({"reference": references, "frame": [{"name": "f", "origin": {"token": 0}, **axes}]})
    ingest_bare(tmp_path / "c", W, recipe=asked)
    found = places(tmp_path / "c", "f")
    truth = [[0, 0, 0], [2.4, -3.2, 0], [-0.6, 0.8, 2], [0, 0, 0], [4.4, 0.8, 0]]
    np.testing.assert_allclose(found[:, :3], truth, atol=1e-15)
    assert np.isnan(found[[0, 3], 4:]).all()
    assert found[1, 3] == 4.0
    ((asked_z, axis_z),) = rows(tmp_path / "c", "select z_asked, z_axis from frame_axes")
    np.testing.assert_allclose(axis_z, [0, 0, 1], atol=1e-15)
    np.testing.assert_allclose(asked_z, np.array([1, 1, 5]) / np.sqrt(27), atol=1e-15)


def save(folder: Path, vector: list[float], name: str) -> Path:
    """Save a vector as a recipe names one."""
    from safetensors.numpy import save_file

    path = folder / f"{name}.safetensors"
    save_file({"h": np.array(vector, np.float32)}, path)
    return path


def test_axes_that_nearly_depend_are_orthonormal_still(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    first, second, third = rng.normal(size=(3, 50))
    asked = np.stack([first, first + 1e-5 * second, first + second * 0.3 + 1e-5 * third])
    axes = orthonormal(asked)
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-15)
    assert np.linalg.matrix_rank(np.vstack([axes, asked]), tol=1e-9) == 3


@pytest.mark.views
def test_equal_rows_have_equal_places_and_the_sky_is_the_frame_default(tmp_path: Path) -> None:
    catalog = tmp_path / "c"
    ingest_bare(catalog, matrix(), recipe=recipe(frame(origin={"centroid": "inside"})), asked=LIMITS)
    found = places(catalog, "f")
    for twin in (72, 73, 74):
        assert found[twin].tobytes() == found[7].tobytes()
    assert found[75].tobytes() == found[76].tobytes()
    same = "select token_id, x, y, z, radius, lat, lon from {} order by token_id"
    assert repr(rows(catalog, same.format("frames where frame = 'default'"))) == repr(
        rows(catalog, same.format("features"))
    )
    counted = in_shell(
        catalog, "select frame, count(*) as n, count(x) as placed from frames group by frame order by 1;"
    )
    assert counted == [{"frame": name, "n": N_TOKENS, "placed": N_TOKENS - 1} for name in ("default", "f")]


@pytest.mark.views
def test_one_frame_is_asked_for_without_reading_the_others(tmp_path: Path) -> None:
    catalog = tmp_path / "c"
    ingest_bare(catalog, matrix(), recipe=recipe(frame("f"), frame("g", "mean")))
    plans = {
        name: str(rows(catalog, f"explain analyze select sum(x) from frames where frame = '{name}'"))
        for name in ("f", "default")
    }
    assert "features.parquet" not in plans["f"]
    found = rows(
        catalog,
        "select row_group_id, stats_min_value, stats_max_value from parquet_metadata("
        f"'{catalog / read_state(catalog).models['m'].folder / 'frame_places.parquet'}') "
        "where path_in_schema = 'frame' order by all",
    )
    assert [(least, most) for _, least, most in found] == [("f", "f"), ("g", "g")]  # so a filter skips the other


def test_an_axis_of_another_model_is_that_models_component_and_stays_when_it_goes(tmp_path: Path) -> None:
    catalog, W, other = tmp_path / "c", matrix(), matrix(1)
    ingest_bare(catalog, other, "other")
    borrowing = frame(
        "f", {"centroid": "largest-component"}, y={"pc": -1, "model": "other"}, z={"pc": 2, "model": "other"}
    )
    ingest_bare(catalog, W, recipe=recipe(borrowing), asked=LIMITS)
    mine, theirs = components(finite(W)), components(finite(other))
    axes = np.stack([mine[0], -theirs[0], theirs[1]])
    X = W.double().numpy()
    np.testing.assert_allclose(places(catalog, "f")[:, :3], expected(W, mean(X[INSIDE]), axes)[:, :3], atol=1e-12)
    remove(catalog, "other")
    relink(catalog, "m", WIDER)
    wider = "select token_id from features where component_size > 21 order by token_id"
    inside = [token for (token,) in rows(catalog, wider)]
    np.testing.assert_allclose(places(catalog, "f")[:, :3], expected(W, mean(X[inside]), axes)[:, :3], atol=1e-12)


def test_relinking_finds_anew_the_frames_that_hang_on_it_and_no_others(tmp_path: Path) -> None:
    catalog, whole = tmp_path / "c", tmp_path / "w"
    hanging = frame("f", {"centroid": "largest-component"}, z={"pc": 1, "cluster": "largest-component"})
    ingest_bare(catalog, matrix(), recipe=recipe(hanging, frame("g")), asked=LIMITS)
    ingest_bare(whole, matrix(), recipe=recipe(hanging, frame("g")), asked=WIDER)
    before = places(catalog, "f")
    relink(catalog, "m", WIDER)
    assert (before[:, 0] != places(catalog, "f")[:, 0]).any()
    everything = "from frame_places order by frame, token_id"
    assert repr(rows(catalog, everything)) == repr(rows(whole, everything))
    assert rows(catalog, "from frame_axes order by all") == rows(whole, "from frame_axes order by all")
    # One that hangs on nothing is the same file.
    ingest_bare(tmp_path / "still", matrix(), recipe=recipe(frame("g")), asked=LIMITS)
    files = inodes(tmp_path / "still")
    relink(tmp_path / "still", "m", WIDER)
    assert inodes(tmp_path / "still")["frame_places"] == files["frame_places"]


def test_frames_are_added_alone_and_beside_those_there(tmp_path: Path) -> None:
    catalog, whole = tmp_path / "c", tmp_path / "w"
    first, second = frame("f", "mean"), frame("g", {"reference": "row"}, y={"pc": 3, "cluster": "inside"}, z={"pc": 2})
    ingest_bare(whole, matrix(), recipe=recipe(first, second), asked=LIMITS)
    ingest_bare(catalog, matrix(), recipe=recipe(first), asked=LIMITS)
    files = inodes(catalog)
    report = add_references(catalog, "m", load_additions({"frame": [second]}))
    assert report.notes[-1] == "m: frames added: g"
    everything = "from frame_places order by frame, token_id"
    assert repr(rows(catalog, everything)) == repr(rows(whole, everything))
    assert {name for name, inode in inodes(catalog).items() if inode != files[name]} == {
        "frame_places", "frame_axes", "models",
    }  # fmt: skip
    ((told,),) = rows(catalog, "select recipe from models")
    assert parse_recipe(json.loads(told)) == recipe(first, second).linked(LIMITS)
    with pytest.raises(CatalogError, match=r"frame 'g': the catalog has one of that name; give another, or `replace="):
        add_references(catalog, "m", load_additions({"frame": [second]}))
    add_references(catalog, "m", load_additions({"frame": [frame("g")]}), replace=True)
    assert places(catalog, "g")[:, :3].tobytes() != places(whole, "g")[:, :3].tobytes()
    assert places(catalog, "f").tobytes() == places(whole, "f").tobytes()


def test_a_replaced_cluster_takes_its_frames_and_spectra_with_it(tmp_path: Path) -> None:
    catalog, W = tmp_path / "c", matrix()
    ingest_bare(catalog, W, recipe=recipe(frame("f", {"centroid": "inside"}), frame("g")), asked=LIMITS)
    cluster_spectrum(catalog, "m", "inside", "tokens")
    cluster_spectrum(catalog, "m", "largest-component", "vectors")
    others = rows(catalog, "from spectrum_components where cluster = 'largest-component' order by pc")
    replaced = load_additions({"cluster": [{"name": "inside", "where": "token_id < 40"}]})
    add_references(catalog, "m", replaced, replace=True)
    X = W.double().numpy()[:40]
    np.testing.assert_allclose(
        rows(catalog, "select origin from frame_axes where frame = 'f'")[0][0], X.mean(axis=0), atol=1e-9
    )
    ((n_tokens, variance),) = rows(catalog, "select n_tokens, total_variance from spectra where cluster = 'inside'")
    assert n_tokens == 40
    np.testing.assert_allclose(variance, X.var(axis=0).sum(), rtol=1e-13)
    ((origin,),) = rows(catalog, "select origin from frame_axes where frame = 'spectrum:inside'")
    np.testing.assert_allclose(origin, X.mean(axis=0), atol=1e-9)
    assert rows(catalog, "from spectrum_components where cluster = 'largest-component' order by pc") == others
    assert len(rows(catalog, "select distinct frame from frame_places")) == 4


def test_an_optional_frame_that_cannot_be_had_is_left_out_with_a_note(tmp_path: Path) -> None:
    odd = {**frame("f", {"centroid": "component:5"}), "optional": True}
    report = ingest_bare(tmp_path / "c", matrix(), recipe=recipe(odd, frame("g")), asked=LIMITS)
    assert any("m: left out: frame 'f'.origin: 'component:5': no component of two" in note for note in report.notes)
    assert rows(tmp_path / "c", "select frame from frame_axes") == [("g",)]


UNFOUND = {
    "dependent": (
        frame(z={"reference": "row"}, y={"reference": "twin"}),
        r"frame 'f': z lies in the span of x and y; a frame's axes must be independent",
    ),
    "no component": (frame(origin={"centroid": "component:5"}), r"frame 'f'.origin: 'component:5': no component"),
    "too few directions": (
        frame(x={"pc": 2, "cluster": "duplicate:7"}),
        r"frame 'f'.x: PC2: the rows of 'duplicate:7' spread in 0 directions",
    ),
    "not finite": (frame(origin={"token": 80}), r"frame 'f'.origin: .*: that row isn't finite"),
    "past W": (frame(origin={"token": N_TOKENS}), rf"frame 'f'.origin.token: {N_TOKENS}: W has rows 0 to"),
    "past its columns": (frame(z={"pc": 11}), r"frame 'f'.z.pc: 11: W has 10 columns, so as many components"),
    "no model": (
        frame(x={"pc": 1, "model": "none"}),
        r"frame 'f'.x.model: 'none': no such model in the catalog; models of 10 .*: 'm'",
    ),
    "another width": (
        frame(x={"pc": 1, "model": "narrow"}),
        r"frame 'f'.x.model: 'narrow': has 8 columns; models of 10 columns, as W has: 'm'",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a catalog of `m` and of `narrow`, of 8 columns. Read it; publish nothing to it."""
    catalog = tmp_path_factory.mktemp("two") / "c"
    twin = {"name": "twin", "token": 72}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("token_catalog.catalog.definitions.definitions", list)
        ingest_bare(catalog, bf16_matrix(40, 8), "narrow")
        ingest_bare(
            catalog, matrix(), recipe=load_recipe({**BASE, "reference": [*BASE["reference"], twin]}), asked=LIMITS
        )
    return catalog


@pytest.mark.parametrize(("asked", "message"), UNFOUND.values(), ids=UNFOUND)
def test_a_frame_that_cannot_be_had_is_refused_and_nothing_changes(
    two: Path, tmp_path: Path, asked: dict[str, Any], message: str
) -> None:
    before = read_state(two)
    with pytest.raises(CatalogError, match=message):
        add_references(two, "m", load_additions({"frame": [asked]}))
    assert read_state(two) == before
    catalog = shutil.copytree(two, tmp_path / "c", symlinks=True)
    twin = {"name": "twin", "token": 72}
    whole = load_recipe({**BASE, "reference": [*BASE["reference"], twin], "frame": [asked]})
    with pytest.raises(CatalogError, match=message):
        ingest_bare(catalog, matrix(), recipe=whole, asked=LIMITS, replace=True)
    assert read_state(catalog) == before


def test_without_vectors_no_frame_can_be_added_later(tmp_path: Path) -> None:
    ingest_bare(tmp_path / "c", matrix(), recipe=recipe(frame("f")), with_vectors=False)
    assert len(rows(tmp_path / "c", "from frame_places")) == N_TOKENS
    with pytest.raises(CatalogError, match="with `with_vectors=False`, so its rows aren't here"):
        add_references(tmp_path / "c", "m", load_additions({"frame": [frame("g")]}))


def test_distances_at_which_a_frame_cannot_be_had_are_refused(tmp_path: Path) -> None:
    ingest_bare(tmp_path / "c", matrix(), recipe=recipe(frame("f", {"centroid": "component:3"})), asked=LIMITS)
    with pytest.raises(
        CatalogError, match=r"m: linked so, it has no frame 'f'.origin: .*optional = true in that frame"
    ):
        relink(tmp_path / "c", "m", LinkageDistances(1e-9, 1e-9))


WRONG = {
    "default": (frame("default"), "frame 'default': the sky is the frame of that name; give another"),
    "a colon": (frame("a:b"), "frame 1: name: 'a:b' has a colon"),
    "no origin": ({"name": "f", **PCS}, "frame 'f'.origin: missing; a frame has an origin and the axes x, y and z"),
    "a word": (frame(origin="centre"), "frame 'f'.origin: 'centre': zero, mean, or a table of centroid, token or ref"),
    "two origins": (frame(origin={"token": 1, "centroid": "inside"}), "frame 'f'.origin: has 2 keys; give one of"),
    "a token below 0": (frame(origin={"token": -1}), "frame 'f'.origin.token: -1 is no token_id"),
    "twice": (frame(z={"pc": -1}), "frame 'f': x and z are the same axis; a frame needs three"),
    "pc 0": (frame(z={"pc": 0}), "frame 'f'.z.pc: components are numbered from 1"),
    "of two": (frame(z={"pc": 1, "cluster": "a", "model": "b"}), "frame 'f'.z: is pc = 1, pc = 1 with cluster"),
    "of none": (frame(z={"cluster": "inside"}), "frame 'f'.z: is pc = 1, pc = 1 with cluster"),
    "a key": (frame(z={"px": 1}), "frame 'f'.z.px: unknown key; here are known: pc, cluster, model, reference"),
    "a number": (frame(z=1), "frame 'f'.z: 1 is no table"),  # type: ignore[arg-type]
    "no cluster": (frame(origin={"centroid": "insde"}), "frame 'f'.origin.centroid: no cluster 'insde'; there are 'in"),
    "no cluster's": (frame(z={"pc": 1, "cluster": "x"}), "frame 'f'.z.cluster: no cluster 'x'; there are 'inside'"),
    "no reference": (frame(z={"reference": "x"}), "frame 'f'.z.reference: no reference 'x'; there are 'largest', 'me"),
    "no class": (frame(origin={"centroid": "x:dot-mode"}), "frame 'f'.origin.centroid: 'x:dot-mode': reference"),
}  # fmt: skip


@pytest.mark.parametrize(("asked", "message"), WRONG.values(), ids=WRONG)
def test_a_frame_that_is_written_wrongly_is_refused_with_its_key(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(CatalogError, match=f"^{message}"):
        recipe(asked)


def test_two_frames_of_a_name_are_refused() -> None:
    with pytest.raises(CatalogError, match="frame 'f': there are 2 of that name; give each its own"):
        recipe(frame("f"), frame("f"))


def test_a_recipe_with_frames_is_read_again_as_it_was_written() -> None:
    asked = recipe(frame("f", {"token": 1}, z={"pc": 1, "cluster": "inside"}), {**frame("g"), "optional": True})
    assert parse_recipe(json.loads(asked.dumps())) == asked


def test_a_frame_left_out_with_an_axis_of_another_model_does_not_take_ones_own_for_it(tmp_path: Path) -> None:
    """Linked further, there is a component, but PC1 of the other model was never read."""
    catalog = tmp_path / "c"
    ingest_bare(catalog, bf16_matrix(N_TOKENS, N_DIMS, 1), "other")
    late = {**frame("f", {"centroid": "largest-component"}, x={"pc": 1, "model": "other"}), "optional": True}
    W = bf16_matrix(N_TOKENS, N_DIMS)
    ingest_bare(catalog, W, "m", recipe=load_recipe({"frame": [late]}), asked=LinkageDistances(1e-6, 1e-6))
    notes = relink(catalog, "m", WIDER).notes
    assert any("left out: frame 'f'.x: PC1 of 'other' was not kept" in note for note in notes), notes
    assert rows(catalog, "select frame from frame_axes") == []
    add_references(catalog, "m", load_additions({"frame": [late]}), replace=True)
    [(asked,)] = rows(catalog, "select x_asked from frame_axes")
    [(component,)] = rows(catalog, "select vector from principal_components where model = 'other' and pc = 1")
    assert asked == component
