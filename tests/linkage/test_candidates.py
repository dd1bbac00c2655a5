"""Candidate pairs: none nearer than the radius escapes, and whichever way they are found the linkage is one."""

import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.support.helpers import ingest_bare, rows
from tests.support.matrices import clustered, grid
from tests.support.oracle_linkage import COLUMNS, Floats, distance_matrix, expected_columns, leaves, lowest_in_component
from token_catalog.ingest.arithmetic import arrays
from token_catalog.ingest.arithmetic.bf16 import UNIT_ROUNDOFF as UNIT
from token_catalog.ingest.linkage import candidates as candidates_module
from token_catalog.ingest.linkage import projections as points
from token_catalog.ingest.linkage import spanning_forest as forest
from token_catalog.ingest.linkage.candidates import Candidates, Pairs
from token_catalog.ingest.linkage.projections import DistinctRows
from token_catalog.ingest.linkage.single_linkage import Linkage, single_linkage
from token_catalog.ingest.recipe.recipe import LinkageDistances

pytestmark = pytest.mark.usefixtures("tables_only")

Way = Callable[[Candidates, float], Iterator[Pairs]]
WAYS: dict[str, Way] = {
    "tree": lambda candidates, radius: candidates.by_tree(radius),
    "fp32": lambda candidates, radius: candidates.by_blocks(radius, WIDE, torch.float32),
    "bf16": lambda candidates, radius: candidates.by_blocks(radius, WIDE, torch.bfloat16),
    "few columns": lambda candidates, radius: candidates.by_blocks(radius, 3, torch.float32),
}
# As many columns as there are.
WIDE = 1_000
INTEGERS = st.integers(0, 2**31)


