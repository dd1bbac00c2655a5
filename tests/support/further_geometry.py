"""The further figures from `singles_l2_min_mean_median_max` on, computed anew: distances, axes, pairs and logits.

As in `replica_figures`, nothing is imported from the product: numpy and scipy in fp64, and fractions for the mean of
the duplicates, that of the component, and bf16 products. Each figure is what its definition in the published table
says, before fp32 rounds it: distances are by differences, and where they aren't (see `_pair_blocks`) they are as
good. Medians are the lower one, standard deviations have n − 1 below, as torch's. What a matrix lacks is left out: its
duplicates, say, and what is measured from them, or token 317, which settles signs.
"""

import math
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist, pdist

from tests.support.exact import Floats, Ids, bf16_products, nearest_mean, to_bf16
from tests.support.further_entries import entry_figures
from tests.support.further_statistics import described, joined
from tests.support.replica_figures import Component, Matrix, Value

# Shells about the largest duplicate group, and about the duplicates' mean; a token on an edge is in the inner shell.
EDGES = (0.0, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.2, 1.5, np.inf)
MEAN_EDGES = (1e-5, 1e-4, 1e-3, 1e-2, 0.1)
N_NEAREST = 10_000
# The middle of the real matrix's void, as 13.2a has it.
VOID = 0.01214174
NOT_SINGLE = 83971
FROZEN = 1e-10
EPSILON = 1e-6
# The jet's bounds, and the token that settles the signs of PC4 and PC5.
JET, JET_TOKEN = (0.1, -0.05), 317
NEAREST_BELOW = (0.05, 0.1, 0.15, 0.2)
# Pairs whose square distance is below this share of their squares' sum are measured by differences: of the others,
# products lose 4 of fp64's 16 digits at most.
_NEAR = 1e-4
_BLOCK, _CHUNK = 512, 4096
# Of a sample of so many pairs, the share to either side of the median between which the median of all must be: 8 of its
# standard deviations.
_N_SAMPLED, _MIDDLE = 40_000, 0.02


def figures(matrix: Matrix, component: Component, tokenizer: Path) -> dict[str, Value]:
    """Return the figures of W (n_tokens, n_dims) bf16 by name; several numbers as text, as the published ones."""
    setting = Setting(matrix, component)
    return {
        **_singles(setting),
        **_shells(setting),
        **_void(setting),
        **_inside_the_void(setting),
        **_centred(setting),
        **_causal(setting),
        **_jet(matrix),
        **_frame(setting),
        **_spike(setting),
        **entry_figures(matrix, component, setting.places["component"], setting.distances["component"], tokenizer),
        **_logits(setting),
    }


class Centred(NamedTuple):
    """What is measured of W minus its mean row: `variances` (n_dims,), and three of each token (n_tokens,)."""

    norms: Floats
    largest: Floats
    causal_norms: Floats
    variances: Floats


class Setting:
    """A matrix, its component, and what several figures need of them: places, and each token's distances to them."""

    def __init__(self, matrix: Matrix, component: Component) -> None:
        """Find the tokens in duplicate groups, and the lowest of the largest group."""
        self.matrix, self.component = matrix, component
        _, counts, which = matrix.distinct
        self.duplicates: Ids = np.flatnonzero(counts[which] > 1)
        # argmax takes the lowest token of several as large.
        self.largest = int(np.argmax(counts[which])) if len(self.duplicates) else None

    def rows(self, tokens: Ids) -> Floats:
        """Return rows in fp64."""
        return self.matrix.W[tokens].double().numpy()

    @cached_property
    def places(self) -> dict[str, Floats]:
        """Return what tokens are measured from: fp32 means, each element the nearest to the exact one, and a row."""
        places = {"component": nearest_mean(self.matrix.W, self.component.tokens)}
        if self.largest is not None:
            places["duplicates"] = nearest_mean(self.matrix.W, self.duplicates)
            places["largest"] = self.rows(np.array([self.largest]))[0]
        return places

    @cached_property
    def distances(self) -> dict[str, Floats]:
        """Return every token's distance to each place, by differences."""
        found = {name: np.empty(len(self.matrix.W)) for name in self.places}
        for where, rows in self.matrix.chunks():
            for name, place in self.places.items():
                found[name][where] = np.linalg.norm(rows - place, axis=1)
        return found

    @cached_property
    def eigenvalues(self) -> Floats:
        """Return the eigenvalues of the covariance with N − 1 below, descending."""
        n_tokens = len(self.matrix.W)
        return self.matrix.components[0] * (n_tokens / (n_tokens - 1))

    @cached_property
    def centred(self) -> Centred:
        """Return what is measured of W minus its mean row, in one pass."""
        n_tokens, n_dims = self.matrix.W.shape
        whitening = (self.matrix.components[1] / np.sqrt(self.eigenvalues + EPSILON)[:, None]).T
        norms, largest, causal_norms = np.empty((3, n_tokens))
        squares = np.zeros(n_dims)
        for where, rows in self.matrix.chunks():
            rows -= self.matrix.mean
            norms[where] = np.linalg.norm(rows, axis=1)
            largest[where] = np.abs(rows).max(axis=1)
            causal_norms[where] = np.linalg.norm(rows @ whitening, axis=1)
            squares += np.einsum("ij,ij->j", rows, rows)
        return Centred(norms, largest, causal_norms, squares / (n_tokens - 1))


