"""Linking by lattice steps at ingest, beside the steps of all rows from all, in exact integers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

import token_catalog
from tests.support.helpers import bf16_matrix, ingest_bare, rows
from tests.support.oracle_lattice import Linked, matrix, runs
from token_catalog.ingest.lattice import joining, sieve
from token_catalog.ingest.lattice.link import MOST_STEPS, components_by_steps, lattice_columns
from token_catalog.ingest.lattice.points import LatticePoints

Places = npt.NDArray[np.int64]


def clumps(n_tokens: int, n_dims: int, seed: int, reach: int) -> Places:
    """Return coordinates of clumps about a few centres, near zero and far from it, a few steps wide; a few twice."""
    random = np.random.default_rng(seed)
    centres = np.concatenate([random.integers(-3, 4, (3, n_dims)), random.integers(-32639, 32640, (4, n_dims))])
    places = centres[random.integers(len(centres), size=n_tokens)] + random.integers(-reach, reach + 1, (1, n_dims))
    places += random.integers(-reach, reach + 1, (n_tokens, n_dims))
    places[n_tokens // 2] = places[0]
    places[n_tokens - 1] = places[n_tokens // 3]
    return places


def walk(n_tokens: int, n_dims: int, seed: int) -> Places:
    """Return a chain by steps of up to 3 over zero, exponents and subnormals, in a random order."""
    random = np.random.default_rng(seed)
    places = np.cumsum(random.integers(-1, 4, (n_tokens, n_dims)), axis=0) - 60
    return random.permutation(places)


def few_values(n_values: int) -> Callable[[int, int, int], Places]:
    """Return a maker of rows with so few values, side by side on the lattice, in every column."""
    return lambda n_tokens, n_dims, seed: np.random.default_rng(seed).integers(n_values, size=(n_tokens, n_dims))


def sparse(n_tokens: int, n_dims: int, seed: int) -> Places:
    """Return one row over and over, each time with some other elements, by up to 6 steps."""
    random = np.random.default_rng(seed)
    others = random.random((n_tokens, n_dims)) < 2 / n_dims
    return 16000 + others * random.integers(1, 7, (n_tokens, n_dims))


MADE = {
    "clumps of one step": lambda: clumps(150, 3, 0, 1),
    "clumps of two": lambda: clumps(200, 4, 1, 2),
    "wide clumps": lambda: clumps(150, 6, 2, 4),
    "many dimensions": lambda: clumps(90, 70, 3, 2),
    "a chain": lambda: walk(120, 3, 4),
    "two values": lambda: few_values(2)(140, 9, 5),
    "three values": lambda: few_values(3)(170, 12, 6),
    "four values": lambda: few_values(4)(170, 5, 7),
    "nearly one row": lambda: sparse(160, 30, 8),
    "one column that tells": lambda: np.stack([np.arange(99) * 7919 % 211] + [np.zeros(99, int)] * 3, axis=1),
    "the ends of the line": lambda: np.array([[-32639, 0, 0], [32639, 0, 0], [32638, 1, 0], [-32637, 0, 0]]),
}


def found(W: torch.Tensor) -> list[tuple[int | None, int | None]]:
    """Return (order, steps) of every token, as they are catalogued."""
    finite = torch.isfinite(W).all(dim=1).numpy()
    first: dict[tuple[float, ...], int] = {}
    equal = [first.setdefault(tuple(np.array(row) + 0.0), token) for token, row in enumerate(W.double().tolist())]
    columns = lattice_columns(W, np.ma.MaskedArray(np.array(equal, np.int32), ~finite))
    assert columns["token_id"].tolist() == list(range(len(W)))
    return list(zip(columns["lattice_order"].tolist(), columns["lattice_steps"].tolist(), strict=True))


@pytest.fixture(params=[64, 1], ids=["pairs", "reached"])
def few(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare small groups pair by pair, as is the rule, or reach from point to point in all."""
    monkeypatch.setattr(joining, "FEW", request.param)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("make", MADE.values(), ids=MADE)
def test_rows_are_linked_as_by_brute_force_at_every_number_of_steps(make: Callable[[], Places]) -> None:
    W = matrix(make())
    expected = Linked(W)
    assert found(W) == expected.columns(MOST_STEPS)
    order = expected.leaves(MOST_STEPS)
    for steps in range(MOST_STEPS + 1):
        label = dict(zip(expected.ids, expected.component(steps), strict=True))
        assert runs(order, steps) == label


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("seed", range(12))
def test_clumps_in_noise_are_linked_as_by_brute_force(seed: int) -> None:
    random = np.random.default_rng(100 + seed)
    noise = random.integers(-2000, 2000, (250, 8))
    W = matrix(np.concatenate([noise, clumps(150, 8, seed, 1 + seed % 3)])[random.permutation(400)])
    assert found(W) == Linked(W).columns(MOST_STEPS)


@pytest.mark.usefixtures("few")
def test_rows_that_are_not_finite_are_not_linked_and_change_nothing() -> None:
    W = matrix(clumps(80, 3, 9, 1))
    W[0, 0], W[31, 2], W[79] = float("nan"), float("inf"), float("-inf")
    assert found(W) == Linked(W).columns(MOST_STEPS)
    assert [found(W)[token] for token in (0, 31, 79)] == [(None, None)] * 3


