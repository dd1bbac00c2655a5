"""A recipe's references, of every kind, against naive ones; and what planted clusters look like from them."""

import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import save_file

from tests.support.helpers import bf16_matrix, ingest_bare, rows
from tests.support.matrices import planted
from tests.support.oracle_bf16 import exact_dot, exact_mean, exact_scores, nearest_by_search
from token_catalog.catalog import schemas
from token_catalog.catalog.errors import CatalogError
from token_catalog.catalog.state import read_state
from token_catalog.ingest.recipe import shipping
from token_catalog.ingest.recipe.entries import Reference
from token_catalog.ingest.recipe.recipe import LinkageDistances, Recipe, parse_recipe
from token_catalog.ingest.recipe.shipping import load_recipe
from token_catalog.ingest.references.matrix_view import MatrixView
from token_catalog.ingest.references.resolve import token_of
from token_catalog.ingest.report import Report
from token_catalog.ingest.stored_model import StoredModel

pytestmark = pytest.mark.usefixtures("tables_only")


def recipe(folder: Path, text: str) -> Recipe:
    """Return a recipe of this text, in a file of the folder."""
    path = folder / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return load_recipe(path)


def reference(kind: str, name: str = "h") -> str:
    """Return a `[[reference]]` of one kind."""
    return f'[[reference]]\nname = "{name}"\n{kind}\n'


def ingested(tmp_path: Path, W: torch.Tensor, text: str, **options: Any) -> Report:
    """Catalogue W as `m` with a recipe."""
    return ingest_bare(tmp_path / "c", W, recipe=recipe(tmp_path, text), **options)


def vector(tmp_path: Path, name: str = "h") -> list[float]:
    """Return a reference's vector."""
    ((found,),) = rows(tmp_path / "c", f"select vector from reference_vectors where reference = '{name}'")
    return list(found)


def test_without_a_recipe_there_are_the_mean_and_the_largest_component(tmp_path: Path) -> None:
    W, inside = planted(200, 16, 1)
    ingest_bare(tmp_path / "c", W)
    assert rows(tmp_path / "c", "select reference, kind from reference_vectors") == [
        ("mean", "mean"),
        ("largest-component", "centroid"),
    ]
    assert vector(tmp_path, "mean") == exact_mean(W.tolist())
    ((size,),) = rows(tmp_path / "c", "select max(component_size) from features")
    largest = rows(tmp_path / "c", f"select token_id from features where component_size = {size} order by token_id")
    assert len(set(inside) & {token for (token,) in largest}) > 30
    assert vector(tmp_path, "largest-component") == exact_mean(W[[token for (token,) in largest]].tolist())


def test_of_the_default_ones_what_cannot_be_had_is_left_out_with_a_note(tmp_path: Path) -> None:
    report = ingest_bare(tmp_path / "c", torch.cat([torch.eye(5), -torch.eye(5)]), asked=LinkageDistances(0.1, 0.1))
    assert rows(tmp_path / "c", "from reference_vectors") == rows(tmp_path / "c", "from scores") == []
    assert report.notes[-2:] == [
        "m: left out: reference 'mean'.mean: the vector is zero in bf16, and so has no direction; choose another",
        "m: left out: reference 'largest-component'.centroid: 'largest-component': no component has two tokens or more",
    ]


@pytest.mark.views
def test_every_kind_that_is_a_row_is_that_row(tmp_path: Path) -> None:
    W = bf16_matrix(80, 8)
    W[7, 2] = float("nan")
    ingest_bare(tmp_path / "sky" / "c", W)
    ((lat, lon),) = rows(tmp_path / "sky" / "c", "select lat, lon from features where token_id = 44")
    window = f"first_in_box = {{ lat = {lat}, lon = {lon}, diameter = 60 }}"
    (inside,) = rows(
        tmp_path / "sky" / "c", f"select list(token_id order by token_id) from box_search({lat}, {lon}, 60)"
    )
    assert len(inside[0]) > 1
    text = reference("token = 79", "last") + reference(window, "box") + reference("token = 79\nscale = -0.5", "scaled")
    ingested(tmp_path, W, text)
    assert vector(tmp_path, "last") == W[79].tolist()
    assert vector(tmp_path, "box") == W[inside[0][0]].tolist()
    assert vector(tmp_path, "scaled") == (W[79].float() * -0.5).tolist()