# --- pairs


def _singles(setting: Setting) -> dict[str, Value]:
    """Return 07.3f's figures of the component's tokens that no other is equal to."""
    tokens = np.setdiff1d(setting.component.tokens, [*setting.duplicates, NOT_SINGLE])
    if len(tokens) < 2:
        return {}
    rows = setting.rows(tokens)
    variances = np.linalg.svd(rows - rows.mean(axis=0), compute_uv=False) ** 2 / (len(rows) - 1)
    return {
        **described("singles_l2_min_mean_median_max", pdist(rows), ".6e"),
        **described("singles_l1_min_mean_median_max", pdist(rows, "cityblock"), ".6e"),
        **described("singles_linf_max", pdist(rows, "chebyshev"), ".6e"),
        "singles_frozen_dims": int((np.ptp(rows, axis=0) <= FROZEN).sum()),
        "singles_participation_ratio": float(variances.sum() ** 2 / (variances**2).sum()),
        "singles_total_variance": float(variances.sum()),
    }


def _spike(setting: Setting) -> dict[str, Value]:
    """Return the figures of distances among the spike's tokens, and from the others there to the component."""
    tokens = np.flatnonzero(setting.matrix.spike)
    if len(tokens) < 2:
        return {}
    rows = setting.rows(tokens)
    pairs = pair_statistics(rows, setting.matrix.distinct[2][tokens])
    outside = rows[~np.isin(tokens, setting.component.tokens)]
    to_component = [cdist(part, setting.rows(setting.component.vectors)).min(axis=1) for part in parts(outside)]
    return {
        "spike_pair_distance_median_mean_max": joined(pairs[:3], ".10f"),
        **described("spike_nearest_neighbour_mean_median_max", pairs.nearest, ".10f"),
        "spike_nearest_below_0.05_to_0.2": joined(int((pairs.nearest < bound).sum()) for bound in NEAREST_BELOW),
        **({"spike_singletons_farthest": float(np.concatenate(to_component).max())} if len(outside) else {}),
    }


def parts(rows: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
    """Return rows in parts of _CHUNK."""
    return [rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK)]


class Pairs(NamedTuple):
    """What is told of the distances of all pairs of rows: their lower median, mean and maximum; `nearest` (n_rows,)."""

    median: float
    mean: float
    largest: float
    nearest: Floats


def pair_statistics(rows: Floats, which: Ids) -> Pairs:
    """Return what is told of the distances of all pairs of rows (n, n_dims); `which` numbers the distinct ones.

    The median is exact, though few distances are kept: those between quantiles of a sample, by _MIDDLE to either side
    of its half. Were the median not among these, which it is but once in a great many samples, all are kept.
    """
    n_pairs = len(rows) * (len(rows) - 1) // 2
    for middle in (_MIDDLE, 0.5):
        low, high = np.quantile(_sample(rows), [0.5 - middle, 0.5 + middle]) if middle < 0.5 else (0.0, np.inf)
        nearest = np.full(len(rows), np.inf)
        sums, kept, n_below, largest = [], [], 0, 0.0
        for start, found in _pair_blocks(rows, which):
            block = slice(start, start + len(found))
            nearest[block] = np.minimum(nearest[block], found.min(axis=1))
            nearest[start:] = np.minimum(nearest[start:], found.min(axis=0))
            values = found[found < np.inf]
            sums.append(float(values.sum()))
            largest = max(largest, float(values.max(initial=0)))
            n_below += int((values < low).sum())
            kept.append(values[(low <= values) & (values <= high)])
        inside, rank = np.concatenate(kept), (n_pairs - 1) // 2 - n_below
        if 0 <= rank < len(inside):
            break
    inside.partition(rank)
    return Pairs(float(inside[rank]), math.fsum(sums) / n_pairs, largest, nearest)


