"""The figures of a matrix, as they were published of Qwen3-4B-Instruct-2507: computed anew, and not by the product.

`figures(W, tokenizer_folder)` computes every figure of the published table that a matrix of that shape has, from its
definition there and catalog/README.md, section 6, with numpy, torch's fp64, scipy and exact fractions only; nothing is
imported from `ingest`, `catalog` or `queries`. What fp64 can't decide about a bf16 value, a distance or a mean,
fractions do.

`python -m tests.support.replica_figures W.safetensors TOKENIZER_FOLDER figures.csv` writes them as a table, with as
many digits as the published one shows.
"""

import csv
import math
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from tokenizers import Tokenizer
from torch import Tensor

from tests.support.exact import Floats, Ids, bf16_norms, bf16_products, bf16_quotient, nearest_mean, to_bf16

Value = int | float | str

_TABLES = Path(__file__).parents[2] / "queries" / "published"
PUBLISHED = _TABLES / "qwen3-4b-instruct-2507.csv"
# Its figures are computed by `further_lattice` and `further_geometry`.
FURTHER = _TABLES / "further-qwen3-4b-instruct-2507.csv"
# 1.4a looks there (degrees); token 124 settles the components' signs.
LAT, LON, ORIENT = -7.288, 6.941, 124
LINKED = 0.002
# The windows of 1.3c, 1.4c, 1.5d and 1.6a, and the first's token is the reference of 1.5d: latitude, longitude, side.
WINDOWS = {
    "0.001": (-7.2888, 6.9400, 0.0010),
    "0.2": (-7.289, 6.940, 0.2),
    "0.1": (-7.283405, 6.936738, 0.1),
    "3.0": (-7.289, 6.940, 3.0),
}
SPIKE = {"lat": (-15, 5), "lon": (-10, 20), "radius": (0.2, 0.5)}
# Figures of this sort are bf16 values, as printed, where they aren't counts.
_OF_BF16_VALUES = ("cosine_", "dot_", "self_dot_")
_CHUNK = 4096
# Components that neighbours are looked for in.
_N_LEADING = 8


def figures(W: Tensor, tokenizer: Path) -> dict[str, Value]:
    """Return the figures of W (n_tokens, n_dims) bf16 by name; bit patterns and measures as floats, lists as text."""
    found: dict[str, Value] = {"n_tokens": W.shape[0], "n_dims": W.shape[1]}
    matrix = Matrix(W)
    component = Component(matrix)
    found |= _lengths(matrix)
    found |= _spectrum(matrix)
    found |= _on_the_sky(matrix)
    found |= _duplicates(matrix)
    found |= _linked(matrix, component)
    found |= _seen(matrix)
    found |= _entries(tokenizer, component.tokens)
    return found


def write_figures(path: Path, W: Tensor, tokenizer: Path) -> Path:
    """Write the figures of W as a table."""
    return write_table(path, figures(W, tokenizer))


def write_table(path: Path, found: Mapping[str, Value], published_in: Path = PUBLISHED) -> Path:
    """Write figures as a table with the columns, rows and digits of a published one, but for rows that W lacks."""
    with (
        published_in.open(encoding="utf-8", newline="") as published,
        path.open("w", encoding="utf-8", newline="") as file,
    ):
        table = csv.DictReader(published)
        writer = csv.DictWriter(file, table.fieldnames or [], lineterminator="\n")
        writer.writeheader()
        for row in table:
            name = row["figure"]
            if name in found:
                like = None if name.startswith(_OF_BF16_VALUES) else row["published"]
                writer.writerow(row | {"published": printed(found[name], like)})
    return path


def printed(value: Value, like: str | None) -> str:
    """Return a value with the decimals of a published one; without one, as torch prints it, but for zeros at the end.

    >>> printed(0.0137, "0.01048719"), printed(0.232421875, None), printed(3, "2"), printed(2.0**-11, "7.45e-09")
    ('0.01370000', '0.23242188', '3', '4.88e-04')
    """
    if not isinstance(value, float):
        return str(value)
    if like is None:
        return f"{value:.8f}".rstrip("0")
    significand, e, _ = like.partition("e")
    return f"{value:.{len(significand.partition('.')[2])}{e or 'f'}}"


# --- the matrix


