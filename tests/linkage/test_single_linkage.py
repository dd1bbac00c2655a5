"""Linkage in the catalog, column by column and at a dozen distances, against the whole matrix of distances."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from scipy.sparse import coo_array

from tests.support.helpers import bf16_matrix, ingest_bare, minilm_folder, rows
from tests.support.matrices import clustered, grid
from tests.support.oracle_linkage import (
    COLUMNS,
    Floats,
    Ids,
    distance_matrix,
    expected_columns,
    leaves,
    lowest_in_component,
    naive_distances,
)
from token_catalog.ingest.linkage import single_linkage as linkage
from token_catalog.ingest.recipe.recipe import LinkageDistances

pytestmark = pytest.mark.usefixtures("tables_only")


def dozen(apart: Floats, radius: float) -> list[float]:
    """Return distances to ask at: below the smallest, exact values, just past them, and the radius."""
    values = np.unique(apart[(apart > 0) & (apart < radius)])
    if not len(values):
        return [radius * part / 12 for part in range(1, 13)]
    exact = values[np.linspace(0, len(values) - 1, 5).astype(int)]
    return [values[0] / 2, *exact, *np.nextafter(exact, np.inf), radius]


def labels(leaves: list[tuple[int, float | None]], distance: float) -> dict[int, int]:
    """Return the lowest of each token's component: of runs of the order, broken by NULL and by >= distance."""
    found = {}
    run: list[int] = []
    for token, height in [*leaves, (-1, None)]:
        if height is None or height >= distance:
            found |= dict.fromkeys(run, min(run, default=-1))
            run = []
        run.append(token)
    return found


def catalogued(catalog: Path) -> tuple[list[tuple[Any, ...]], list[tuple[int, float | None]]]:
    """Return the linkage columns by token_id, and (token_id, linkage_distance) by linkage_order."""
    return (
        rows(catalog, f"select {', '.join(COLUMNS)} from features order by token_id"),
        rows(
            catalog,
            "select token_id, linkage_distance from features where linkage_order is not null order by linkage_order",
        ),
    )


def check(catalog: Path, W: torch.Tensor, radius: float, threshold: float) -> None:
    """Catalogue a small W, and compare all that linking gives with the whole matrix of distances."""
    ingest_bare(catalog, W, asked=LinkageDistances(radius, threshold), with_vectors=False)
    got, order = catalogued(catalog)
    X = W.double().numpy()
    ids = np.flatnonzero(np.isfinite(X).all(axis=1))
    assert [got[i] for i in range(len(X)) if i not in ids] == [(None,) * len(COLUMNS)] * (len(X) - len(ids))
    apart = distance_matrix(X[ids])
    found = [got[i] for i in ids]
    expected = expected_columns(apart, ids, radius, threshold)
    assert [row[:5] for row in found] == expected
    canonical = [(int(ids[leaf]), height) for leaf, height in leaves(apart, radius)]
    assert order == canonical
    place = {token: at for at, (token, _) in enumerate(canonical)}
    assert [row[5] for row in found] == [place[token] for token in ids]
    assert [row[6] for row in found] == [dict(canonical)[token] for token in ids]
    for distance in dozen(apart, radius):
        assert labels(order, distance) == dict(zip(ids, ids[lowest_in_component(apart < distance)], strict=True))
    component = np.array([row[0] for row in expected])
    sizes = {row[0]: row[1] for row in expected}
    diameters = {name: apart[np.ix_(component == name, component == name)].max() for name in sizes if sizes[name] > 1}
    assert dict(rows(catalog, "select component, diameter from component_diameters")) == diameters


@pytest.mark.parametrize(
    ("n_tokens", "n_dims", "dtype", "radius", "threshold"),
    [
        (101, 3, torch.bfloat16, 0.9, 0.3),
        (117, 5, torch.float32, 1.5, 0.5),
        (90, 33, torch.float16, 4.0, 1.0),
        (65, 100, torch.bfloat16, 9.0, 6.0),
        (59, 257, torch.float32, 30.0, 12.0),
    ],
)
def test_clusters_of_several_shapes_are_linked_as_by_brute_force(
    n_tokens: int, n_dims: int, dtype: torch.dtype, radius: float, threshold: float, tmp_path: Path
) -> None:
    check(tmp_path / "c", clustered(n_tokens, n_dims, seed=n_dims, dtype=dtype), radius, threshold)