def _sample(rows: Floats) -> Floats:
    """Return the distances of some pairs, drawn evenly."""
    i, step = np.random.default_rng(0).integers([len(rows), len(rows) - 1], size=(_N_SAMPLED, 2)).T
    j = (i + 1 + step) % len(rows)
    return np.concatenate([np.linalg.norm(rows[a] - rows[b], axis=1) for a, b in zip(parts(i), parts(j), strict=True)])


def _pair_blocks(rows: Floats, which: Ids) -> Iterator[tuple[int, Floats]]:
    """Yield, for _BLOCK rows from one on, their distances to all rows from that one on; ∞ for pairs not of i < j.

    Products do, ‖a‖² + ‖b‖² − 2ab in fp64, for pairs that aren't _NEAR each other; the others are measured by
    differences, those of two distinct rows once a block.
    """
    squares = np.einsum("ij,ij->i", rows, rows)
    for start in range(0, len(rows), _BLOCK):
        block = slice(start, start + _BLOCK)
        sums = squares[block, None] + squares[start:]
        found = sums - 2 * (rows[block] @ rows[start:].T)
        i, j = np.nonzero(found <= _NEAR * sums)
        found[i, j] = _squared_differences(rows, which, start + i, start + j)
        np.sqrt(found, out=found)
        found[np.tril_indices(len(found))] = np.inf
        yield start, found


def _squared_differences(rows: Floats, which: Ids, i: Ids, j: Ids) -> Floats:
    """Return ‖rows[i] − rows[j]‖²."""
    _, one, back = np.unique(which[i] * (which.max() + 1) + which[j], return_index=True, return_inverse=True)
    squares = np.empty(len(one))
    for start in range(0, len(one), _CHUNK):
        part = one[start : start + _CHUNK]
        squares[start : start + _CHUNK] = ((rows[i[part]] - rows[j[part]]) ** 2).sum(axis=1)
    return squares[back]


# --- distances to places


def _shells(setting: Setting) -> dict[str, Value]:
    """Return the figures of distances to the largest group, and to the duplicates' mean."""
    if setting.largest is None:
        return {}
    from_largest, from_mean = (setting.distances[name] for name in ("largest", "duplicates"))
    found: dict[str, Value] = {
        "duplicate_mean_centred_norm": float(np.linalg.norm(setting.places["duplicates"] - setting.matrix.mean)),
        "shell_tokens_from_largest_group": shells(from_largest, EDGES),
        **described("distance_from_largest_group_max", from_largest, ""),
        "shell_tokens_from_duplicate_mean": shells(from_mean, MEAN_EDGES),
    }
    if len(from_mean) >= N_NEAREST:
        found["radius_of_nearest_10000"] = float(np.sort(from_mean)[N_NEAREST - 1])
    return found


def shells(distances: Floats, edges: tuple[float, ...]) -> str:
    """Return how many distances are in each shell, the lower edge excluded, the upper one included."""
    shell = np.searchsorted(edges, distances, side="left")
    return joined(int((shell == k).sum()) for k in range(1, len(edges)))


def _void(setting: Setting) -> dict[str, Value]:
    if setting.largest is None:
        return {}
    nearest = np.sort(setting.distances["duplicates"])[:N_NEAREST]
    rank = widest(nearest)
    return {"void_after_rank": rank, "void_from_to": joined(nearest[[rank - 1, rank]].tolist(), ".6e")}


def widest(ascending: Floats) -> int:
    """Return how many of two values or more are before the largest gap, the first one of several as large.

    >>> widest(np.array([0.0, 1.0, 3.0, 4.0, 6.0]))
    2
    """
    return int(np.argmax(np.diff(ascending))) + 1


def _inside_the_void(setting: Setting) -> dict[str, Value]:
    """Return 13.2's figures of the tokens nearer to the duplicates' mean than VOID: of their distinct rows, that is."""
    if setting.largest is None:
        return {}
    first, _, which = setting.matrix.distinct
    tokens = first[np.unique(which[setting.distances["duplicates"] < VOID])]
    found: dict[str, Value] = {"void_inside_rows": len(tokens)}
    if len(tokens) < 2:
        return found
    rows = setting.rows(tokens)
    # Values, not bits: np.unique takes -0.0 for 0.0.
    n_values = np.array([len(np.unique(column)) for column in rows.T])
    return {
        **found,
        "void_inside_patterns_min_max": joined([n_values.min(), n_values.max()]),
        **described("void_inside_linf_max", pdist(rows, "chebyshev"), ""),
        "void_inside_outliers": joined(np.sort(tokens[outliers(rows)]).tolist()),
        "void_inside_values": len(np.unique(rows)),
    }