def test_zeros_of_both_signs_are_one_point_and_zero_lies_between_the_least_of_each() -> None:
    least = 2.0**-133
    W = torch.zeros(5, 3, dtype=torch.bfloat16)
    W[:, 1] = torch.tensor([least, -0.0, -least, 0.0, 4 * least]).bfloat16()
    assert found(W) == [(0, None), (1, 1), (3, 1), (2, 0), (4, None)]


@pytest.mark.parametrize("steps", [1, 2])
def test_a_step_more_than_the_number_joins_nothing(steps: int) -> None:
    places = np.arange(6)[:, None] * (steps + 1) + np.zeros((1, 3), int)
    (apart, joined_) = (components_by_steps(points_of(matrix(places)), at)[-1] for at in (steps, steps + 1))
    assert apart.tolist() == [0, 1, 2, 3, 4, 5]
    assert joined_.tolist() == [0] * 6


def points_of(W: torch.Tensor) -> LatticePoints:
    """Return all rows as points, none of them equal."""
    return LatticePoints(W, np.arange(len(W), dtype=np.int32))


@pytest.mark.usefixtures("few")
def test_permuting_rows_permutes_the_components() -> None:
    places = np.unique(clumps(200, 4, 11, 1), axis=0)
    order = np.random.default_rng(3).permutation(len(places))
    for before, after in zip(
        components_by_steps(points_of(matrix(places)), 3),
        components_by_steps(points_of(matrix(places[order])), 3),
        strict=True,
    ):
        assert parts(before, np.arange(len(places))) == parts(after, order)


def parts(label: Any, names: Any) -> set[frozenset[int]]:
    """Return the components as sets of names."""
    return {frozenset(names[label == lowest].tolist()) for lowest in np.unique(label)}


@pytest.mark.parametrize(
    ("name", "value"), [("MOST_COMPARED", 1), ("MOST_COMPARED", 100), ("N_BESIDE", 1), ("CPU_BYTES", 1)]
)
def test_blocks_and_samples_of_any_size_give_the_same(name: str, value: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining, name, value)
    monkeypatch.setattr(joining, "FEW", 4)
    W = matrix(np.concatenate([clumps(120, 5, 12, 2), sparse(60, 5, 13)]))
    assert found(W) == Linked(W).columns(MOST_STEPS)


def test_the_sieve_parts_noise_and_keeps_what_is_near_together() -> None:
    """Of 3,000 points far and wide, and 20 pairs of neighbours among them, it leaves the pairs and next to nothing."""
    random = np.random.default_rng(5)
    places = random.integers(-3000, 3000, (3000, 12))
    places[1::150] = places[::150] + random.integers(-2, 3, (20, 12))
    left = sieve.sifted(points_of(matrix(places)), np.arange(3000), 2)
    pairs = {(at, at + 1) for at in range(0, 3000, 150)}
    together = {tuple(part.tolist()) for part in left if len(part) == 2}
    assert pairs <= together
    assert sum(map(len, left)) < 80


def test_the_sieve_leaves_a_group_whole_that_no_cells_part() -> None:
    (whole,) = sieve.sifted(points_of(matrix(few_values(3)(300, 9, 0))), np.arange(300), 2)
    assert whole.tolist() == list(range(300))


def test_a_point_that_is_reached_is_compared_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 500 rows that are all within two steps of each other, one is compared with all, at two; none at one."""
    looked = []
    near = joining._near
    monkeypatch.setattr(joining, "_near", lambda *given: looked.append(len(given[3])) or near(*given))
    W = matrix(few_values(3)(500, 90, 1))
    assert [len(np.unique(component)) for component in components_by_steps(points_of(W), 2)] == [500, 1]
    assert looked[0] == 499
    assert looked[1:] == [*range(499, 0, -1)]


def table(catalog: Path, model: str = "m") -> list[tuple[Any, ...]]:
    """Return (order, steps) of every token in the catalog."""
    query = f"select lattice_order, lattice_steps from lattice where model = '{model}' order by token_id"
    return rows(catalog, query)


def test_a_bf16_model_has_the_table_and_says_how_far_and_others_have_neither(tmp_path: Path) -> None:
    W = matrix(clumps(60, 4, 14, 1))
    W[7, 1] = float("nan")
    ingest_bare(tmp_path / "c", W)
    for name, dtype in (("half", torch.float16), ("full", torch.float32)):
        ingest_bare(tmp_path / "c", bf16_matrix(30, 4).to(dtype), name)
    assert table(tmp_path / "c") == Linked(W).columns(MOST_STEPS)
    assert rows(tmp_path / "c", "select model, lattice_most_steps from models order by model") == [
        ("full", None), ("half", None), ("m", 2),
    ]  # fmt: skip
    assert rows(tmp_path / "c", "select distinct model from lattice") == [("m",)]


def test_linking_anew_and_adding_references_keep_the_file(tmp_path: Path) -> None:
    ingest_bare(tmp_path / "c", matrix(clumps(60, 4, 15, 1)))
    catalog = token_catalog.open(tmp_path / "c")
    before = table(tmp_path / "c")
    (file,) = catalog.files("lattice")
    before_it = file.stat()
    catalog["m"].relink()
    catalog["m"].add_references({"reference": [{"name": "new", "pc": 1}]})
    (file,) = catalog.files("lattice")
    assert file.stat().st_ino == before_it.st_ino
    assert table(tmp_path / "c") == before
    assert rows(tmp_path / "c", "select lattice_most_steps from models") == [(2,)]
