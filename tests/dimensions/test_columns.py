"""The table `dimensions` beside naive columns: NumPy's unique values, and moments in exact fractions."""

from fractions import Fraction
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.helpers import bf16_matrix, ingest_bare, rows
from token_catalog.ingest.add_references import add_references
from token_catalog.ingest.dimensions import columns as columns_module
from token_catalog.ingest.dimensions.columns import column_values
from token_catalog.ingest.recipe.recipe import LinkageDistances, parse_recipe
from token_catalog.ingest.relink import relink

pytestmark = pytest.mark.usefixtures("tables_only")

EXACT = "dim, least, most, n_values, n_lattice, extent_steps"
SUBNORMAL = 2.0**-133


def awkward(dtype: torch.dtype) -> torch.Tensor:
    """Return a matrix with a frozen column, zeros of both signs, subnormals, sign changes, equal rows, and NaN rows."""
    W = bf16_matrix(90, 9).to(dtype)
    W[:, 0] = 0.375
    W[:, 1] = torch.tensor([0.0, -0.0, 1.0]).repeat(30)
    W[:, 2] = torch.tensor([-0.0, -0.0, -0.0]).repeat(30)
    W[:, 3] = (torch.arange(90) % 7 - 3) * SUBNORMAL
    W[:, 4] = torch.tensor([-1.0, 1.0]).repeat(45)
    W[:, 5] = torch.finfo(dtype).max * torch.tensor([-1.0, 1.0, 0.5]).repeat(30) if dtype != torch.float32 else 3.0
    W[50:60] = W[7]
    W[20, 8], W[21, 0], W[22, 4] = torch.nan, torch.inf, -torch.inf
    return W


def naive(W: torch.Tensor) -> list[tuple[Any, ...]]:
    """Return the exact columns of `dimensions`, with lattice points as the contract defines them."""
    finite = W[torch.isfinite(W).all(dim=1)]
    lines = []
    for dim, values in enumerate(finite.T):
        different = np.unique(values.double().numpy() + 0.0)
        points: set[int] = set()
        if W.dtype == torch.bfloat16:
            bits = [int(b) for b in values.view(torch.int16)]
            points = {b if b >= 0 else -32768 - b for b in bits}
        lattice = (len(points), max(points) - min(points)) if points else (None, None)
        lines.append((dim, different[0], different[-1], len(different), *lattice))
    return lines


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=["bf16", "fp16", "fp32"])
def test_values_are_counted_as_numpy_counts_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype
) -> None:
    W = awkward(dtype)
    for name, n_bytes in (("whole", 1 << 20), ("cut", 2 * 90 * 2)):
        monkeypatch.setattr(columns_module, "COLUMNS_BYTES", n_bytes)
        monkeypatch.setattr(columns_module, "ROWS_BYTES", n_bytes // 40)
        ingest_bare(tmp_path / "c", W, name, with_vectors=False)
        found = rows(tmp_path / "c", f"select {EXACT} from dimensions where model = '{name}' order by dim")
        assert found == naive(W)
    assert not any(np.signbit(value) for line in found for value in line if value == 0)


def test_every_finite_bf16_is_one_value_and_zero_is_one() -> None:
    """All 65,280 finite patterns in a column, of which two are zero: 65,279 values, as many lattice steps less one."""
    patterns = torch.arange(-32768, 32768, dtype=torch.int32).to(torch.int16).view(torch.bfloat16)
    W = patterns[torch.randperm(65536, generator=torch.Generator().manual_seed(0))][:, None].repeat(1, 3)
    found = column_values(W, torch.isfinite(W).all(dim=1).numpy())
    assert found.n_values.tolist() == [65_279] * 3
    assert found.extent is not None
    assert found.extent.tolist() == [65_278] * 3
    assert found.most.tolist() == (-found.least).tolist() == [torch.finfo(torch.bfloat16).max] * 3


def test_means_and_deviations_are_those_of_exact_fractions(tmp_path: Path) -> None:
    W = torch.cat([bf16_matrix(200, 6), bf16_matrix(10, 6)[[3] * 10]])
    W[:, 2] = 0.1
    W[:, 5] += 8
    ingest_bare(tmp_path / "c", W, with_vectors=False)
    found = rows(tmp_path / "c", "select mean, std from dimensions order by dim")
    for (mean, std), values in zip(found, W.T.tolist(), strict=True):
        exact = sum(map(Fraction, values)) / len(values)
        variance = sum((Fraction(value) - exact) ** 2 for value in values) / len(values)
        assert mean == pytest.approx(float(exact), rel=1e-13)
        assert std == pytest.approx(sqrt(variance), rel=1e-12)
    assert found[2] == (W[0, 2].item(), 0.0)


def test_permuting_rows_changes_nothing(tmp_path: Path) -> None:
    W = awkward(torch.bfloat16)
    ingest_bare(tmp_path / "c", W, "straight")
    ingest_bare(tmp_path / "c", W[torch.randperm(90, generator=torch.Generator().manual_seed(1))], "shuffled")
    query = "select {}, mean, std from dimensions where model = '{}' order by dim"
    straight, shuffled = (rows(tmp_path / "c", query.format(EXACT, name)) for name in ("straight", "shuffled"))
    assert [line[:6] for line in shuffled] == [line[:6] for line in straight]
    moments = [np.array([line[6:] for line in lines]) for lines in (straight, shuffled)]
    np.testing.assert_allclose(moments[1], moments[0], rtol=1e-12, atol=1e-18)


def test_they_stay_when_references_or_linkage_change(tmp_path: Path) -> None:
    ingest_bare(tmp_path / "c", bf16_matrix(60, 6), asked=LinkageDistances(0.1, 0.05))
    before = rows(tmp_path / "c", "from dimensions")
    relink(tmp_path / "c", "m", LinkageDistances(0.2))
    add_references(tmp_path / "c", "m", parse_recipe({"reference": [{"name": "h", "token": 3}]}))
    assert rows(tmp_path / "c", "from dimensions") == before
    assert len(before) == 6


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU at hand")
def test_a_gpu_gives_the_same_values_as_the_cpu(tmp_path: Path) -> None:
    W = awkward(torch.bfloat16)
    for device in ("cpu", "cuda"):
        ingest_bare(tmp_path / "c", W, device, device=device)
    cpu, cuda = (
        rows(tmp_path / "c", f"select {EXACT}, mean, std from dimensions where model = '{device}' order by dim")
        for device in ("cpu", "cuda")
    )
    assert [line[:6] for line in cpu] == [line[:6] for line in cuda]
    np.testing.assert_allclose(
        np.array([line[6:] for line in cuda]), np.array([line[6:] for line in cpu]), rtol=1e-12, atol=1e-18
    )