@pytest.mark.parametrize(("n_tokens", "n_dims", "seed"), [(99, 7, 0), (40, 384, 1)])
def test_rows_without_clusters_are_linked_as_by_brute_force(
    n_tokens: int, n_dims: int, seed: int, tmp_path: Path
) -> None:
    W = bf16_matrix(n_tokens, n_dims, seed)
    median = float(np.median(distance_matrix(W.double().numpy())))
    check(tmp_path / "c", W, median, 0.8 * median)


@pytest.mark.parametrize(
    ("n_dims", "radius", "threshold"), [(3, 1.0, 1.0), (4, 2.0, 1.0), (9, 2.5, 2.0), (5, np.sqrt(2), np.sqrt(2))]
)
def test_ties_at_a_distance_are_not_within_it(n_dims: int, radius: float, threshold: float, tmp_path: Path) -> None:
    check(tmp_path / "c", grid(83, n_dims, n_dims), float(radius), float(threshold))


def test_a_chain_of_steps_of_one_is_apart_at_one_and_whole_just_past_it(tmp_path: Path) -> None:
    W = torch.zeros(5, 3)
    W[:, 1] = torch.tensor([0.0, 3, 1, 4, 2])
    past = float(np.nextafter(1, 2))
    for name, threshold in (("at", 1.0), ("past", past)):
        ingest_bare(tmp_path / "c", W, name, asked=LinkageDistances(past, threshold))
    query = "select component, component_size, n_neighbors, nn_distance, nn_token_id, linkage_distance from features"
    at, past_it = (rows(tmp_path / "c", f"{query} where model = '{name}' order by token_id") for name in ("at", "past"))
    assert [row[:3] for row in at] == [(i, 1, 0) for i in range(5)]
    assert [row[:3] for row in past_it] == [(0, 5, 1), (0, 5, 2), (0, 5, 2), (0, 5, 1), (0, 5, 2)]
    assert [row[3:] for row in at] == [row[3:] for row in past_it]
    assert [row[3:] for row in at] == [(1.0, 2, None), (1.0, 3, 1.0), (1.0, 0, 1.0), (1.0, 1, 1.0), (1.0, 1, 1.0)]


def test_all_rows_equal_are_one_component_of_no_extent(tmp_path: Path) -> None:
    check(tmp_path / "c", torch.full((13, 5), 0.25, dtype=torch.bfloat16), 1.0, 0.5)
    assert rows(
        tmp_path / "c", "select distinct component, component_size, n_neighbors, nn_distance from features"
    ) == [(0, 13, 12, None)]
    assert rows(tmp_path / "c", "select component, diameter from component_diameters") == [(0, 0.0)]


def test_duplicates_only_are_joined_at_any_distance(tmp_path: Path) -> None:
    """Seven points of a wide grid, five times each."""
    W = torch.cat([torch.eye(7), 2 * torch.eye(7), torch.eye(7)] * 5)[::3]
    check(tmp_path / "c", W, 0.5, 1e-9)


def test_no_pair_within_the_radius_leaves_every_token_by_itself(tmp_path: Path) -> None:
    W = torch.eye(17)  # all √2 apart
    check(tmp_path / "c", W, float(np.sqrt(2)), 1.0)
    assert rows(
        tmp_path / "c", "select distinct component_size, n_neighbors, nn_distance, linkage_distance from features"
    ) == [(1, 0, None, None)]
    assert rows(tmp_path / "c", "select * from component_diameters") == []