class Matrix:
    """W (n_tokens, n_dims) bf16, and what several figures need of it, in fp64."""

    def __init__(self, W: Tensor) -> None:
        """Wrap W."""
        self.W = W

    def chunks(self) -> Iterator[tuple[slice, Floats]]:
        """Give the rows in fp64, in chunks, and which they are."""
        for start in range(0, len(self.W), _CHUNK):
            rows = self.W[start : start + _CHUNK].double().numpy()
            yield slice(start, start + len(rows)), rows

    @cached_property
    def norms(self) -> Floats:
        """Return the rows' norms."""
        return np.concatenate([np.linalg.norm(rows, axis=1) for _, rows in self.chunks()])

    @cached_property
    def mean(self) -> Floats:
        """Return the mean row."""
        return np.sum([rows.sum(axis=0) for _, rows in self.chunks()], axis=0) / len(self.W)

    @cached_property
    def components(self) -> tuple[Floats, Floats]:
        """Return the eigenvalues of the covariance (1/N), descending, and its components in rows."""
        covariance = torch.zeros(2 * (len(self.mean),), dtype=torch.float64)
        for _, rows in self.chunks():
            centred = torch.from_numpy(rows - self.mean)
            covariance.addmm_(centred.T, centred)
        values, columns = np.linalg.eigh(covariance.numpy() / len(self.W))
        vectors = columns[:, ::-1].T.copy()
        own = vectors[:3] @ self.W[ORIENT].double().numpy()
        vectors[:3] *= (np.sign(own) * [1, -1, 1])[:, None]
        return values[::-1], vectors

    @cached_property
    def leading(self) -> Floats:
        """Return the uncentred rows' projections on the first components, (n_tokens, 8)."""
        basis = self.components[1][:_N_LEADING].T
        return np.concatenate([rows @ basis for _, rows in self.chunks()])

    @cached_property
    def sky(self) -> dict[str, Floats]:
        """Return lat and lon (degrees) and radius of every row; north is PC2, meridian PC1, equinox PC3."""
        x, z, y = self.leading[:, :3].T
        radius = np.sqrt(x**2 + y**2 + z**2)
        return {"lat": np.degrees(np.arcsin(z / radius)), "lon": np.degrees(np.arctan2(y, x)), "radius": radius}

    @cached_property
    def distinct(self) -> tuple[Ids, Ids, Ids]:
        """Return the first token of each distinct row, how many rows are equal to it, and for each row which it is."""
        numbers: dict[bytes, int] = {}
        plain = (self.W + 0.0).view(torch.uint8).numpy()  # -0.0 + 0.0 is 0.0
        which = np.array([numbers.setdefault(row.tobytes(), len(numbers)) for row in plain])
        _, first, counts = np.unique(which, return_index=True, return_counts=True)
        return first, counts, which

    @cached_property
    def spike(self) -> npt.NDArray[np.bool_]:
        """Return whether each row is in the spike."""
        return np.logical_and.reduce([(low <= self.sky[k]) & (self.sky[k] <= high) for k, (low, high) in SPIKE.items()])

    def window(self, name: str) -> Ids:
        """Return the tokens in a window, bounds inclusive."""
        lat, lon, diameter = WINDOWS[name]
        half, (lats, lons) = diameter / 2, (self.sky["lat"], self.sky["lon"])
        inside = (lat - half <= lats) & (lats <= lat + half) & (lon - half <= lons) & (lons <= lon + half)
        return np.flatnonzero(inside)

    def dots(self, h: Floats) -> Floats:
        """Return the bf16 nearest to each row's exact product with bf16(h)."""
        h16 = to_bf16(h)
        return np.concatenate([bf16_products(rows, h16) for _, rows in self.chunks()])

    def cosines(self, h: Floats) -> Floats:
        """Return the rows' bf16 cosines to h, each step rounded once: the norm, each quotient, the sum."""
        square = sum((Fraction(x) ** 2 for x in h.tolist()), Fraction(0))
        r16 = np.array([bf16_quotient(x, square) for x in h.tolist()])
        # fp64 quotients of bf16 values are as good as exact: none is nearer to a midpoint than 2⁻¹⁷, unless on it.
        found = [bf16_products(to_bf16(rows / bf16_norms(rows)[:, None]), r16) for _, rows in self.chunks()]
        return np.concatenate(found)


