"""Faults in the replica, for `verify` to find: each returns a faulty W, and leaves the replica as it is.

| fault | what is wrong |
|---|---|
| `one_step` | one element of one row, by the smallest bf16 step: 7.45e-9 |
| `lengthened` | a row more at token 124, a column more, another tokenizer: every later row has its neighbour's entry |
| `doubled` | all rows are twice as long |
| `stretched` | the rows outside the cluster are longer along the sky's axes, each its own way |
| `scattered` | 284 tokens of the cluster left the dot classes, 56 the cosine class; the cluster is whole |
| `torn` | 228 tokens left the cluster, the rest has another cosine; so have 600 rows outside |

The recipe's window on the sky is 0.001 degrees wide, and without a token in it there is no catalog: after the last
three the cluster is put back to its place, by single bf16 steps. They take minutes at full size.

`python -m tests.faults FAULT REPLICA FOLDER` writes one into FOLDER: W.safetensors and tokenizer/.
"""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tests.exact import Floats, to_bf16
from tests.helpers import save_bare
from tests.replica import COSINE, Replica, load_replica, n_aside, save_as
from tests.replica_sky import CHUNK, TARGET, Plan, Sky, direction_to, next_bf16, settled, sky_at, summed
from tests.replica_tokenizer import write_tokenizer

# Along the sky's x, y and z (PC1, PC3, PC2): the components keep their order, and a row near the cluster leaves the
# window of 3 degrees.
STRETCH = (1.15, 1.3, 1.45)
# The group that is moved as a whole; the first three hold the centre, and the token that is aimed at.
GROUP = 3
# How far tokens are moved before rounding, which makes it 0.0016 to 0.0019: less than the linkage's threshold, but over
# half of a class of dot products by 0.371 · 0.0016 > 2⁻¹¹, and of cosines by 0.537 · 0.0018 / 0.371 > 2⁻⁹.
OFF_DOT, OFF_COSINE = 0.0012, 0.0018
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
    axes, factors = torch.from_numpy(_sky(replica).axes), torch.tensor(STRETCH, dtype=torch.float64)
    W = torch.empty_like(replica.W)
    for part, before in zip(W.split(CHUNK), replica.W.split(CHUNK), strict=True):
        rows = before.double()
        part.copy_(rows + (rows @ axes.T * (factors - 1)) @ axes)
    return _reaimed(W, replica, follow=False)


def scattered(replica: Replica) -> Tensor:
    """Move tokens of the cluster over the nearer edge of the dot classes, others over an edge of the cosine's alone."""
    centre, (towards, across) = _centre(replica), _plane(replica, _sky(replica))
    dot = to_bf16(_mean_of_its_cosine(replica.W, towards)) @ centre
    side = np.sign(dot - to_bf16(np.array([dot]))[0])
    along = centre / np.linalg.norm(centre)
    aside = (along @ across) * towards - (along @ towards) * across  # no part of it along the centre
    moved = dict.fromkeys((replica.groups[GROUP][0], *replica.singles[::2]), side * OFF_DOT * along)
    moved |= dict.fromkeys(replica.singles[1::2], OFF_COSINE * aside)
    return _reaimed(replica.W.clone(), replica, moved)


def torn(replica: Replica) -> Tensor:
    """Move a group north and the rest away from the sky; and other rows within the plane of the cluster and the sky."""
    W, sky = replica.W.clone(), _sky(replica)
    plane = torch.from_numpy(_plane(replica, sky))
    others = np.setdiff1d(np.arange(len(W)), [*replica.members, *replica.near, *replica.turned])
    some = torch.from_numpy(others[:: len(others) // (2 * N_MOVED)][: 2 * N_MOVED])
    rows = W[some].double()
    rows -= rows @ plane.T @ plane
    rows[::2] += GATHERED / (1 - GATHERED**2) ** 0.5 * rows[::2].norm(dim=1, keepdim=True) * plane[0]
    W[some] = rows.bfloat16()
    start = _centre(replica) + ACROSS * plane[1].numpy()
    return _reaimed(W, replica, {replica.groups[GROUP][0]: NORTH * sky.axes[2]}, start=start)


FAULTS: dict[str, Callable[[Replica], Tensor]] = {
    fault.__name__: fault for fault in (one_step, lengthened, doubled, stretched, scattered, torn)
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


def _sky(replica: Replica) -> Sky:
    """Return where the cluster is, and the sky's axes."""
    row = replica.W[replica.groups[0][0]]
    nothing = Plan(torch.zeros(len(replica.groups), len(row), dtype=torch.int8), torch.zeros(0, len(row)))
    return sky_at(summed(replica.W), np.zeros(len(replica.groups)), nothing, row)


def _plane(replica: Replica, sky: Sky) -> Floats:
    """Return the direction on the sky that the cluster is in, and the one across the sky that holds the rest of it."""
    centre, towards = _centre(replica), direction_to(*TARGET) @ sky.axes
    across = centre - (centre @ towards) * towards
    return np.stack([towards, across / np.linalg.norm(across)])


def _mean_of_its_cosine(W: Tensor, towards: Floats) -> Floats:
    """Return the mean of the rows whose cosine is the cluster's, in bf16 (nearly: norms are rounded alone)."""
    total, n_tokens = np.zeros(W.shape[1]), 0
    for part in W.split(CHUNK):
        rows = part.double().numpy()
        cosines = to_bf16(rows @ towards / to_bf16(np.linalg.norm(rows, axis=1)))
        chosen = rows[cosines == to_bf16(np.array([COSINE]))]
        total, n_tokens = total + chosen.sum(axis=0), n_tokens + len(chosen)
    return total / n_tokens


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
