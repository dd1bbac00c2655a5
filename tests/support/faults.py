"""Faults in the replica, for `verify` to find: each returns a faulty W, and leaves the replica as it is.

| fault | what is wrong |
|---|---|
| `one_step` | one element of one row, by the smallest bf16 step: 7.45e-9 |
| `lengthened` | a row more at token 124, a column more, another tokenizer: every later row has its neighbour's entry |
| `doubled` | all rows are twice as long |
| `stretched` | the rows outside the cluster are longer along the sky's axes, each its own way |
| `scattered` | 278 tokens of the cluster left the dot classes, and 62 the cosine class |
| `strayed` | one of the two rows that are equal to no others, a group, a sign and an exponent, by an element each |
| `torn` | 228 tokens left the cluster, the rest has another cosine; so have 600 rows outside |

The recipe's window on the sky is 0.001 degrees wide, and without a token in it there is no catalog: after
`stretched`, `scattered` and `torn` the cluster is put back to its place, by single bf16 steps. They take minutes at
full size.

`python -m tests.support.faults FAULT REPLICA FOLDER` writes one into FOLDER: W.safetensors and tokenizer/.
"""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tests.support.exact import Floats, nearest_mean
from tests.support.helpers import save_bare
from tests.support.replica import Replica, load_replica, n_aside, save_as
from tests.support.replica_figures import Classes, Matrix, direction
from tests.support.replica_sky import CHUNK, Plan, next_bf16, settled, summed
from tests.support.replica_tokenizer import write_tokenizer

# Along PC1, 2 and 3, the sky's axes: the components keep their order, and a row near the cluster leaves the window of 3
# degrees.
STRETCH = (1.15, 1.45, 1.3)
# The group that is moved as a whole; the first three hold the centre, and the token that is aimed at.
GROUP = 3
# How far tokens may be moved to leave a bf16 class, tried in turn: up to the linkage's threshold, about. More is added,
# for the others' rounding and the aim's.
LENGTHS, SPARE = np.arange(0.0008, 0.0020, 0.0001), 0.0001
N_OFF_COSINE = 62
# Half a degree, which is over the threshold; and what takes three bf16 steps off the cosine.
NORTH, ACROSS = 0.0027, 0.013
# Rows that are moved to cosines where few others are, and as many to one, which the most of the background may have.
N_MOVED, GATHERED = 300, 0.26171875


def one_step(replica: Replica) -> Tensor:
    """Take one bf16 step in the smallest element of the first of the two rows that are equal to no others."""
    W = replica.W.clone()
    row = W[replica.groups[-1][0]]
    smallest = row.abs().argmin()
    row[smallest] = next_bf16(row, -1)[smallest]
    return W


def lengthened(replica: Replica) -> Tensor:
    """Put the mean row before token 124, which turns no component, and a column of zeros after the last."""
    mean = torch.from_numpy(summed(replica.W).total / len(replica.W)).to(replica.W.dtype)
    W = torch.cat([replica.W[:124], mean[None], replica.W[124:]])
    return torch.nn.functional.pad(W, (0, 1))


def doubled(replica: Replica) -> Tensor:
    """Double all rows, which is exact."""
    return replica.W * 2


def stretched(replica: Replica) -> Tensor:
    """Stretch the rows outside the cluster along the sky's axes."""
    axes, factors = torch.from_numpy(_axes(Matrix(replica.W))), torch.tensor(STRETCH, dtype=torch.float64)
    W = torch.empty_like(replica.W)
    for part, before in zip(W.split(CHUNK), replica.W.split(CHUNK), strict=True):
        rows = before.double()
        part.copy_(rows + (rows @ axes.T * (factors - 1)) @ axes)
    return _reaimed(W, replica, follow=False)


def scattered(replica: Replica) -> Tensor:
    """Move tokens of the cluster over an edge of the dot classes, and others over an edge of the cosine's alone."""
    matrix, centre = Matrix(replica.W), _centre(replica)
    look = direction(matrix)
    centroid = nearest_mean(matrix.W, Classes(matrix.cosines(look)).mode)

    def classes(row: Tensor) -> tuple[float, float, float]:
        one = Matrix(row[None])
        return one.cosines(look)[0], one.dots(centroid)[0], one.dots(centre)[0]

    cosine, *dots = classes(replica.W[replica.groups[0][0]])
    along, (towards, across) = centre / np.linalg.norm(centre), _plane(centre, matrix)
    aside = (along @ across) * towards - (along @ towards) * across  # no part of it along the centre
    off_dots = _shortest(centre, along, lambda row: all(a != b for a, b in zip(classes(row)[1:], dots, strict=True)))
    off_cosine = _shortest(centre, aside, lambda row: classes(row)[0] != cosine)
    away = {i: np.linalg.norm(matrix.W[i].double().numpy() - centre) for i in replica.singles}
    singles = sorted(away, key=away.__getitem__)  # those at the centre differ least in their cosines
    moved = dict.fromkeys(singles[:N_OFF_COSINE], off_cosine)
    moved |= dict.fromkeys((replica.groups[GROUP][0], *singles[N_OFF_COSINE:]), off_dots)
    return _reaimed(replica.W.clone(), replica, moved)


