"""The further published figures about bits, exponents, lattices and extents, computed anew, and not by the product.

`figures(matrix, component)` computes, from their definitions in the published table, those from
`exponent_neighbourhood_tokens` to `component_farthest_pair` that a matrix of that shape has. What the definitions call
row 80091 (or 149415) is the largest duplicate group's: of several as large, that with the lowest token. The groups'
rows go by their sizes, descending, then by their lowest tokens.
"""

from collections.abc import Iterable
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch
from scipy.sparse.csgraph import minimum_spanning_tree

from tests.support.bf16_rows import (
    Ints,
    Rows,
    bits_of,
    components_of,
    euclidean,
    exponents,
    histogram,
    listed,
    over_pairs,
    own_ulps,
    pairs_of,
    participation_ratio,
)
from tests.support.exact import Floats, Ids, nearest_mean
from tests.support.further_extents import component_figures, extent_figures
from tests.support.replica_figures import Component, Matrix, Value

# Exponents of the neighbourhood differ by so much at most.
NEIGHBOURHOOD = 5
SHELLS = (0, 5e-5, 1e-4, 5e-4, 1e-3, 5e-3, 1e-2)
OORT = (0.005, 0.05)
CUCKOO = (1e-4, 1e-3)
# Of the groups, those that the study took for its four sites: tokens 80091, 125, 124 and 123939.
SITES = (0, 1, 2, 4)
THRESHOLDS = (1, 2, 3, 4, 5, 6, 7, 8, 16, 64, 127)
_HEAD = 16  # dimensions that rows are looked for in, before all are


def figures(matrix: Matrix, component: Component) -> dict[str, Value]:
    """Return the figures of a matrix by name; lists and histograms as text, and what it lacks left out."""
    places = Places(matrix)
    if not len(places.groups):
        return {}
    found = exponent_figures(places) | largest_group_figures(places)
    found |= group_figures(places) | group_distance_figures(places) | spread_figures(places)
    found |= neighbourhood_figures(places.neighbourhood) | flood_figures(places)
    found |= shell_figures(places) | oort_figures(places)
    found |= extent_figures(Rows.among(matrix, np.flatnonzero(places.exponent_distances == 0)))
    found |= component_figures(matrix, component.tokens, places.largest)
    return {name: value for name, value in found.items() if value != ""}


class Places:
    """A matrix, its duplicate groups, and how far every token is from the largest one's row."""

    def __init__(self, matrix: Matrix) -> None:
        """Order the groups."""
        first, counts, _ = matrix.distinct
        several = np.flatnonzero(counts > 1)
        several = several[np.lexsort((first[several], -counts[several]))]
        self.matrix = matrix
        self.groups = Rows(matrix.W, first[several], counts[several])

    @property
    def largest(self) -> int:
        """Return the lowest token of the largest group."""
        return int(self.groups.tokens[0])

    @property
    def duplicates(self) -> Ids:
        """Return the tokens of all groups."""
        return np.flatnonzero(self.matrix.distinct[1][self.matrix.distinct[2]] > 1)

    @cached_property
    def exponent_distances(self) -> Ints:
        """Return for each token the largest difference of an exponent from the largest group's."""
        own = exponents(self.groups.bits[0])
        parts = (exponents(bits_of(part)) for part in torch.split(self.matrix.W, 4096))
        return np.concatenate([np.abs(part - own).max(axis=1) for part in parts])

    @cached_property
    def neighbourhood(self) -> Rows:
        """Return the distinct rows whose exponents are near the largest group's."""
        return Rows.among(self.matrix, np.flatnonzero(self.exponent_distances <= NEIGHBOURHOOD))

    def away(self, place: Floats) -> Floats:
        """Return every token's distance from a place, (n_tokens,)."""
        return np.concatenate([np.linalg.norm(rows - place, axis=1) for _, rows in self.matrix.chunks()])

    @cached_property
    def away_from_largest(self) -> Floats:
        """Return every token's distance from the largest group's row."""
        return self.away(self.groups.values[0])


# --- exponents, and the duplicate groups


def exponent_figures(places: Places) -> dict[str, Value]:
    """Return the tokens by how far their exponents are from the largest group's."""
    distances = places.exponent_distances
    return {
        "exponent_neighbourhood_tokens": listed(int((distances <= k).sum()) for k in range(21)),
        "exponent_distance_max": int(distances.max()),
    }


def largest_group_figures(places: Places) -> dict[str, Value]:
    """Return the figures of the largest group's row."""
    own, values = exponents(places.groups.bits[0]), places.groups.values[0]
    ulps = np.ldexp(1.0, np.maximum(own, 1) - 134)
    return {
        "largest_group_exponent_histogram": histogram(own),
        "largest_group_exponent_mean": float(own.mean()),
        "largest_group_exponent_std": float(own.std()),
        "largest_group_ulp_min": float(ulps.min()),
        "largest_group_ulp_max": float(ulps.max()),
        "largest_group_value_min": float(values.min()),
        "largest_group_value_max": float(values.max()),
    }