def outliers(rows: Floats) -> Ids:
    """Return which rows are beyond the largest gap in the L∞ distances to the rows' mean."""
    away = np.abs(rows - rows.mean(axis=0)).max(axis=1)
    order = np.argsort(away, kind="stable")
    return order[widest(away[order]) :]


# --- the mean, and the axes


def _centred(setting: Setting) -> dict[str, Value]:
    centred = setting.centred
    return {
        **described("centred_norm_mean_std_min_max", centred.norms, ".6f"),
        **described("centred_norm_median", centred.norms, ".6f"),
        **described("dim_variance_min_max", centred.variances, ".8f"),
        # Of tokens at the percentile itself, equal rows say, none is below it.
        "max_abs_spike_tokens": int((centred.largest < np.percentile(centred.largest, 1)).sum()),
    }


def _causal(setting: Setting) -> dict[str, Value]:
    """Return the figures of the metric (C + εI)⁻¹, C with N − 1 below."""
    own = 1 / (setting.eigenvalues + EPSILON)
    return {
        "eigenvalues_6_to_9": joined(setting.eigenvalues[5:9].tolist(), ".6e"),
        "causal_condition_number": float(own.max() / own.min()),
        **described("causal_eigenvalue_max_min", own, ".4f"),
        **described("causal_norm_mean_std_min_max", setting.centred.causal_norms, ".4f"),
    }


def _jet(matrix: Matrix) -> dict[str, Value]:
    if len(matrix.W) <= JET_TOKEN or len(matrix.mean) < 5:
        return {}
    along = matrix.leading[:, 3:5] - matrix.components[1][3:5] @ matrix.mean
    pc4, pc5 = (along * np.copysign(1.0, along[JET_TOKEN] * [1, -1])).T
    tokens = np.flatnonzero((pc4 > JET[0]) & (pc5 < JET[1]))
    if not len(tokens):
        return {"jet_tokens": 0}
    centre = matrix.W[tokens].double().mean(dim=0).numpy()
    return {
        "jet_tokens": len(tokens),
        "jet_centroid_norm": float(np.linalg.norm(centre)),
        "jet_angle_to_mean": angle(centre, matrix.mean),
    }


def angle(a: Floats, b: Floats) -> float:
    """Return the angle between two vectors in degrees, well-conditioned where they are nearly parallel, too.

    >>> round(angle(np.array([2.0, 0.0]), np.array([1.0, 1.0])), 9)
    45.0
    """
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    return float(np.degrees(2 * np.arctan2(np.linalg.norm(a - b), np.linalg.norm(a + b))))


def _frame(setting: Setting) -> dict[str, Value]:
    """Return the ends of x (PC1), y (PC3) and z (PC2) about the component's mean, with the sky's signs."""
    matrix = setting.matrix
    places = matrix.leading[:, [0, 2, 1]] - matrix.components[1][[0, 2, 1]] @ setting.places["component"]
    return {"cluster_frame_x_y_z": joined(np.stack([places.min(axis=0), places.max(axis=0)], axis=1).ravel(), ".6f")}


# --- logits


def _logits(setting: Setting) -> dict[str, Value]:
    centre = setting.places["component"]
    towards = centre / np.linalg.norm(centre)
    logits = np.concatenate([rows @ towards for _, rows in setting.matrix.chunks()])
    return {
        "pc1_logit_component_value": _pc1_values(setting),
        **described("centroid_logit32_component_min_max", logits[setting.component.tokens], ".10f"),
        **described("centroid_logit32_max_min", logits, ".10f"),
    }


def _pc1_values(setting: Setting) -> Value:
    """Return the bf16 product of the component's tokens with PC1 in bf16, its sign the component's; all that occur."""
    pc1 = setting.matrix.components[1][0]
    pc1 = pc1 * np.copysign(1.0, pc1 @ setting.places["component"])
    values = np.unique(bf16_products(setting.rows(setting.component.vectors), to_bf16(pc1))).tolist()
    return values[0] if len(values) == 1 else joined(values, ".10f")
