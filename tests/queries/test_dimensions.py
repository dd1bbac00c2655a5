"""`dimension_statistics`, in the real shell and from Python, beside NumPy on the cluster's own rows."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.helpers import bf16_matrix, in_shell, ingest_bare, rows, shell_run
from token_catalog.ingest.recipe.entries import Cluster
from token_catalog.ingest.recipe.recipe import Recipe

EXACT = "dim, least, most, n_values, n_lattice, extent_steps"
RECIPE = Recipe(clusters=(Cluster("odd", "token_id % 2 = 1"), Cluster("broken", "token_id = 20")))


def matrix() -> torch.Tensor:
    """Return rows of which some are equal, one is NaN, with zeros of both signs, subnormals and a frozen column."""
    W = bf16_matrix(60, 6)
    W[:, 0] = 0.375
    W[:, 1] = torch.tensor([0.0, 0.0, 1.0, -0.0]).repeat(15)
    W[:, 2] = (torch.arange(60) % 7 - 3) * 2.0**-133
    W[30:50] = W[7]
    W[20] = torch.nan
    W[21, 1] = torch.inf
    return W


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a catalog of one matrix in the three types, and of one without vectors."""
    catalog = tmp_path_factory.mktemp("dimensions") / "c"
    for name, dtype in (("bf16", torch.bfloat16), ("fp16", torch.float16), ("fp32", torch.float32)):
        ingest_bare(catalog, matrix().to(dtype), name, recipe=RECIPE)
    ingest_bare(catalog, matrix(), "bare", recipe=RECIPE, with_vectors=False)
    return catalog


def lattice(value: float) -> int:
    """Return a bf16 value's place among all, from its bits."""
    bits = int(torch.tensor(value, dtype=torch.bfloat16).view(torch.int16))
    return bits if bits >= 0 else -32768 - bits


def naive(W: torch.Tensor, ids: list[int]) -> list[tuple[Any, ...]]:
    """Return the exact columns for some tokens, and then mean and deviation."""
    chosen = W[ids]
    values = chosen[torch.isfinite(chosen).all(dim=1)].double().numpy() + 0.0
    lines = []
    for dim, column in enumerate(values.T):
        least, most, n = column.min(), column.max(), len(np.unique(column))
        steps = (n, lattice(most) - lattice(least)) if W.dtype == torch.bfloat16 else (None, None)
        lines.append((dim, least, most, n, *steps, column.mean(), column.std()))
    return lines


def check(found: list[tuple[Any, ...]], expected: list[tuple[Any, ...]]) -> None:
    """Compare the exact columns exactly, the moments to a few last bits."""
    assert [line[:6] for line in found] == [line[:6] for line in expected]
    moments = [np.array([line[6:] for line in lines]) for lines in (found, expected)]
    np.testing.assert_allclose(moments[0], moments[1], rtol=1e-12, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=["bf16", "fp16", "fp32"])
def test_a_clusters_statistics_are_numpys_of_its_finite_rows(known: Path, dtype: torch.dtype) -> None:
    """Of 29 finite odd rows, 11 are equal: those count once among values, and 11 times in the mean."""
    model = {torch.bfloat16: "bf16", torch.float16: "fp16", torch.float32: "fp32"}[dtype]
    W, odd = matrix().to(dtype), [*range(1, 60, 2)]
    query = f"select {EXACT}, mean, std from dimension_statistics('odd')"
    check(rows(known, query, model), naive(W, odd))
    found = in_shell(known, f"set variable model = '{model}'; {query};")
    check([tuple(row.values()) for row in found], naive(W, odd))


def test_duplicates_of_a_cluster_are_weighted_by_those_within_it(known: Path) -> None:
    """`duplicate:7` has rows 7 and 30 to 49, which are one vector: no dimension varies."""
    found = rows(
        known,
        "select least = most and mean = most and std = 0 and n_values = 1, extent_steps "
        "from dimension_statistics('duplicate:7')",
        "bf16",
    )
    assert found == [(True, 0)] * 6


def test_null_asks_of_the_whole_matrix(known: Path) -> None:
    query = "from dimension_statistics(null) order by all"
    assert rows(known, query) == rows(known, "from dimensions order by all")
    assert {line[0] for line in rows(known, query)} == {"bf16", "fp16", "fp32", "bare"}
    check(
        rows(known, f"select {EXACT}, mean, std from dimension_statistics(null)", "bf16"), naive(matrix(), [*range(60)])
    )


def test_a_cluster_of_all_tokens_has_the_statistics_of_the_whole(tmp_path: Path) -> None:
    W = bf16_matrix(80, 5)
    W[3] = W[9]
    ingest_bare(tmp_path / "c", W, recipe=Recipe(clusters=(Cluster("all", "true"),)))
    query = f"select {EXACT}, mean, std from dimension_statistics({{}})"
    check(rows(tmp_path / "c", query.format("'all'")), rows(tmp_path / "c", query.format("null")))


def test_frozen_dimensions_are_a_group_by(known: Path) -> None:
    """Odd rows hold 0.0 and -0.0 in the second column, which are one value, and seven in the third."""
    query = "select n_values, count(*) from dimension_statistics('odd') where dim < 3 group by n_values order by all"
    assert rows(known, query, "bf16") == [(1, 2), (7, 1)]


@pytest.mark.parametrize(
    ("model", "cluster", "message"),
    [
        ("bf16", "'ood'", "has a cluster 'ood' with a token in it; `from clusters` lists them"),
        ("bf16", "'broken'", "the cluster has no finite row in vectors of bf16"),
        ("bare", "'odd'", "no finite row in vectors of bare (a model ingested with --no-vectors has none)"),
    ],
)
def test_what_has_no_statistics_is_an_error(known: Path, model: str, cluster: str, message: str) -> None:
    done = shell_run(known, f"set variable model = '{model}'; from dimension_statistics({cluster});")
    assert message in done.stderr