def group_figures(places: Places) -> dict[str, Value]:
    """Return what the groups' bits differ in."""
    bits = places.groups.bits
    patterns = np.array([len(set(column)) for column in bits.T.tolist()])
    found: dict[str, Value] = {
        "group_constant_dims": int((patterns == 1).sum()),
        "group_varying_dims": listed(np.flatnonzero(patterns > 1)),
        "group_patterns_per_varying_dim": histogram(patterns[patterns > 1]),
    }
    if len(bits) > 1:
        farthest, summed = over_pairs(bits, np.max), over_pairs(bits, np.sum)
        adjacent = summed[farthest == 1].astype(np.int64)
        found |= {
            "group_dims_that_differ_max": int(over_pairs(bits, np.count_nonzero).max()),
            "group_linf_bits_from_largest": listed(farthest[: len(bits) - 1].astype(np.int64)),
            "group_linf_bits_max": int(farthest.max()),
            "group_adjacent_pairs": len(adjacent),
            "group_adjacent_pairs_l1": listed(np.sort(adjacent)),
        }
    return found


def group_distance_figures(places: Places) -> dict[str, Value]:
    """Return the figures of distances between the groups' rows, as values."""
    values = places.groups.values
    if len(values) < 2:
        return {}
    found: dict[str, Value] = {}
    if len(values) > max(SITES):
        found["group_l2_four_largest_sites"] = _printed(over_pairs(values[list(SITES)], euclidean), "e")
    apart, farthest = over_pairs(values, euclidean), over_pairs(values, np.max)
    found |= {
        "group_l2_min": float(apart.min()),
        "group_l2_max": float(apart.max()),
        "group_l2_mean": float(apart.mean()),
        "group_linf_max": float(farthest.max()),
        "group_linf_min": float(farthest.min()),
        "group_linf_mean": float(farthest.mean()),
    }
    return found | ({"group_l2_std": float(apart.std(ddof=1))} if len(apart) > 1 else {})


def spread_figures(places: Places) -> dict[str, Value]:
    """Return how unequal the groups are, and in how many directions rows spread."""
    groups, W = places.groups, places.matrix.W
    sizes = np.sort(groups.counts)
    ranks = np.arange(1, len(sizes) + 1)
    gini = 2 * (ranks @ sizes) / (len(sizes) * sizes.sum()) - (len(sizes) + 1) / len(sizes)
    found: dict[str, Value] = {"group_gini": float(gini)}
    if len(groups) > 1:
        found["group_participation_ratio"] = participation_ratio(groups.values, np.ones_like(groups.counts))
        found["duplicate_tokens_participation_ratio"] = participation_ratio(groups.values, groups.counts)
    away = places.away(nearest_mean(W, places.duplicates))
    cuckoos = Rows.among(places.matrix, np.flatnonzero((CUCKOO[0] < away) & (away <= CUCKOO[1])))
    if len(cuckoos) > 1:
        found["cuckoo_participation_ratio"] = participation_ratio(cuckoos.values, cuckoos.counts)
    return found


# --- graphs on the exponent neighbourhood, and the flood


