"""Principal components and the sky, against known answers and 80-bit arithmetic."""

import numpy as np
import pytest
import torch

from token_catalog.ingest.arithmetic.arrays import Floats
from token_catalog.ingest.arithmetic.components import (
    PrincipalComponents,
    principal_components,
    with_canonical_signs,
)
from token_catalog.ingest.arithmetic.sphere import spherical

Extended = np.ndarray[tuple[int, ...], np.dtype[np.longdouble]]


def components_of(X: Floats, chunk: int = 1000) -> PrincipalComponents:
    """Return the components of a matrix given in chunks."""
    rows = torch.from_numpy(X)
    return principal_components(lambda: rows.split(chunk), rows.mean(dim=0), len(rows))


def planted(eigenvalues: list[float], n_copies: int, seed: int) -> Floats:
    """Return fp32 values of rows ±√(λ·d)·q around a mean: their covariance has these eigenvalues to fp32's rounding."""
    rng = np.random.default_rng(seed)
    d = len(eigenvalues)
    Q = np.linalg.qr(rng.standard_normal((d, d)))[0]
    spread = Q * np.sqrt(np.array(eigenvalues) * d)
    rows = np.concatenate([spread.T, -spread.T] * n_copies) + 0.7 * Q[:, 0]
    return rows.astype(np.float32).astype(np.float64)


def refined(components: PrincipalComponents, X: Floats) -> Extended:
    """Return the eigenvectors (in rows) of X's covariance in 80-bit arithmetic, by Newton steps from fp64 ones."""
    L = X.astype(np.longdouble)
    L = L - L.mean(axis=0)
    C = L.T @ L / len(L)
    V = components.vectors.T.astype(np.longdouble)
    identity = np.eye(len(V), dtype=np.longdouble)
    for _ in range(6):
        V = V @ (1.5 * identity - 0.5 * (V.T @ V))
        M = V.T @ C @ V
        gaps = np.diag(M)[None, :] - np.diag(M)[:, None] + identity
        V = V + V @ (np.where(identity, 0, M) / gaps)
    return (V / np.sqrt((V**2).sum(axis=0))).T


def test_three_points_on_a_line_have_one_direction() -> None:
    """Mean (1, 0, 2); deviations ∓(1, 0, 1): λ₁ = (2 + 0 + 2)/3 along (1, 0, 1)/√2, positive on the mean's side."""
    found = components_of(np.array([[0.0, 0, 1], [1, 0, 2], [2, 0, 3]]))
    np.testing.assert_allclose(found.eigenvalues, [4 / 3, 0, 0], atol=1e-15)
    np.testing.assert_allclose(found.vectors[0], np.array([1, 0, 1]) / np.sqrt(2), atol=1e-15)
    np.testing.assert_allclose(found.variance_shares, [1, 0, 0], atol=1e-15)


@pytest.mark.parametrize("relative_gap", [1e-2, 1e-4, 1e-6])
def test_the_leading_directions_are_as_accurate_as_the_contract_says(relative_gap: float) -> None:
    leading = [1.0, 0.5, 0.5 - relative_gap, 0.3, 0.25, 0.2, 0.15, 0.1]
    X = planted([*leading, *np.linspace(0.01, 0.001, 16)], n_copies=40, seed=5)
    found = components_of(X)
    truth = refined(found, X)
    for i in range(8):
        direction = found.vectors[i].astype(np.longdouble)
        gap = min(abs(found.eigenvalues[i] - found.eigenvalues[j]) for j in (i - 1, i + 1) if j >= 0)
        bound = 1e-9 * max(1.0, 1e-6 * found.eigenvalues[0] / gap)
        angle = np.sqrt(((direction - truth[i] * np.sign(direction @ truth[i])) ** 2).sum())
        assert angle < bound, f"PC{i + 1}: {angle} rad at a gap of {gap}"


def test_chunks_change_no_leading_direction() -> None:
    X = planted([1.0, 0.5, 0.3, 0.2, 0.15, 0.1, 0.05, 0.03, 0.01], n_copies=30, seed=2)
    whole = components_of(X, chunk=len(X))
    for chunk in (1, 7, 100):
        np.testing.assert_allclose(components_of(X, chunk).vectors[:8], whole.vectors[:8], atol=1e-13)


def test_a_direction_across_the_mean_has_its_largest_part_positive() -> None:
    vectors = np.array([[0.0, -0.8, 0.6], [0.0, 0.6, 0.8], [-1.0, 0, 0]])
    got = with_canonical_signs(vectors, mean=np.array([2.0, 0, 0]))
    assert got.tolist() == [[0.0, 0.8, -0.6], [0.0, 0.6, 0.8], [1.0, 0.0, 0.0]]


def test_a_mean_of_zero_leaves_the_signs_to_the_largest_parts() -> None:
    assert with_canonical_signs(np.array([[-1.0, 0.0], [0.0, 1.0]]), np.zeros(2)).tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_rows_that_cancel_have_signs_by_their_largest_parts_in_any_order() -> None:
    rng = np.random.default_rng(3)
    half = rng.standard_normal((300, 6)) * 10.0 ** rng.integers(-6, 6, (300, 1))
    X = np.concatenate([half, -half])
    for _ in range(4):
        rng.shuffle(X)
        found = components_of(X, chunk=77)
        largest = np.take_along_axis(found.vectors, np.abs(found.vectors).argmax(axis=1)[:, None], axis=1)
        assert (largest > 0).all()


def test_of_two_parts_as_large_the_first_is_made_positive() -> None:
    half = np.sqrt(0.5)
    assert with_canonical_signs(np.array([[-half * (1 - 1e-14), half]]), np.zeros(2))[0, 0] > 0


def test_equal_eigenvalues_are_degenerate_and_others_are_not() -> None:
    found = PrincipalComponents(np.array([3.0, 2.0, 2.0, 1.0, 1.0 - 1e-8]), np.eye(5), np.zeros(5), np.ones(5))
    assert [found.degenerate(pc) for pc in range(1, 6)] == [False, True, True, False, False]


def test_the_sky_has_its_poles_its_meridian_and_no_place_at_the_origin() -> None:
    points = {
        (0.0, 0.0, 2.0): (2.0, 90.0, 0.0),
        (0.0, 0.0, -1.0): (1.0, -90.0, 0.0),
        (0.0, 3.0, 0.0): (3.0, 0.0, 90.0),
        (-1.0, 0.0, 0.0): (1.0, 0.0, 180.0),
        (1.0, -1.0, np.sqrt(2)): (2.0, 45.0, -45.0),
    }
    for (x, y, z), expected in points.items():
        np.testing.assert_allclose([a[0] for a in spherical(*(np.array([c]) for c in (x, y, z)))], expected, atol=1e-13)
    radius, lat, lon = spherical(np.zeros(1), np.zeros(1), np.zeros(1))
    assert radius[0] == 0
    assert np.isnan(lat[0])
    assert np.isnan(lon[0])