def prepared(W: Tensor) -> Candidates:
    """Return candidates for a matrix of finite rows, as `ingest.features.link` makes them."""
    X = W.double().numpy()
    _, first, counts = np.unique(X, axis=0, return_index=True, return_counts=True)
    order = np.argsort(first)
    ids, counts = first[order].astype(np.int32), counts[order].astype(np.int32)
    basis = np.ascontiguousarray(np.linalg.eigh(np.cov(X, rowvar=False))[1].T[::-1])
    sample = np.arange(0, len(ids), max(1, len(ids) // 64), dtype=np.int32)
    vectors = DistinctRows(W, ids, counts, np.sqrt((X[ids] ** 2).sum(axis=1)), sample)
    return Candidates(vectors, basis, np.ascontiguousarray(X[ids] @ basis[:8].T))


def every_way(W: Tensor) -> dict[str, tuple[Candidates, Way]]:
    """Return the ways to find a matrix's candidates, each with candidates of its own."""
    return {name: (prepared(W), way) for name, way in WAYS.items()}


def made(kind: str, seed: int, n_tokens: int, n_dims: int) -> Tensor:
    """Return a matrix of some kind."""
    generator = torch.Generator().manual_seed(seed)
    plain = torch.randn(n_tokens, n_dims, generator=generator)
    if kind == "grid":
        return grid(n_tokens, n_dims, seed)
    if kind == "far out":
        return 100 + plain * 1e-3
    if kind == "flat":
        return plain[:, :2] @ torch.randn(2, n_dims, generator=generator)
    if kind == "outliers":
        plain[seed % n_tokens] *= 1e4
        return plain
    return clustered(n_tokens, n_dims, seed, torch.bfloat16 if kind == "bf16" else torch.float32)


matrices = st.builds(
    made,
    st.sampled_from(["grid", "far out", "flat", "outliers", "bf16", "fp32"]),
    INTEGERS,
    st.integers(5, 70),
    st.integers(3, 90),
)


def check_coverage(batches: Iterable[Pairs], apart: Floats, radius: float) -> None:
    """Check that every pair below the radius is given, none twice, and each between its bounds."""
    got = [(p.i, p.j, p.least, p.most) for p in batches]
    i, j, least, most = (
        (np.concatenate([np.empty(0), *column]) for column in zip(*got, strict=True)) if got else [[]] * 4
    )
    i, j = np.array([i, j], dtype=np.int64)
    assert (i != j).all()
    keys = np.minimum(i, j) * len(apart) + np.maximum(i, j)
    assert len(np.unique(keys)) == len(keys)
    near = np.argwhere(np.triu(apart < radius, 1))
    assert set((near[:, 0] * len(apart) + near[:, 1]).tolist()) <= set(keys.tolist())
    assert (np.sqrt(least) * (1 - 4 * UNIT) <= apart[i, j]).all()
    assert (apart[i, j] <= np.sqrt(most) * (1 + 4 * UNIT)).all()


def same(a: Linkage, b: Linkage) -> bool:
    """Tell whether two linkages are equal to the bit."""
    return all(np.array_equal(value, vars(b)[name]) for name, value in vars(a).items())


def check_linkage(linkage: Linkage, vectors: DistinctRows, apart: Floats, radius: float, threshold: float) -> None:
    """Compare a linkage of distinct vectors with brute force."""
    n = len(apart)
    expected = expected_columns(apart, np.arange(n), radius, threshold)
    assert linkage.components(threshold).tolist() == [row[0] for row in expected]
    assert (vectors.counts == 1).all()
    assert linkage.n_neighbors.tolist() == [row[2] for row in expected]
    assert [x if np.isfinite(x) else None for x in linkage.nearest_distance.tolist()] == [row[3] for row in expected]
    assert [x if x >= 0 else None for x in linkage.nearest.tolist()] == [row[4] for row in expected]
    heights = [linkage.height[leaf] if np.isfinite(linkage.height[leaf]) else None for leaf in linkage.order]
    assert list(zip(linkage.order.tolist(), heights, strict=True)) == leaves(apart, radius)


def radius_at(apart: Floats, share: float) -> float:
    """Return a distance between two vectors: below it lies about this share of the others."""
    values = np.sort(apart[np.triu_indices(len(apart), 1)])
    return float(values[int(share * (len(values) - 1))]) if len(values) else 1.0


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dense", [0.0, np.inf, candidates_module.DENSE])
@given(W=matrices, share=st.floats(0, 1))
@settings(max_examples=15)
def test_no_pair_nearer_than_the_radius_escapes_and_none_comes_twice(
    way: str, dense: float, W: Tensor, share: float
) -> None:
    candidates = prepared(W)
    apart = distance_matrix(W.double().numpy()[candidates.vectors.ids])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(candidates_module, "DENSE", dense)
        patch.setattr(candidates_module, "CPU_TILE", 16)
        patch.setattr(candidates_module, "TREE_BATCH", 13)
        for radius in (radius_at(apart, share), 1e-12, 2 * float(apart.max()) + 1):
            check_coverage(WAYS[way](candidates, radius), apart, radius)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("n_outliers", [0, 1])
def test_pairs_a_rounding_below_the_radius_are_found(
    way: str, n_outliers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All columns are projected, so the points are as far apart as the rows but for rounding: half seem farther."""
    monkeypatch.setattr(candidates_module, "DENSE", np.inf)
    W = made("far out", 1, 40, 6)
    W[:n_outliers] *= 100
    apart = distance_matrix(W.double().numpy())
    candidates = prepared(W)
    for distance in np.unique(apart)[1::13]:
        radius = float(np.nextafter(distance, np.inf))
        check_coverage(WAYS[way](candidates, radius), apart, radius)


def test_rounding_to_bf16_loses_no_pair() -> None:
    """Two opposite points, of 64 equal columns just over halfway between two bf16: rounding moves both outwards."""
    x = float(np.float32(2**-5 * (1 + 2**-8 + 2**-20)))
    W = torch.tensor([[x] * 64, [-x] * 64])
    ids = np.arange(2, dtype=np.int32)
    vectors = DistinctRows(W, ids, np.ones_like(ids), np.linalg.norm(W.double().numpy(), axis=1), ids)
    tiles = points.BlockedProducts(points.Projections(W, vectors, np.eye(64)), torch.bfloat16)
    distance = 2 * x * 8
    assert sum(len(i) for *_, i, _ in tiles.within(distance * (1 + 1e-6), 4)) == 1


@given(W=matrices, share=st.floats(0, 0.9), part=st.floats(0.05, 1))
@settings(max_examples=40)
def test_every_way_gives_the_same_linkage(W: Tensor, share: float, part: float) -> None:
    candidates = prepared(W)
    vectors = candidates.vectors
    apart = distance_matrix(W.double().numpy()[vectors.ids])
    radius = radius_at(apart, share)
    threshold = radius * part
    first = single_linkage(vectors, candidates.by_tree(radius), radius, threshold)
    for name, (found, way) in every_way(W).items():
        for dense in (0.0, np.inf):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(candidates_module, "DENSE", dense)
                assert same(single_linkage(vectors, way(found, radius), radius, threshold), first), name


# What may be cut small, to a size at which some tens of rows make many batches.
SMALL = {
    "CPU_TILE": (candidates_module, (5, 64)),
    "TREE_BATCH": (candidates_module, (1, 64)),
    "SIFT_BYTES": (points, (1, 100)),
    "CHUNK_BYTES": (points, (1, 1000)),
    "TREE_WIDTHS": (candidates_module, (range(1, 3), range(7, 8), range(0))),
    "MOST_NEAR": (candidates_module, (0, 1_000)),
    "MOST_EDGES": (forest, (0, 10, 300)),
    "CPU_BYTES": (arrays, (1, 1_000)),
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, (_, values) in SMALL.items() for value in values])
@pytest.mark.parametrize("kind", ["grid", "fp32"])
def test_the_size_of_chunks_changes_nothing(name: str, value: int, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    W = made(kind, 5, 75, 6)
    candidates = prepared(W)
    radius = radius_at(distance_matrix(W.double().numpy()), 0.4)
    whole = single_linkage(candidates.vectors, candidates.by_tree(radius), radius, radius / 2)
    assert 1 < len(np.unique(whole.components(radius / 2))) < 75
    monkeypatch.setattr(SMALL[name][0], name, value)
    for dense in (0.0, np.inf):
        monkeypatch.setattr(candidates_module, "DENSE", dense)
        for found, way in every_way(W).values():
            assert same(single_linkage(candidates.vectors, way(found, radius), radius, radius / 2), whole)


@pytest.mark.usefixtures("threads")
def test_the_number_of_threads_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    W = clustered(501, 40, 2)
    monkeypatch.setattr(candidates_module, "TREE_BATCH", 16)  # many searches, a few at once
    for n_threads in (1, 2):
        torch.set_num_threads(n_threads)
        for count in ("cpu_count", "process_cpu_count"):
            monkeypatch.setattr(f"os.{count}", lambda n=n_threads: n, raising=False)
        ingest_bare(tmp_path / "c", W, str(n_threads), asked=LinkageDistances(3.0, 1.0))
        linkages = [single_linkage(c.vectors, way(c, 3.0), 3.0, 1.0) for c, way in every_way(W).values()]
        assert all(same(linkage, linkages[0]) for linkage in linkages)
    query = f"select {', '.join(COLUMNS)} from features where model = '{{}}' order by token_id"
    one, two = (rows(tmp_path / "c", query.format(n)) for n in (1, 2))
    assert one == two
    assert len({row[0] for row in one}) > 12


@pytest.mark.parametrize("kind", ["grid", "fp32", "bf16"])
def test_permuting_rows_permutes_what_linking_finds(kind: str, tmp_path: Path) -> None:
    W = made(kind, 3, 90, 5)
    moved = torch.randperm(90, generator=torch.Generator().manual_seed(1)).numpy()  # row i comes from moved[i]
    radius = radius_at(distance_matrix(W.double().numpy()), 0.3)
    for name, matrix in (("straight", W), ("shuffled", W[moved])):
        ingest_bare(tmp_path / "c", matrix, name, asked=LinkageDistances(radius, radius / 2))
    query = f"select {', '.join(COLUMNS)} from features where model = '{{}}' order by token_id"
    straight, shuffled = (rows(tmp_path / "c", query.format(name)) for name in ("straight", "shuffled"))
    came = [straight[i] for i in moved]
    assert [row[1:4] for row in shuffled] == [row[1:4] for row in came]  # size, neighbours, nearest distance

    def parts(components: Iterable[int]) -> set[frozenset[int]]:
        members: dict[int, set[int]] = {}
        for i, component in enumerate(components):
            members.setdefault(component, set()).add(i)
        return {frozenset(some) for some in members.values()}

    assert parts(row[0] for row in shuffled) == parts(row[0] for row in came)
    heights = [sorted((row[6] is None, row[6]) for row in found) for found in (straight, shuffled)]
    assert heights[0] == heights[1]
    diameters = "select diameter from component_diameters where model = '{}' order by diameter"
    assert rows(tmp_path / "c", diameters.format("straight")) == rows(tmp_path / "c", diameters.format("shuffled"))


def hardest() -> dict[str, tuple[Tensor, float]]:
    """Return matrices of odd scales with a radius each."""
    plain = clustered(70, 12, 9)
    plain[[35, 69]] += 1e-3  # distinct
    outliers = plain.clone()
    outliers[[3, 40]] *= 1e4
    both = plain * 1e-10
    both[::7] = plain[::7] * 1e10
    return {
        "outliers": (outliers, 2.0),
        "outliers, near pairs": (outliers, 0.05),
        "huge": (plain * 1e20, 2e20),
        "tiny": (plain * 1e-20, 2e-20),
        "huge and tiny, linked far": (both, 2e10),
        "huge and tiny, linked near": (both, 2e-10),
        "as large as fp32 goes": (plain / plain.abs().max() * 3.4e38, 2e38),
        "as small as fp32 goes": ((torch.round(plain * 3) * 2.0**-149).unique(dim=0), 10 * 2.0**-149),
    }


@pytest.mark.parametrize("name", hardest())
def test_matrices_of_odd_scales_are_linked_as_by_brute_force(name: str) -> None:
    W, radius = hardest()[name]
    candidates = prepared(W)
    apart = distance_matrix(W.double().numpy())
    assert 0 < (apart < radius).sum() - len(W) < len(W) ** 2 - len(W)
    for found, way in every_way(W).values():
        for dense in (0.0, np.inf):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(candidates_module, "DENSE", dense)
                check_coverage(way(found, radius), apart, radius)
                linkage = single_linkage(candidates.vectors, way(found, radius), radius, radius / 3)
            check_linkage(linkage, candidates.vectors, apart, radius, radius / 3)


def test_costs_choose_a_tree_for_a_small_radius_and_blocks_for_a_large_one() -> None:
    """Of 1,000 rows in 100 dimensions, all about 14 apart, 64 columns or more in blocks."""
    W = torch.randn(1000, 100, generator=torch.Generator().manual_seed(0))
    candidates = prepared(W)
    assert candidates.block_width(1e-3) is None
    assert candidates.block_width(14.0) in {16, 32, 64, 96, 100}
    near = [sum(len(pairs.i) for pairs in candidates.within(radius)) for radius in (1e-3, 14.0)]
    assert near[0] == 0
    assert near[1] > 100_000


def test_a_dense_cluster_is_linked_within_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """2,501 nearly equal rows have 3.1 million pairs, 75 MB of them at 24 bytes; all are nearer than the radius."""
    W = 1 + 1e-3 * torch.randn(2501, 64, generator=torch.Generator().manual_seed(0))
    candidates = prepared(W)
    radius, threshold = 1.0, 0.009
    monkeypatch.setattr(forest, "MOST_EDGES", 5_000)
    monkeypatch.setattr(candidates_module, "CPU_TILE", 128)
    tracemalloc.start()  # counts what NumPy holds; a tile's bounds, in torch, are twice 0.1 MB
    linkage = single_linkage(candidates.vectors, candidates.by_blocks(radius, 64), radius, threshold)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6e6
    apart = distance_matrix(W.double().numpy())
    assert (apart < radius).all()
    assert linkage.n_neighbors.tolist() == ((apart < threshold).sum(axis=1) - 1).tolist()
    np.fill_diagonal(apart, np.inf)
    assert (linkage.nearest == apart.argmin(axis=1)).all()
    assert (linkage.nearest_distance == apart.min(axis=1)).all()
    heights = np.sort(linkage.height)
    assert np.isinf(heights[-1])
    for distance in [*heights[[0, 30, 1200, 2490]], threshold, *heights[-5:-1], radius]:
        assert (linkage.components(distance) == lowest_in_component(apart < distance)).all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU at hand")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_a_gpu_gives_the_same_linkage_as_the_cpu(dtype: torch.dtype, tmp_path: Path) -> None:
    W = clustered(5003, 129, 1, dtype)
    W[17, 3] = float("nan")
    for radius, threshold in ((8.0, 5.0), (0.05, 0.02), (None, None)):
        for device in ("cpu", "cuda"):
            limits = LinkageDistances(radius, threshold)
            ingest_bare(tmp_path / "c", W, device, device=device, asked=limits, replace=True)
        for query in (
            f"select {', '.join(COLUMNS)} from features where model = '{{}}' order by token_id",
            "select component, diameter from component_diameters where model = '{}' order by component",
            "select linkage_radius, linkage_threshold, linkage_rule from models where model = '{}'",
        ):
            assert rows(tmp_path / "c", query.format("cpu")) == rows(tmp_path / "c", query.format("cuda"))