def neighbourhood_figures(rows: Rows) -> dict[str, Value]:
    """Return the figures of distances in own ulps: two rows may be 0 apart, and are then not connected."""
    if len(rows) < 2:
        return {}
    steps = over_pairs(own_ulps(rows.bits), np.max).astype(np.int64)
    graphs = {t: pairs_of(len(rows))[(steps >= 1) & (steps <= t)] for t in THRESHOLDS}
    bits = over_pairs(rows.bits, np.max)
    return {
        "nbhd_linf_lattice_max": float(steps.max()),
        "nbhd_linf_lattice_median": float(np.sort(steps)[(len(steps) - 1) // 2]),
        "nbhd_linf_lattice_pairs_at_1_to_5": listed(int((steps == k).sum()) for k in range(1, 6)),
        **graph_figures(len(rows), graphs[1], rows.counts),
        "nbhd_graph1_edges_by_l1": histogram(over_pairs(rows.bits, np.sum)[steps == 1]),
        "nbhd_linf_bits_max": int(bits.max()),
        "nbhd_graph_components_by_threshold": listed(
            len(set(components_of(len(rows), edges).tolist())) for edges in graphs.values()
        ),
        "nbhd_graph_edges_by_threshold": listed(map(len, graphs.values())),
        **connection(len(rows), steps),
    }


def graph_figures(n: int, edges: Ids, counts: Ids) -> dict[str, Value]:
    """Return the figures of a graph's components; by rows, descending, then tokens, then edges."""
    labels = components_of(n, edges)
    sizes = np.bincount(labels)
    tokens = np.bincount(labels, counts).astype(np.int64)
    inside = np.bincount(labels[edges[:, 0]], minlength=len(sizes))
    several = sorted(
        (-a, b, c) for a, b, c in zip(*(x.tolist() for x in (sizes, tokens, inside)), strict=True) if a > 1
    )
    return {
        "nbhd_graph1_edges": len(edges),
        "nbhd_graph1_components": len(sizes),
        "nbhd_graph1_component_rows": listed(-a for a, _, _ in several),
        "nbhd_graph1_component_tokens": listed(b for _, b, _ in several),
        "nbhd_graph1_component_edges": listed(c for _, _, c in several),
    }


def connection(n: int, steps: Ints) -> dict[str, Value]:
    """Return the fewest steps at which all rows are one component, if they ever are: pairs at 0 aren't connected."""
    weights = np.zeros((n, n))
    weights[np.triu_indices(n, 1)] = steps
    tree = minimum_spanning_tree(weights)  # it takes 0 for no edge
    return {"nbhd_graph_connected_at": int(tree.data.max())} if 0 < len(tree.data) == n - 1 else {}


class Vocabulary:
    """All distinct rows of a matrix, searched in own ulps."""

    def __init__(self, matrix: Matrix) -> None:
        """Take the first dimensions of all: few rows are near each other in these already."""
        self.W, (self.first, self.counts, self.which) = matrix.W, matrix.distinct
        self._head = own_ulps(bits_of(matrix.W[:, :_HEAD]))[self.first]

    def near(self, row: int, most: int) -> dict[int, int]:
        """Return the other rows in so many steps of one, and how many there are."""
        close = np.flatnonzero(np.abs(self._head - self._head[row]).max(axis=1) <= most)
        own, others = (own_ulps(bits_of(self.W[torch.from_numpy(self.first[at])])) for at in ([row], close))
        steps = np.abs(others - own).max(axis=1)
        return {int(i): int(n) for i, n in zip(close, steps, strict=True) if n <= most and i != row}

    def flood(self, seeds: Iterable[int]) -> list[int]:
        """Return the rows reached from some by steps of exactly 1, and those, ascending."""
        reached = set(seeds)
        front = set(reached)
        while front:
            found = {other for row in front for other, steps in self.near(row, 1).items() if steps == 1}
            front = found - reached
            reached |= front
        return sorted(reached)


def flood_figures(places: Places) -> dict[str, Value]:
    """Return what is reached from the groups, what is near that, and how near its exponents are to others."""
    vocabulary = Vocabulary(places.matrix)
    reached = vocabulary.flood(vocabulary.which[places.groups.tokens].tolist())
    away: dict[int, int] = {}
    for row in reached:
        for other, steps in vocabulary.near(row, 5).items():
            away[other] = min(steps, away.get(other, steps))
    outside = [steps for row, steps in away.items() if row not in set(reached)]
    mantissas = bits_of(places.matrix.W[torch.from_numpy(vocabulary.first[reached])]) & 0x7F
    margin = np.minimum(mantissas.min(axis=0), 127 - mantissas.max(axis=0))
    return {
        "flood_rows": len(reached),
        "flood_tokens": int(vocabulary.counts[reached].sum()),
        "flood_outside_within_2": sum(steps <= 2 for steps in outside),
        "flood_outside_within_5": len(outside),
        "flood_dims_near_exponent_boundary": listed(int((margin < edge).sum()) for edge in (10, 5)),
    }


# --- by distance from the largest group


def shell_figures(places: Places) -> dict[str, Value]:
    """Return the neighbourhood by distance from the largest group, and its norms."""
    rows = places.neighbourhood
    away, norms = places.away_from_largest[rows.tokens], np.linalg.norm(rows.values, axis=1)
    shells = [(a <= away) & (away < b) for a, b in pairwise(SHELLS)]
    found: dict[str, Value] = {
        "nbhd_shell_rows": listed(int(inside.sum()) for inside in shells),
        "nbhd_shell_tokens": listed(int(rows.counts[inside].sum()) for inside in shells),
        "nbhd_distance_max": float(away.max()),
        "nbhd_distance_mean": float(away.mean()),
        "nbhd_distance_percentiles": _printed(np.percentile(away, (50, 75, 90, 95, 99)), "f"),
    }
    if len(rows) > 1:
        measures = (norms.mean(), norms.std(ddof=1), norms.min(), norms.max())
        found["nbhd_norm_mean_std_min_max"] = _printed(measures, "f")
    return found


def oort_figures(places: Places) -> dict[str, Value]:
    """Return the tokens past the neighbourhood, the nearest first; of several as near, the lowest."""
    away = places.away_from_largest
    tokens = np.flatnonzero((OORT[0] <= away) & (away < OORT[1]))
    nearest = tokens[np.argsort(away[tokens], kind="stable")]
    return {"oort_tokens": len(tokens), "oort_first_20": listed(nearest[:20])}


def _printed(numbers: Iterable[float], style: str) -> str:
    """Return fractions as text, of six decimals as the published ones are, with an exponent (e) or without (f)."""
    return " ".join(f"{number:.6{style}}" for number in numbers)