def test_a_text_is_the_token_that_it_is_tokenized_to(minilm: Path, tmp_path: Path) -> None:
    """MiniLM has two tokens with the text of 'a': 1037, and the suffix ##a, 2050; and one '[unused5]'."""
    ((model, version),) = read_state(minilm).models.items()
    stored = StoredModel(model, minilm / version.folder)
    there = stored.view(torch.empty(30522, 384), stored.table(schemas.FEATURES))
    for text, expected in (("a", 1037), ("[unused5]", 6), ("paris", 3000)):
        assert token_of(Reference("h", "text", text), there) == expected
    for text, message in (
        ("no such text", "'no such text' is no one token's text; name a token with token = ID"),
        ("##a", "'##a' is no one token's text; name a token"),
        (" Paris", "' Paris' is no one token's text, but 'paris' is token 3000's; name a token"),
    ):
        with pytest.raises(CatalogError, match=message):
            token_of(Reference("h", "text", text), there)


@pytest.mark.parametrize(
    ("lat", "lon", "first"),
    [(10, 20, 1), (6, 20, 1), (4, 20, 2), (16, 20, 3), (10, 16, 1), (10, 24, 1), (10, 24.5, None)],
)
def test_the_edges_of_a_window_belong_to_it(lat: float, lon: float, first: int | None) -> None:
    """Of tokens nowhere, at latitude 10, 8 and 12, all at longitude 20: the lowest at most 4 away."""
    sky = pa.table({"lat": [None, 10.0, 8.0, 12.0], "lon": [None, 20.0, 20.0, 20.0]})
    matrix = MatrixView(torch.empty(4, 3), sky, lambda: sky, lambda: np.eye(3), lambda: np.eye(3)[[0, 2, 1]])
    asked = Reference("h", "first_in_box", {"lat": lat, "lon": lon, "diameter": 8.0})
    if first is None:
        with pytest.raises(CatalogError, match="no token is in the window of 8 degrees"):
            token_of(asked, matrix)
    else:
        assert token_of(asked, matrix) == first