class Component:
    """The largest component at LINKED: its tokens, and what its distances are; and every token's component."""

    def __init__(self, matrix: Matrix) -> None:
        """Link all distinct rows: pairs near each other in the first components, then by their exact distances."""
        first, counts, which = matrix.distinct
        pairs = cKDTree(matrix.leading[first]).query_pairs(LINKED * (1 + 1e-6), output_type="ndarray")
        distances = _distances(matrix.W, first[pairs])
        edges = pairs[_below(matrix.W, first[pairs], distances)]
        graph = coo_array((np.ones(len(edges), np.int8), edges.T), shape=2 * (len(first),))
        _, labels = connected_components(graph, directed=False)
        self.labels = labels[which]
        sizes = np.bincount(self.labels)
        # Of several as large, the one with the lowest token.
        largest = self.labels[np.argmax(sizes[self.labels] == sizes.max())]
        self.tokens: Ids = np.flatnonzero(self.labels == largest)
        self.vectors = first[labels == largest]
        a, b = counts[edges[labels[edges[:, 0]] == largest]].T
        own = counts[labels == largest]
        self.n_edges = int((a * b).sum() + (own * (own - 1) // 2).sum())
        inside = np.array(np.triu_indices(len(self.vectors), 1)).T
        self.diameter = float(_distances(matrix.W, self.vectors[inside]).max(initial=0))
        self.gap = self._gap(matrix)

    def _gap(self, matrix: Matrix) -> float:
        """Return the distance to the nearest token outside, among those that the triangle inequality leaves."""
        outside = np.setdiff1d(np.arange(len(matrix.W)), self.tokens)
        centre = matrix.W[torch.from_numpy(self.vectors)].double().mean(dim=0).numpy()
        away = np.concatenate([np.linalg.norm(part - centre, axis=1) for _, part in matrix.chunks()])
        reach = away[self.vectors].max()
        near = outside[away[outside] <= away[outside].min() + 2 * reach + 1e-9]
        pairs = np.array([(i, j) for i in near for j in self.vectors])
        return float(_distances(matrix.W, pairs).min())


def _distances(W: Tensor, pairs: Ids) -> Floats:
    """Return the distances of pairs of tokens (n, 2), by differences in fp64."""
    found = [np.zeros(0)]
    for start in range(0, len(pairs), _CHUNK):
        a, b = (W[torch.from_numpy(side.copy())].double() for side in pairs[start : start + _CHUNK].T)
        found.append(torch.linalg.vector_norm(a - b, dim=1).numpy())
    return np.concatenate(found)


def _below(W: Tensor, pairs: Ids, distances: Floats) -> npt.NDArray[np.bool_]:
    """Return whether pairs (n, 2) are nearer than LINKED; those within 1e-12 of it by fractions."""
    below = distances < LINKED
    for i in np.flatnonzero(np.abs(distances - LINKED) <= LINKED * 1e-12):
        a, b = (W[token].double().tolist() for token in pairs[i])
        square = sum(((Fraction(x) - Fraction(y)) ** 2 for x, y in zip(a, b, strict=True)), Fraction(0))
        below[i] = square < Fraction(LINKED) ** 2
    return below


# --- the figures


def _lengths(matrix: Matrix) -> dict[str, Value]:
    norms = np.sort(matrix.norms)
    return {
        "norm_mean": float(norms.mean()),
        "norm_std": float(norms.std(ddof=1)),
        "norm_min": float(norms[0]),
        "norm_max": float(norms[-1]),
        "norm_median": float(norms[(len(norms) - 1) // 2]),
        "mean_vector_norm": float(np.linalg.norm(matrix.mean)),
    }


def _spectrum(matrix: Matrix) -> dict[str, Value]:
    values, _ = matrix.components
    total = values.sum()
    found = {f"eigenvalue_{k}": float(values[k - 1]) for k in (1, 2, 3, 4, 5, 10, 2560) if k <= len(values)}
    shares = {f"variance_share_first_{k}": float(values[:k].sum() / total) for k in (10, 100) if k <= len(values)}
    return found | {"variance_total": float(total)} | shares


def _on_the_sky(matrix: Matrix) -> dict[str, Value]:
    sky = matrix.sky
    found: dict[str, Value] = {f"{name}_mean": float(sky[name].mean()) for name in ("lat", "lon", "radius")}
    found |= {f"{name}_std": float(sky[name].std(ddof=1)) for name in ("lat", "lon")}
    found |= {"radius_max": float(sky["radius"].max()), "spike_tokens": int(matrix.spike.sum())}
    return found | {f"box_{name}_tokens": len(matrix.window(name)) for name in WINDOWS}


def _duplicates(matrix: Matrix) -> dict[str, Value]:
    first, counts, _ = matrix.distinct
    groups = sorted((-n, i) for n, i in zip(counts.tolist(), first.tolist(), strict=True) if n > 1)
    return {
        "unique_vectors": len(first),
        "duplicate_groups": len(groups),
        "duplicate_tokens": -sum(n for n, _ in groups),
        "duplicate_group_sizes": _listed(-n for n, _ in groups),
        "duplicate_group_first_ids": _listed(i for _, i in groups),
    }


def _linked(matrix: Matrix, component: Component) -> dict[str, Value]:
    in_spike = Counter(component.labels[matrix.spike].tolist())
    centroid = nearest_mean(matrix.W, component.tokens)
    return {
        "component_largest": len(component.tokens),
        "component_edges": component.n_edges,
        "component_count_in_spike": len(in_spike),
        "singletons_in_spike": sum(n == 1 for n in in_spike.values()),
        "component_token_id_min": int(component.tokens[0]),
        "component_token_id_max": int(component.tokens[-1]),
        "component_first_20": _listed(component.tokens[:20]),
        "component_unique_vectors": len(component.vectors),
        "component_diameter": component.diameter,
        "component_gap": component.gap,
        "component_centroid_norm": float(np.linalg.norm(centroid)),
    }


@dataclass(frozen=True)
class Classes:
    """Tokens by equal bf16 values: `values` as given, and those there are with their counts, most frequent first."""

    values: Floats

    @cached_property
    def ranked(self) -> list[tuple[float, int]]:
        """Return (value, tokens), the most frequent first; of several as frequent, the smaller first."""
        values, counts = np.unique(self.values, return_counts=True)
        return sorted(zip(values.tolist(), counts.tolist(), strict=True), key=lambda pair: (-pair[1], pair[0]))

    @property
    def mode(self) -> Ids:
        """Return the tokens with the most frequent value."""
        return np.flatnonzero(self.values == self.ranked[0][0])

    def figures(self, metric: str) -> dict[str, Value]:
        """Return the figures of one metric."""
        (value, n_tokens), (second, n_second) = self.ranked[:2]
        return {
            f"{metric}_mode_value": value,
            f"{metric}_mode_tokens": n_tokens,
            f"{metric}_values": len(self.ranked),
            f"{metric}_max": float(self.values.max()),
            f"{metric}_min": float(self.values.min()),
            f"{metric}_second_mode_value": second,
            f"{metric}_second_mode_tokens": n_second,
        }


def _seen(matrix: Matrix) -> dict[str, Value]:
    """Return the figures of 1.4a, 1.5c and 1.5d."""
    cosines = Classes(matrix.cosines(direction(matrix)))
    centroid = nearest_mean(matrix.W, cosines.mode)
    dots = Classes(matrix.dots(centroid))
    in_both = np.intersect1d(cosines.mode, dots.mode)
    token = int(matrix.window("0.001")[0])
    own = matrix.dots(matrix.W[token].double().numpy())
    same = np.flatnonzero(own == own[token])
    return {
        **cosines.figures("cosine"),
        **dots.figures("dot"),
        "cosine_first_20": _listed(cosines.mode[:20]),
        "centroid_norm_bf16": float(bf16_norms(to_bf16(centroid)[None])[0]),
        "dot_mode_unique_vectors": len(np.unique(matrix.distinct[2][dots.mode])),
        "overlap_both": len(in_both),
        "overlap_only_cosine": len(cosines.mode) - len(in_both),
        "overlap_only_dot": len(dots.mode) - len(in_both),
        "self_dot_value": float(own[token]),
        "self_dot_tokens": len(same),
        "self_dot_first_10": _listed(same[:10]),
    }


def direction(matrix: Matrix) -> Floats:
    """Return the unit vector to (LAT, LON) in the span of the first three components, in fp32, as fp64 (n_dims,)."""
    meridian, north, equinox = matrix.components[1][:3]
    lat, lon = math.radians(LAT), math.radians(LON)
    towards = math.cos(lat) * (math.cos(lon) * meridian + math.sin(lon) * equinox) + math.sin(lat) * north
    return (towards / np.linalg.norm(towards)).astype(np.float32).astype(np.float64)


def _entries(folder: Path, component: Ids) -> dict[str, Value]:
    """Return the tokenizer's figures: its backend is asked, one entry at a time."""
    backend = Tokenizer.from_file(str(folder / "tokenizer.json"))
    backend.no_padding()
    backend.no_truncation()
    ids = sorted(backend.get_vocab(with_added_tokens=True).values())
    back = {i for i in ids if _comes_back(backend, i)}
    return {
        "tokenizer_entries": len(ids),
        "roundtrip_yes": len(back),
        "roundtrip_no": len(ids) - len(back),
        "roundtrip_in_component": sum(i in back for i in component.tolist()),
        "component_rows_without_entry": len(set(component.tolist()) - set(ids)),
    }


def _comes_back(backend: Tokenizer, i: int) -> bool:
    text = backend.decode([i], skip_special_tokens=False)
    return backend.encode(text, add_special_tokens=False).ids == [i]


def _listed(ids: Iterator[int] | Ids) -> str:
    return " ".join(str(int(i)) for i in ids)


if __name__ == "__main__":
    write_figures(Path(sys.argv[3]), load_file(sys.argv[1])["W"], Path(sys.argv[2]))