def test_a_cluster_with_nine_tokens_in_ten_is_linked_as_by_brute_force(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(8)
    W = torch.randn(151, 9, generator=generator)
    some = torch.randperm(151, generator=generator)[:136]
    W[some] = 0.7 + W[some] * 2e-3
    check(tmp_path / "c", W, 1.0, 0.02)
    assert rows(tmp_path / "c", "select max(component_size) from features") == [(136,)]


def test_rows_that_are_not_finite_are_not_linked_and_change_nothing(tmp_path: Path) -> None:
    W = clustered(70, 6, 5)
    broken = W.clone()
    broken[0, 0], broken[31, 5], broken[69] = float("nan"), float("inf"), float("-inf")
    check(tmp_path / "c", broken, 1.5, 0.5)
    kept = [i for i in range(70) if i not in (0, 31, 69)]
    ingest_bare(tmp_path / "without", W[kept], asked=LinkageDistances(1.5, 0.5))
    got, alone = catalogued(tmp_path / "c")[0], catalogued(tmp_path / "without")[0]
    number = {None: None} | dict(enumerate(kept))
    assert [got[i] for i in kept] == [
        (number[component], size, n_neighbors, near, number[who], order, height)
        for component, size, n_neighbors, near, who, order, height in alone
    ]


def test_minus_zero_is_a_duplicate_of_zero(tmp_path: Path) -> None:
    W = torch.tensor([[0.0, 1, 2], [-0.0, 1, 2], [0, 1, 2.5], [0, -0.0, 0], [-0.0, 0, 0]], dtype=torch.float16)
    check(tmp_path / "c", W, 3.0, 0.75)
    assert rows(tmp_path / "c", "select list(linkage_distance order by token_id) from features") == [
        ([None, 0.0, 0.5, float(np.sqrt(5)), 0.0],)
    ]


def test_zero_rows_are_linked_like_any_other(tmp_path: Path) -> None:
    W = clustered(30, 4, 6) * 0.1
    W[[3, 7, 29]] = 0
    check(tmp_path / "c", W, 0.5, 0.1)


@pytest.mark.parametrize("n_tokens", [1, 2, 3])
def test_a_matrix_of_one_to_three_rows_is_linked(n_tokens: int, tmp_path: Path) -> None:
    check(tmp_path / "c", bf16_matrix(n_tokens, 3, scale=1.0), 10.0, 5.0)


def test_a_single_finite_row_is_a_component_of_its_own(tmp_path: Path) -> None:
    W = torch.full((5, 3), float("nan"))
    W[3] = torch.tensor([1.0, 2.0, 3.0])
    check(tmp_path / "c", W, 1.0, 1.0)
    assert rows(tmp_path / "c", f"select {', '.join(COLUMNS)} from features where token_id = 3") == [
        (3, 1, 0, None, None, 0, None)
    ]


def test_a_component_of_too_many_vectors_has_no_diameter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three vectors (five tokens) in a row, and two by themselves: at most two may be measured."""
    monkeypatch.setattr(linkage, "MOST_FOR_DIAMETER", 2)
    W = torch.zeros(7, 3)
    W[:, 0] = torch.tensor([0.0, 0, 1, 1, 2, 50, 53])
    ingest_bare(tmp_path / "c", W, asked=LinkageDistances(5.0, 4.0))
    assert rows(tmp_path / "c", "select component, diameter from component_diameters order by component") == [
        (0, None),
        (5, 3.0),
    ]


@pytest.mark.parametrize("n_bounds", [1, 50])
def test_a_diameter_is_the_same_from_blocks_of_any_size(
    n_bounds: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linkage, "MOST_BOUNDS", n_bounds)
    check(tmp_path / "c", grid(60, 5, 7), 2.0, 2.0)


@pytest.mark.parametrize("seed", range(4))
def test_the_order_is_the_canonical_one_where_heights_are_tied(seed: int, tmp_path: Path) -> None:
    """Points on a line at whole numbers, some twice: nodes with many children, and equal heights side by side."""
    generator = torch.Generator().manual_seed(seed)
    W = torch.zeros(41, 3)
    W[:, seed % 3] = torch.randint(130, (41,), generator=generator).float()
    check(tmp_path / "c", W, 9.0, 3.0)


def test_the_slow_reference_gives_the_order_of_an_example_worked_by_hand() -> None:
    """Of 0 at 0, 1 at 5, 2 at 1, 3 at 6, 4 at 9: {0, 2} and {1, 3} at 1, with 4 at 3, all at 4."""
    at = np.array([0.0, 5, 1, 6, 9])
    apart = np.abs(at[:, None] - at[None])
    assert leaves(apart, 5.0) == [(0, None), (2, 1.0), (1, 4.0), (3, 1.0), (4, 3.0)]
    assert leaves(apart, 4.0) == [(0, None), (2, 1.0), (1, None), (3, 1.0), (4, 3.0)]
    assert leaves(apart, 1.0) == [(i, None) for i in range(5)]


class MiniLM:
    """The real matrix, and all its pairs below a radius."""

    def __init__(self, radius: float) -> None:
        with safe_open(minilm_folder() / "model.safetensors", "pt") as file:
            self.X = file.get_tensor("embeddings.word_embeddings.weight").double().numpy()
        stored = self.X.astype(np.float32)
        squares = (stored**2).sum(axis=1)
        found = []
        for start in range(0, len(stored), 1024):
            part = slice(start, start + 1024)
            # Squares about 1 in fp32 are right to 1e-4.
            half = (squares[part, None] - np.float32(radius**2 + 1e-3)) / 2
            products = stored[part] @ stored[start:].T
            products -= squares[start:] / 2
            i, j = np.nonzero(products > half)
            found.append(np.array([i, j])[:, i < j] + start)
        i, j = np.concatenate(found, axis=1)
        apart = self.distances(i, j)
        self.i, self.j, self.apart = i[radius > apart], j[radius > apart], apart[radius > apart]

    def distances(self, i: Ids, j: Ids) -> Floats:
        """Return the contract's distances."""
        cuts = range(0, len(i) + 512, 512)
        return np.concatenate([naive_distances(self.X[i[a:b]], self.X[j[a:b]]) for a, b in pairwise(cuts)])

    def labels(self, distance: float) -> Ids:
        """Return the lowest token_id of each token's component at a distance."""
        near = self.apart < distance
        ones = np.ones(int(near.sum()), dtype=np.int8)
        return lowest_in_component(coo_array((ones, (self.i[near], self.j[near])), shape=(len(self.X),) * 2))

    def diameter(self, members: Ids) -> float:
        """Return the largest distance between members: of the pairs that a product puts near the top."""
        X = self.X[members]
        squares = (X**2).sum(axis=1)
        squared = squares[:, None] + squares[None] - 2 * X @ X.T
        i, j = np.nonzero(squared > squared.max() - 1e-9)
        return float(self.distances(members[i], members[j]).max())


def test_minilm_is_linked_as_by_brute_force_at_a_dozen_distances(minilm: Path) -> None:
    ((radius, threshold),) = rows(minilm, "select linkage_radius, linkage_threshold from models")
    real = MiniLM(radius)
    got, leaves = catalogued(minilm)
    order, height = (np.array(column) for column in zip(*leaves, strict=True))
    height = height.astype(np.float64)  # NULL is NaN
    assert (np.sort(order) == np.arange(len(real.X))).all()
    quantiles = np.quantile(real.apart, [0, 0, 1e-4, 0.01, 0.1, 0.5, 0.9])
    quantiles[0] /= 2
    for distance in [*quantiles, 0.2, 0.25, 0.27, threshold, 0.3, radius]:
        run = np.cumsum(~(height < distance)) - 1
        lowest = np.full(run[-1] + 1, len(order))
        np.minimum.at(lowest, run, order)
        component = np.empty_like(order)
        component[order] = lowest[run]
        assert (component == real.labels(distance)).all()

    component = real.labels(threshold)
    ends = np.concatenate([real.i, real.j])
    others, apart = np.concatenate([real.j, real.i]), np.tile(real.apart, 2)
    n_neighbors = np.bincount(ends[threshold > apart], minlength=len(order))
    nearest_first = np.lexsort((others, apart, ends))
    token, first = np.unique(ends[nearest_first], return_index=True)
    nearest = dict(
        zip(token.tolist(), zip(apart[nearest_first][first], others[nearest_first][first], strict=True), strict=True)
    )
    assert apart.min() > 0  # no duplicates here, or the nearest different vector would be to be looked for
    expected = zip(component, np.bincount(component)[component], n_neighbors, strict=True)
    assert [row[:5] for row in got] == [(*row, *nearest.get(i, (None, None))) for i, row in enumerate(expected)]

    diameters = dict(rows(minilm, "select component, diameter from component_diameters"))
    sizes = np.bincount(component)
    assert sorted(diameters) == np.flatnonzero(sizes > 1).tolist()
    for name, diameter in diameters.items():
        assert diameter == real.diameter(np.flatnonzero(component == name))


@pytest.mark.parametrize(("distance", "n_tokens", "n_unused"), [(0.3, 1737, 993), (0.27, 1603, 993), (0.25, 1341, 908)])
def test_the_component_of_minilm_s_unused_tokens_has_its_known_size(
    distance: float, n_tokens: int, n_unused: int, minilm: Path
) -> None:
    runs = f"""
        with runs as (
            select
                token_id,
                sum((linkage_distance is null or linkage_distance >= {distance}::double)::int)
                    over (order by linkage_order) as run
            from features
        )
        select text from runs join tokens using (token_id)
        where run = (select run from runs join tokens using (token_id) where text = '[unused0]')
    """
    texts = [text for (text,) in rows(minilm, runs)]
    assert len(texts) == n_tokens
    assert sum(text is not None and text.startswith("[unused") for text in texts) == n_unused
