"""How far to link a model, and at which distance to call its tokens one component, where nobody has said.

The scale is the model's own: m, the median distance from a vector to its nearest other, of `SAMPLE` distinct vectors
(those of the lowest digests: a choice that depends on their values alone). Where most of them lie in tight clusters,
the median is these clusters' own; so where the 9th decile is over 4 times the median, it is m.

- The radius is m/3. Where comparing all with all on 128 components would take over 1e12 multiplications (from some
  88,000 vectors on), it is m/48, and a search tree does. To two digits.
- The threshold is 0.9 of the radius, to two digits. But where the largest component (of two vectors or more) then has
  a void (from one merge to the next, the distance doubles) with half its tokens or more joined below, the threshold
  lies in the topmost such void, at its geometric middle.

Distances decide, and they have the same bits on every device; operations are counted by a formula.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from heapq import nsmallest

import numpy as np

from ..arithmetic.arrays import Floats, Ids
from ..arithmetic.distances import Bounds, distances
from ..recipe.recipe import LinkageDistances
from .projections import DistinctRows
from .single_linkage import Linkage

SAMPLE = 256
FRACTION, SMALL_FRACTION = 3, 48
OPERATIONS, OPERATIONS_WIDTH = 1e12, 128
CLUSTERED = 4.0
THRESHOLD_SHARE = 0.9
VOID = 2.0
# Where no two vectors differ, nothing depends on it.
ANY_RADIUS = 1.0


@dataclass(frozen=True)
class ChosenDistances:
    """The radius and the threshold in force, and in words how each was chosen."""

    radius: float
    threshold: float
    radius_rule: str
    threshold_rule: str

    def __str__(self) -> str:
        return (
            f"linked up to a distance of {self.radius:g} ({self.radius_rule}), "
            f"components at {self.threshold:g} ({self.threshold_rule})"
        )

    def as_row(self) -> dict[str, object]:
        """Return what `models` says of them."""
        return {
            "linkage_radius": self.radius,
            "linkage_threshold": self.threshold,
            "linkage_rule": f"radius: {self.radius_rule}; threshold: {self.threshold_rule}",
        }

    def with_rule(self, rule: str, names: Iterable[str]) -> "ChosenDistances":
        """Return them with another word for how some of them (radius, threshold) were chosen."""
        rules = {"radius": self.radius_rule, "threshold": self.threshold_rule} | dict.fromkeys(names, rule)
        return replace(self, radius_rule=rules["radius"], threshold_rule=rules["threshold"])


def sample_by_digest(digests: list[bytes], ids: Ids) -> Ids:
    """Return the sample: indices of the vectors (`ids`, their rows) that have the lowest of all rows' digests."""
    return np.array(nsmallest(SAMPLE, range(len(ids)), key=lambda index: digests[ids[index]]), dtype=np.int32)


def choose_distances(vectors: DistinctRows, asked: LinkageDistances) -> ChosenDistances:
    """Return the radius and threshold to link with: those asked for, and by the rule what isn't."""
    if asked.radius is not None:
        radius, radius_rule = asked.radius, "given"
    else:
        radius, radius_rule = _radius(vectors)
    if asked.threshold is None:
        return ChosenDistances(
            radius, _two_digits(THRESHOLD_SHARE * radius), radius_rule, f"{THRESHOLD_SHARE:g} of the radius"
        )
    if asked.threshold > radius:
        radius = _two_digits(asked.threshold / THRESHOLD_SHARE)
        radius_rule = f"the threshold / {THRESHOLD_SHARE:g}"
    return ChosenDistances(radius, asked.threshold, radius_rule, "given")


def threshold_in_gap(chosen: ChosenDistances, linkage: Linkage, counts: Ids) -> ChosenDistances:
    """Return the distances with the threshold in the topmost void of the largest component, if that has one."""
    component = linkage.components(chosen.threshold)
    # Of those with a merge: a group of equal rows has none, however large.
    merging = np.bincount(component) > 1
    sizes = np.bincount(component, weights=counts) * merging
    largest = sizes.argmax()
    inside = component == largest
    heights = np.sort(linkage.height[inside])
    heights = heights[heights < chosen.threshold]
    for below, above in zip(heights[-2::-1], heights[:0:-1], strict=True):
        if above < VOID * below:
            continue
        parts = linkage.components(above)[inside]
        if 2 * np.bincount(parts, weights=counts[inside]).max() >= sizes[largest]:
            threshold = _two_digits(np.sqrt(below * above))
            rule = f"in the topmost void of the largest component, from {below:.2g} to {above:.2g}"
            return replace(chosen, threshold=threshold, threshold_rule=rule)
    return chosen


def gap(vectors: DistinctRows) -> tuple[float, str]:
    """Return the distance from a vector to its nearest other one that is usual outside clusters, and what it is.

    It is inf where there is no other.
    """
    if len(vectors) < 2:
        return np.inf, "median"
    nearest = _nearest_distances(vectors)
    median, decile = float(np.median(nearest)), float(np.quantile(nearest, 0.9, method="higher"))
    return (decile, "9th decile of the") if decile > CLUSTERED * median else (median, "median")


def _radius(vectors: DistinctRows) -> tuple[float, str]:
    scale, name = gap(vectors)
    if not np.isfinite(scale):
        return ANY_RADIUS, "any: there are no two different vectors"
    operations = len(vectors) ** 2 * min(vectors.W.shape[1], OPERATIONS_WIDTH)
    fraction = FRACTION if operations <= OPERATIONS else SMALL_FRACTION
    rule = f"1/{fraction} of {scale:.3g}, the {name} distance to the nearest vector of {len(vectors.sample)} sampled"
    return _two_digits(scale / fraction), rule


def _nearest_distances(vectors: DistinctRows) -> Floats:
    """Return the distance of each sampled vector from its nearest other one."""
    sample = Bounds(vectors.rows(vectors.sample))
    surely = np.full(len(vectors.sample), np.inf)
    open_pairs: list[tuple[Ids, Ids, Floats]] = []
    for part, rows in vectors.blocks():
        least, most = (bound.cpu().numpy() for bound in sample.to(Bounds(rows)))
        itself = np.flatnonzero((vectors.sample >= part.start) & (vectors.sample < part.stop))
        for bound in (least, most):
            bound[itself, vectors.sample[itself] - part.start] = np.inf
        surely = np.minimum(surely, most.min(axis=1))
        i, j = (least <= surely[:, None]).nonzero()
        open_pairs.append((i.astype(np.int32), (j + part.start).astype(np.int32), least[i, j]))
    i, j, least = (np.concatenate(parts) for parts in zip(*open_pairs, strict=True))
    left = least <= surely[i]
    nearest = np.full(len(surely), np.inf)
    exact = distances(vectors.W, vectors.ids[vectors.sample[i[left]]], vectors.ids[j[left]])
    np.minimum.at(nearest, i[left], exact)
    return nearest


def _two_digits(value: float) -> float:
    return float(f"{value:.2g}")