def strayed(replica: Replica) -> Tensor:
    """Move one of two equal rows, and a group, by two last bits; turn a sign, and an exponent of a row far away."""
    W, centre = replica.W.clone(), replica.W[replica.groups[0][0]]
    bits = W.view(torch.int16)
    # Of these, no step leaves the exponent; the largest makes more than the cluster's own distances.
    inside = (centre.view(torch.int16) & 0x7F).sub(64).abs() < 32
    sized = torch.where(inside, centre.abs(), torch.zeros_like(centre)).argsort(descending=True, stable=True)
    large, small = sized[0], sized[1]
    token = replica.groups[-1][-1]
    W[token] = centre
    bits[token, large] += 2
    bits[torch.tensor(replica.groups[4]), small] += 2
    bits[replica.singles[-1], centre.abs().argmin()] ^= -0x8000
    others = set(range(len(W))) - {*replica.members, *replica.near, *replica.turned}
    W[max(others), 0] = 2.0**-100
    return W


def torn(replica: Replica) -> Tensor:
    """Move a group north and the rest away from the sky; and other rows within the plane of the cluster and the sky."""
    W, matrix, centre = replica.W.clone(), Matrix(replica.W), _centre(replica)
    plane = torch.from_numpy(_plane(centre, matrix))
    others = np.setdiff1d(np.arange(len(W)), [*replica.members, *replica.near, *replica.turned])
    some = torch.from_numpy(others[:: len(others) // (2 * N_MOVED)][: 2 * N_MOVED])
    rows = W[some].double()
    rows -= rows @ plane.T @ plane
    rows[::2] += GATHERED / (1 - GATHERED**2) ** 0.5 * rows[::2].norm(dim=1, keepdim=True) * plane[0]
    W[some] = rows.bfloat16()
    _, north, _ = _axes(matrix)
    start = centre + ACROSS * plane[1].numpy()
    return _reaimed(W, replica, {replica.groups[GROUP][0]: NORTH * north}, start=start)


FAULTS: dict[str, Callable[[Replica], Tensor]] = {
    fault.__name__: fault for fault in (one_step, lengthened, doubled, stretched, scattered, strayed, torn)
}


def write_fault(name: str, replica: Replica, folder: Path) -> Path:
    """Write a fault's folder/W.safetensors and its folder/tokenizer; return the first."""
    W = FAULTS[name](replica)
    if name != "lengthened":
        return save_as(folder, W, replica.tokenizer)
    members = [i + 1 for i in replica.members]
    write_tokenizer(folder / "tokenizer", replica.n_vocab + 5, members, n_aside(len(replica.W)) - 10)
    return save_bare(folder / "W.safetensors", W)


def _centre(replica: Replica) -> Floats:
    return replica.W[replica.groups[0][0]].double().numpy()


def _axes(matrix: Matrix) -> Floats:
    """Return the sky's axes, to its meridian, north and equinox, (3, n_dims)."""
    return matrix.components[1][:3]


def _plane(centre: Floats, matrix: Matrix) -> Floats:
    """Return the direction on the sky that the cluster is in, and the one across the sky that holds the rest of it."""
    axes = _axes(matrix)
    towards = centre @ axes.T @ axes
    across = centre - towards
    return np.stack([part / np.linalg.norm(part) for part in (towards, across)])


def _shortest(centre: Floats, along: Floats, there: Callable[[Tensor], bool]) -> Floats:
    """Return the shortest move of a centre, along a direction or back, that brings it there, and somewhat more."""
    for length in LENGTHS:
        for side in (1, -1):
            if there(torch.from_numpy(centre + side * length * along).bfloat16()):
                return side * (length + SPARE) * along
    raise RuntimeError(f"it takes more than {LENGTHS[-1]}")


def _reaimed(
    W: Tensor,
    replica: Replica,
    moved: Mapping[int, Floats] | None = None,
    *,
    start: Floats | None = None,
    follow: bool = True,
) -> Tensor:
    """Return W with the replica's cluster at its place on the sky of the new whole, moved by as few steps as do.

    Vectors of `moved`, by their lowest token, are so far from their place in the cluster; `start`, the centre before
    it is aimed; `follow`: whether the tokens near it go with it.
    """
    moved = moved or {}
    vectors = [*replica.groups, *([i] for i in replica.singles)]
    kept = [ids for ids in vectors if ids[0] not in moved]
    others = [ids for ids in vectors if ids[0] in moved]
    others += [[i] for i in (*replica.near, *replica.turned) if follow]
    before = replica.W[replica.groups[0][0]].double()
    directions, offsets = (
        replica.W[torch.tensor([i for i, *_ in tokens], dtype=torch.int64)].double() - before
        for tokens in (kept, others)
    )
    for (first, *_), offset in zip(others, offsets, strict=True):
        offset += torch.from_numpy(moved.get(first, np.zeros(len(before))))
    plan = Plan(torch.sign(directions).to(torch.int8), offsets)
    tokens = [*kept, *others]
    W[torch.tensor([i for ids in tokens for i in ids])] = 0
    background, counts = summed(W), np.array([len(ids) for ids in tokens], float)
    centre = (before if start is None else torch.from_numpy(start)).bfloat16()
    for ids, row in zip(tokens, plan.rows(settled(background, counts, plan, centre)), strict=True):
        W[torch.tensor(ids)] = row
    return W


if __name__ == "__main__":
    write_fault(sys.argv[1], load_replica(Path(sys.argv[2])), Path(sys.argv[3]))