def test_a_direction_is_where_the_sky_has_it(tmp_path: Path) -> None:
    """Pointing at lat 30, lon 60: north (PC3, flipped) gets sin 30°, and the other axes cos 30° · cos and sin 60°."""
    text = "[sky]\nnorth = -3\nmeridian = 1\nequinox = 2\n" + reference("sky = { lat = 30, lon = 60 }")
    ingested(tmp_path, bf16_matrix(60, 6), text + reference("pc = -2", "pc"))
    pcs = [
        np.array(pc) for (pc,) in rows(tmp_path / "c", "select vector from principal_components order by pc limit 3")
    ]
    expected = math.sqrt(3) / 4 * pcs[0] + 3 / 4 * pcs[1] - 1 / 2 * pcs[2]
    np.testing.assert_allclose(vector(tmp_path), expected, atol=1e-7)
    assert np.linalg.norm(vector(tmp_path)) == pytest.approx(1, abs=1e-7)
    np.testing.assert_allclose(vector(tmp_path, "pc"), -pcs[1], atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_a_vector_comes_from_a_file_beside_the_recipe(tmp_path: Path, dtype: torch.dtype) -> None:
    h = torch.linspace(-1, 1, 6).to(dtype)
    save_file({"h": h}, tmp_path / "h.safetensors")
    ingested(tmp_path, bf16_matrix(20, 6), reference('vector = { file = "h.safetensors", key = "h" }\nscale = 2'))
    assert vector(tmp_path) == (h.double() * 2).float().tolist()


@pytest.mark.views
def test_references_build_on_clusters_of_earlier_ones_in_their_order(tmp_path: Path) -> None:
    """As in the study: a direction, the centroid of its cosine mode, the centroid of that one's dot mode."""
    W, inside = planted(400, 12, 3)
    text = "".join(
        [
            reference("token = 5", "z"),
            reference('centroid = "z:cosine-mode"', "b"),
            reference('centroid = "b:dot-mode"', "a"),
            reference('centroid = "a:dot-self"', "c"),
            reference('centroid = "picked"', "d"),
            reference(f'centroid = "duplicate:{inside[0]}"', "e"),
            reference(f'centroid = "component:{inside[0]}"', "f"),
            '[[cluster]]\nname = "picked"\nwhere = "token_id % 7 = 3"\n',
        ]
    )
    ingested(tmp_path, W, text, asked=LinkageDistances(0.05, 0.01))
    assert [name for (name,) in rows(tmp_path / "c", "select reference from reference_vectors")] == list("zbacdef")
    members = rows(
        tmp_path / "c", "select cluster, list(token_id order by token_id) from cluster_members group by cluster"
    )
    tokens = dict(members)
    for name, cluster in (("b", "z:cosine-mode"), ("a", "b:dot-mode"), ("c", "a:dot-self")):
        assert vector(tmp_path, name) == exact_mean(W[tokens[cluster]].tolist()), name
    assert vector(tmp_path, "d") == exact_mean(W[3::7].tolist())
    assert vector(tmp_path, "e") == W[inside[0]].tolist()
    assert vector(tmp_path, "f") == exact_mean(W[inside].tolist())


def test_of_values_as_frequent_the_smallest_makes_the_mode(tmp_path: Path) -> None:
    """From token 0, the dots are 1, 1, 0, 0: the mode is 0, of tokens 2 and 3."""
    W = torch.tensor([[1.0, 0, 0], [1, 0, 1], [0, 2, 0], [0, 0, 4]])
    ingested(tmp_path, W, reference("token = 0", "z") + reference('centroid = "z:dot-mode"'))
    assert vector(tmp_path) == [0, 1, 2]


@pytest.mark.views
@pytest.mark.parametrize(("n_tokens", "n_dims", "seed"), [(300, 5, 1), (500, 24, 2), (400, 200, 3)])
def test_planted_clusters_are_seen_as_arithmetic_sees_them(
    tmp_path: Path, n_tokens: int, n_dims: int, seed: int
) -> None:
    """Scores by naive arithmetic, near a boundary by exact fractions; classes, modes and members by counting."""
    W, inside = planted(n_tokens, n_dims, seed)
    text = (
        reference(f"token = {inside[0]}", "1.5d")
        + reference('centroid = "1.5d:cosine-mode"', "1.5c")
        + reference('centroid = "largest-component"', "1.6a")
    )
    ingested(tmp_path, W, text, asked=LinkageDistances(0.05, 0.01))
    assert _tokens(tmp_path, "largest-component") == inside
    for name in ("1.5d", "1.5c", "1.6a"):
        h = vector(tmp_path, name)
        found = rows(
            tmp_path / "c", f"select dot_bf16, cosine_bf16 from scores where reference = '{name}' order by token_id"
        )
        naive, to_midpoint = naive_scores(W.double().numpy(), np.array(h))
        surely = to_midpoint.min(axis=1) > 1e-9
        assert surely.sum() > n_tokens / 2
        assert np.array_equal(np.array(found)[surely], naive[surely])
        for i in np.argsort(to_midpoint.min(axis=1))[:15].tolist():
            assert found[i] == exact_scores(W[i].tolist(), h)
        h16 = [nearest_by_search(exact_dot([value], [1.0])) for value in h]
        self_dot = nearest_by_search(exact_dot(h16, h16))
        assert _tokens(tmp_path, f"{name}:dot-self") == [i for i, (dot, _) in enumerate(found) if dot == self_dot]
        for metric, values in (("dot", [dot for dot, _ in found]), ("cosine", [cosine for _, cosine in found])):
            check_classes(tmp_path, name, metric, values, [tuple(row) for row in W.tolist()])


def naive_scores(W: Any, h: Any) -> tuple[Any, Any]:
    """Return dot_bf16 and cosine_bf16 by NumPy's arithmetic, `(n, 2)`, and how far from a midpoint, in bf16 steps."""

    def steps(values: Any) -> tuple[Any, Any]:
        exponent = np.frexp(values)[1] - 8
        return np.ldexp(values, -exponent), exponent

    def nearest(values: Any) -> Any:
        scaled, exponent = steps(values)
        return np.ldexp(np.rint(scaled), exponent)

    exact = W @ nearest(h)
    unit = nearest(W / nearest(np.linalg.norm(W, axis=1))[:, None])
    both = np.stack([exact, unit @ nearest(h / np.linalg.norm(h))], axis=1)
    return nearest(both), np.abs(np.abs(steps(both)[0]) % 1 - 0.5)


def check_classes(tmp_path: Path, name: str, metric: str, values: list[float], vectors: list[Any]) -> None:
    """Compare every view of classes with what counting the scores gives."""
    counts = Counter(values)
    ranked = sorted(counts, key=lambda value: (-counts[value], value))
    share = {value: counts[value] / len(values) for value in ranked}
    distinct = {own: len({row for row, v in zip(vectors, values, strict=True) if v == own}) for own in ranked}
    where = f"where reference = '{name}'"
    classes = rows(
        tmp_path / "c",
        f"select {metric}_bf16, n_tokens, n_vectors, share, class_rank from {metric}_classes {where} "
        "order by class_rank",
    )
    assert classes == [(v, counts[v], distinct[v], share[v], rank) for rank, v in enumerate(ranked, 1)]
    where += f" and metric = '{metric}'"
    mode = rows(tmp_path / "c", f"select value, n_tokens, share, n_values from mode_classes {where}")
    assert mode == [(ranked[0], counts[ranked[0]], share[ranked[0]], len(counts))]
    degenerate = rows(
        tmp_path / "c", f"select class_size, n_values, n_tokens from degeneracy {where} order by class_size"
    )
    assert degenerate == [(size, n, size * n) for size, n in sorted(Counter(counts.values()).items())]
    expected = [i for i, value in enumerate(values) if value == ranked[0]]
    assert _tokens(tmp_path, f"{name}:{metric}-mode") == expected


def _tokens(tmp_path: Path, cluster: str) -> list[int]:
    return [token for (token,) in rows(tmp_path / "c", f"select token_id from members('{cluster}')")]


@pytest.mark.views
def test_the_shell_points_at_a_reference_as_the_ingest_did(tmp_path: Path) -> None:
    """For the stored vector, and for the centroid as the shell finds it; in bf16 and in fp32."""
    for name, dtype in (("m", torch.bfloat16), ("f", torch.float32)):
        W, _ = planted(300, 20, 4)
        ingest_bare(tmp_path / "c", (W.float() * 1.1).to(dtype), name, asked=LinkageDistances(0.05, 0.01))
        for h in (
            "(select vector from reference_vectors where reference = 'largest-component')",
            "centroid_of('largest-component')",
        ):
            differing = rows(
                tmp_path / "c",
                f"select count(*), count(*) filter (where p.dot_bf16 = s.dot_bf16 and p.cosine_bf16 = s.cosine_bf16 "
                f"and abs(p.dot - s.dot) < 1e-15 and abs(p.cosine - s.cosine) < 1e-15) from point_at({h}) as p "
                "inner join scores as s using (model, token_id) where s.reference = 'largest-component'",
                name,
            )
            assert differing == [(300, 300)]


CERTIFIED = "select dot_bf16, cosine_bf16 from scores where model = '{}' and reference = '{}' order by token_id"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_the_order_of_rows_changes_neither_a_centroid_nor_a_certified_score(tmp_path: Path, dtype: torch.dtype) -> None:
    W, _ = planted(400, 40, 6)
    W = (W.float() * 1.01).to(dtype)
    order = torch.randperm(400, generator=torch.Generator().manual_seed(1))
    for name, matrix in (("plain", W), ("shuffled", W[order])):
        ingest_bare(tmp_path / "c", matrix, name)
    vectors = "select vector from reference_vectors where reference = '{}' order by model"
    for reference in ("mean", "largest-component"):
        (plain, shuffled) = rows(tmp_path / "c", vectors.format(reference))
        assert plain == shuffled
        scores = rows(tmp_path / "c", CERTIFIED.format("plain", reference))
        assert rows(tmp_path / "c", CERTIFIED.format("shuffled", reference)) == [scores[i] for i in order.tolist()]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU at hand")
def test_a_gpu_gives_the_same_references_and_certified_scores(tmp_path: Path) -> None:
    W, _ = planted(3000, 300, 6)
    for device in ("cpu", "cuda"):
        ingest_bare(tmp_path / "c", W, device, device=device)
    for reference in ("mean", "largest-component"):
        query = f"select vector, self_dot_bf16 from reference_vectors where reference = '{reference}' order by model"
        (cpu, cuda) = rows(tmp_path / "c", query)
        assert cpu == cuda
        assert rows(tmp_path / "c", CERTIFIED.format("cpu", reference)) == rows(
            tmp_path / "c", CERTIFIED.format("cuda", reference)
        )
    ((named,),) = rows(tmp_path / "c", "select distinct device from reference_vectors where model = 'cuda'")
    assert named.startswith("cuda (")


def test_what_a_reference_was_is_told(tmp_path: Path) -> None:
    W = bf16_matrix(40, 6)
    ingested(tmp_path, W, reference("token = 3\nscale = 2.0"))
    ((kind, asked, norm, self_dot, device, torch_version),) = rows(
        tmp_path / "c",
        "select kind, recipe, norm, self_dot_bf16, device, torch_version from reference_vectors",
    )
    assert (kind, json.loads(asked)) == ("token", {"name": "h", "token": 3, "scale": 2.0})
    h16 = (W[3].double() * 2).tolist()
    assert norm == pytest.approx(math.sqrt(exact_dot(h16, h16)), rel=1e-15)
    assert self_dot == nearest_by_search(exact_dot(h16, h16))
    assert (device, torch_version) == ("cpu", torch.__version__)


def test_the_recipe_in_force_is_told_and_can_be_used_again(tmp_path: Path) -> None:
    text = reference("token = 3") + reference('centroid = "h:dot-mode"', "g")
    text += '[[cluster]]\nname = "long"\nwhere = "norm > 0.1"\n[linkage]\nradius = 0.1\nthreshold = 0.05\n'
    ingested(tmp_path, bf16_matrix(40, 6), text)
    ((told,),) = rows(tmp_path / "c", "select recipe from models")
    assert parse_recipe(json.loads(told)) == recipe(tmp_path, text)


BAD = {
    "token = 40": "reference 'h'.token: 40: W has rows 0 to 39",
    "pc = 7": "reference 'h'.pc: 7: W has 6 columns, so as many components",
    "token = 7": "reference 'h'.token: the vector has a NaN, an infinity, or a number past bf16's range",
    "token = 8": "reference 'h'.token: the vector is zero in bf16, and so has no direction; choose another",
    "token = 3\nscale = 1e-45": "reference 'h'.token: the vector, scaled by 1e-45, is zero in bf16",
    "token = 3\nscale = 1e300": "reference 'h'.token: the vector, scaled by 1e+300, has a NaN, an infinity",
    'text = "x"': "reference 'h'.text: 'x': there is no text at all without a tokenizer; name the token",
    "first_in_box = { lat = 89.9, lon = 0, diameter = 0.001 }": "reference 'h'.first_in_box: no token is in the window",
    'centroid = "component:39"': "reference 'h'.centroid: 'component:39': no component of two tokens or more has 39 as",
    'centroid = "duplicate:3"': "reference 'h'.centroid: 'duplicate:3': no equal rows have 3 as their lowest",
    'centroid = "none"': "reference 'h'.centroid: 'none': no token is in it",
    'centroid = "broken"': "reference 'h'.centroid: none of its rows is finite",
    'vector = { file = "gone.safetensors", key = "h" }': "gone.safetensors: no such file",
    'vector = { file = "h.safetensors", key = "g" }': "no tensor 'g'; it has 'h', 'matrix', 'nan', 'short'",
    'vector = { file = "h.safetensors", key = "matrix" }': "'matrix' is no vector, but torch.float32 of shape [6, 1]",
    'vector = { file = "h.safetensors", key = "short" }': "reference 'h'.vector: has 5 numbers, and W's rows have 6",
    'vector = { file = "h.safetensors", key = "nan" }': "reference 'h'.vector: the vector has a NaN",
    'vector = { file = "recipe.toml", key = "h" }': "recipe.toml: not a safetensors file",
}


@pytest.mark.parametrize(("kind", "message"), BAD.items())
def test_a_reference_that_cannot_be_had_is_refused_and_nothing_is_left(tmp_path: Path, kind: str, message: str) -> None:
    W = bf16_matrix(40, 6)
    W[7, 2], W[8] = float("nan"), 0
    tensors = {
        "h": torch.ones(6),
        "matrix": torch.ones(6, 1),
        "short": torch.ones(5),
        "nan": torch.full((6,), math.nan),
    }
    save_file(tensors, tmp_path / "h.safetensors")
    text = reference(kind) + '[[cluster]]\nname = "none"\nwhere = "false"\n'
    text += '[[cluster]]\nname = "broken"\nwhere = "token_id = 7"\n'
    with pytest.raises(CatalogError) as error:
        ingested(tmp_path, W, text, asked=LinkageDistances(0.001, 0.001))
    assert str(error.value).startswith(f"{tmp_path}/recipe.toml: reference 'h'.")
    assert message in str(error.value)
    assert not (tmp_path / "c" / "catalog.duckdb").exists()
    assert not list((tmp_path / "c").glob("models/*/*"))


def test_an_optional_reference_that_cannot_be_had_is_left_out_with_a_note(tmp_path: Path) -> None:
    report = ingested(tmp_path, bf16_matrix(40, 6), reference("token = 8\nscale = 1e-45\noptional = true"))
    assert rows(tmp_path / "c", "from reference_vectors") == []
    assert report.notes[-1].startswith("m: left out: reference 'h'.token: the vector, scaled by 1e-45, is zero in bf16")


@pytest.mark.views
def test_a_cluster_without_a_token_is_noted(tmp_path: Path) -> None:
    report = ingested(tmp_path, bf16_matrix(40, 6), '[[cluster]]\nname = "none"\nwhere = "norm > 1e9"\n')
    assert "m: cluster 'none' has no token: norm > 1e9" in report.notes
    assert rows(tmp_path / "c", "from clusters where cluster = 'none'") == []


def of_the_study(monkeypatch: pytest.MonkeyPatch) -> torch.Tensor:
    """Return a small W that the notebooks' recipe is for, by its name and (for this test) its shape.

    Its components are the four axes; tokens 124 to 140 are short rows towards latitude -7.2888, longitude 6.94.
    """
    axes = torch.diag(torch.tensor([3.0, 2.0, 1.0, 0.5]))
    W = torch.cat([torch.cat([axes, -axes]) * (1 + i / 100) for i in range(38)])
    up, around = math.radians(-7.2888), math.radians(6.94)
    towards = torch.tensor([math.cos(up) * math.cos(around), math.sin(up), math.cos(up) * math.sin(around), 0.1])
    W[124:141] = towards * 1e-5 * torch.linspace(1, 1.1, 17)[:, None]
    shape = {"n_tokens": 304, "n_dims": 4}
    small = {name: replace(shipping.shipped_model(name), **shape) for name in shipping.shipped_recipes()}
    monkeypatch.setattr(shipping, "shipped_model", small.get)
    return W


def test_the_notebooks_recipe_is_taken_by_itself_for_their_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    W = of_the_study(monkeypatch)
    report = ingest_bare(tmp_path / "c", W, "Qwen3-4B-Instruct-2507")
    assert report.notes[0] == (
        "Qwen3-4B-Instruct-2507: recipe qwen3-4b-instruct-2507, which is for this model (`recipe=` gives another)"
    )
    references = ["1.4a", "1.5c", "1.5d", "1.6a", "row-124", "mean"]
    assert [name for (name,) in rows(tmp_path / "c", "select reference from reference_vectors")] == references
    assert vector(tmp_path, "1.5d") == vector(tmp_path, "row-124") == W[124].tolist()
    assert vector(tmp_path, "1.6a") == exact_mean(W[124:141].tolist())
    assert rows(tmp_path / "c", "select linkage_radius, linkage_threshold from models") == [(0.02, 0.002)]
    ingest_bare(tmp_path / "c", W, "other")
    assert rows(tmp_path / "c", "select reference from reference_vectors", "other") == [
        ("mean",),
        ("largest-component",),
    ]


def test_where_the_recipe_that_was_taken_by_itself_does_not_fit_the_way_out_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows 0.006 apart are no component."""
    W = of_the_study(monkeypatch)
    W[124:141] *= 1e5
    with pytest.raises(CatalogError) as error:
        ingest_bare(tmp_path / "c", W, "Qwen3-4B-Instruct-2507")
    assert str(error.value).startswith(
        "recipe qwen3-4b-instruct-2507, which is for this model (`recipe=` gives another): reference '1.6a'.centroid: "
    )


def test_a_matrix_without_a_token_in_the_notebooks_window_is_catalogued_without_that_reference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    W = of_the_study(monkeypatch)
    W[124:141] *= torch.tensor([1, 1, -1, 1])
    W[124, 2] *= -1
    W[124, 1] *= 1.01
    report = ingest_bare(tmp_path / "c", W, "Qwen3-4B-Instruct-2507")
    assert any("'1.5d'" in note and "no token is in the window of 0.001 degrees" in note for note in report.notes)
    assert rows(tmp_path / "c", "select count(*) from reference_vectors where reference = '1.5d'") == [(0,)]
