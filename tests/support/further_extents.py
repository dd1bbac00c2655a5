"""The further published figures about what each dimension holds, and how far the component's rows are apart.

They are part of `further_lattice.figures`.
"""

import numpy as np

from tests.support.bf16_rows import (
    Rows,
    components_of,
    euclidean,
    histogram,
    lattice,
    listed,
    over_pairs,
    pairs_of,
)
from tests.support.exact import Floats, Ids, exact_sum, to_bf16
from tests.support.replica_figures import Matrix, Value

# The study's unit: the last place of its row's median absolute value.
UNIT = 2.0**-16
CORE = 3.0
_MOST_COUNTED = 10


def extent_figures(core: Rows) -> dict[str, Value]:
    """Return the figures of the rows with the largest group's exponents: extents of bits, as unsigned integers."""
    extents = core.bits.max(axis=0) - core.bits.min(axis=0)
    return {
        "core52_extent_histogram": histogram(extents),
        "core52_varying_dims": int((extents > 0).sum()),
        "core52_rows": len(core),
    }


def component_figures(matrix: Matrix, tokens: Ids, largest: int) -> dict[str, Value]:
    """Return the figures of the largest component, by its tokens; `largest` is the largest duplicate group's lowest."""
    rows = Rows.among(matrix, tokens)
    centre = matrix.W[largest].double().numpy()
    inside = np.abs(rows.values - centre).max(axis=1) <= CORE * UNIT
    core = Rows(matrix.W, rows.tokens[inside], rows.counts[inside])
    numbers = matrix.distinct[2]
    aside = tokens[~np.isin(numbers[tokens], numbers[core.tokens])]
    return {
        **dimension_figures(rows.values),
        **shell_figures(rows.values, centre, rows.counts),
        "component_core3_tokens": int(core.counts.sum()),
        "component_core3_outside": listed(aside),
        **(face_figures(core) if len(core) else {}),
        **farthest_pair(rows),
    }


def dimension_figures(values: Floats) -> dict[str, Value]:
    """Return the figures of distinct values in each dimension of rows (n, n_dims), and of the gaps between them."""
    distinct = [np.unique(column) for column in values.T]
    n_values = np.array([len(found) for found in distinct])
    counts = [int((n_values == k).sum()) for k in range(1, _MOST_COUNTED + 1)]
    return {
        "component_values_per_dim": listed([*counts, int((n_values > _MOST_COUNTED).sum())]),
        "component_values_per_dim_max": int(n_values.max()),
        "component_gaps": int((n_values - 1).sum()),
        **gap_figures(distinct),
    }


def gap_figures(distinct: list[Floats]) -> dict[str, Value]:
    """Return the figures of gaps, in units of their lower value's last place; one whose lower value is 0 has none."""
    gaps = np.concatenate([in_ulps_of(found) for found in distinct])
    if not len(gaps):
        return {}
    return {
        "component_gaps_integer_ulp": int((np.abs(gaps - np.rint(gaps)) < 1e-6).sum()),
        "component_gap_ulp_max": float(gaps.max()),
        "component_gaps_power_of_two": sum(map(n_by_powers_of_two, distinct)),
    }


def in_ulps_of(distinct: Floats) -> Floats:
    """Return the gaps between ascending values v in units of 2^(floor(log2 |v|) - 7).

    >>> in_ulps_of(np.array([-2.0, -1.0, 0.0, 1.0, 1.0078125])).tolist()
    [64.0, 128.0, 1.0]
    """
    lower, gaps = distinct[:-1], np.diff(distinct)
    _, above = np.frexp(lower)  # 2^(above - 1) <= |v| < 2^above
    units: Floats = np.ldexp(gaps, 8 - above)[lower != 0]
    return units


def n_by_powers_of_two(distinct: Floats) -> int:
    """Return how many of the gaps, taken in fp32, are the smallest times a power of two.

    >>> n_by_powers_of_two(np.array([0.0, 1.0, 3.0, 6.0, 10.0]))
    3
    """
    gaps = np.diff(distinct.astype(np.float32))
    significands, _ = np.frexp(gaps)
    return int((significands == significands[gaps.argmin()]).sum()) if len(gaps) else 0


def shell_figures(values: Floats, centre: Floats, counts: Ids) -> dict[str, Value]:
    """Return rows (n, n_dims) and their tokens by the largest difference from a centre, taken in bf16."""
    farthest = np.abs(to_bf16(values - centre)).max(axis=1)
    shells = np.rint(farthest / UNIT)
    return {
        "component_linf_shell_rows": histogram(shells),
        "component_linf_shell_tokens": histogram(shells, counts),
    }


def face_figures(core: Rows) -> dict[str, Value]:
    """Return the figures of the graph of rows that are one bf16 step apart, in one dimension alone."""
    edges = pairs_of(len(core))[over_pairs(lattice(core.bits), np.sum) == 1]
    return {
        "component_face_edges": len(edges),
        "component_face_components": len(set(components_of(len(core), edges).tolist())),
        "component_face_degree_histogram": histogram(np.bincount(edges.ravel(), minlength=len(core))),
    }


def farthest_pair(rows: Rows) -> dict[str, Value]:
    """Return the two rows with the largest distance; of several, exactly as far apart, the lowest tokens."""
    if len(rows) < 2:
        return {}
    apart = over_pairs(rows.values, euclidean)
    pairs = pairs_of(len(rows))[apart >= apart.max() * (1 - 1e-12)].tolist()
    squares = [exact_sum(((rows.values[a] - rows.values[b]) ** 2).tolist()) for a, b in pairs]
    return {"component_farthest_pair": listed(rows.tokens[pairs[squares.index(max(squares))]])}
