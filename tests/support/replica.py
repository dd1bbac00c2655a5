"""A replica of Qwen3-4B-Instruct-2507's matrix, at any size: its frozen cluster planted in a background drawn for it.

The shipped recipe and the published figures are about one matrix, which can't be had here. What is published of it is
planted, so that the recipe works unchanged: 13 groups of equal rows and 112 single ones on 125 bf16 vectors, one bf16
step away from their centre in some elements each; the centre 0.84 into the span of the *final* matrix's first three
components, at the published place on the sky, to 1e-4 degrees; a void after it; 267 rows past the tokenizer's entries;
a tokenizer. The background follows the published spectrum and norms, as in `tests.benchmarks.synthetic`, but for a
rotation: there the components are the columns, and one bf16 step of a large element would be the whole cluster's width.

What isn't like the original: everything else (the background's own shape on the sky, which words the tokens are).

`python -m tests.support.replica FOLDER [N_TOKENS N_DIMS]` writes W.safetensors, tokenizer/ and figures.csv; by default
at full size, which takes 3 minutes and 2.5 GiB on two cores.
"""

import math
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.benchmarks import N_DIMS, N_TOKENS
from tests.benchmarks.synthetic import CLUMP_NORM, LENGTHS_SPREAD, MEAN_NORM, spectrum
from tests.support.exact import Floats
from tests.support.helpers import save_bare
from tests.support.replica_figures import write_figures
from tests.support.replica_layout import GROUP_SIZES, N_CLUSTER, N_PAST_VOCABULARY, N_SINGLES, Layout, draw_layout
from tests.support.replica_sky import (
    CHUNK,
    LARGEST_STEP,
    RADIUS,
    TARGET,
    Background,
    Plan,
    Sky,
    direction_to,
    next_bf16,
    settled,
    sky_at,
    summed,
)
from tests.support.replica_tokenizer import write_tokenizer

# So many of `n_aside` make 3,357 of all entries at full size.
N_ASIDE = 1308

# The published cosine to that place, in the middle of what bf16 calls 0.84375.
COSINE = 0.8437
# The distance to the cluster's centre grows with the cube over the single tokens, so that half of them stay within the
# window of 0.001 degrees at full size.
GROWTH = 3
# One element is as small as this, and its bf16 step 7.45e-9: the one that a tolerance of 1e-8 took for no difference.
TINY = 2.0**-20
# Distances of the tokens past the void, inside the recipe's linkage radius of 0.02.
NEAR = np.geomspace(0.0036, 0.0185, 14)
# Tokens as far from the direction TARGET as the cluster, and as long, but turned about it by so many radians: of its
# cosine, but not of its dot product, and far from all others.
N_TURNED, TURN = 25, 0.3


@dataclass(frozen=True)
class Replica:
    """A replica on disk and what is planted in it; token_ids are in order, but for `near`.

    `W` (n_tokens, n_dims) bf16; `members`, the cluster; `groups`, its 13 groups of equal rows, in the order of
    GROUP_SIZES; `singles`, its other tokens; `near`, the tokens past the void, nearest first; `turned`, those of its
    cosine; `n_vocab`, entries of the tokenizer.
    """

    weights: Path
    tokenizer: Path
    W: Tensor
    members: list[int]
    groups: list[list[int]]
    singles: list[int]
    near: list[int]
    turned: list[int]
    n_vocab: int


def write_replica(folder: Path, n_tokens: int = 24_000, n_dims: int = 128, seed: int = 0) -> Replica:
    """Write folder/W.safetensors and folder/tokenizer; n_tokens from 12,000, n_dims from 100 with two factors.

    The figures are a step of their own: `tests.replica_figures.write_figures(path, replica.W, replica.tokenizer)`.
    """
    generator = np.random.default_rng(seed)
    layout = draw_layout(n_tokens, len(NEAR), N_TURNED, generator)
    made = _described(folder, _planted(layout, n_tokens, n_dims, generator), layout)
    save_bare(made.weights, made.W)
    write_tokenizer(made.tokenizer, made.n_vocab, made.members, n_aside(n_tokens), seed)
    return made


def load_replica(folder: Path, seed: int = 0) -> Replica:
    """Load what `write_replica` wrote there with this seed."""
    W = load_file(folder / "W.safetensors")["W"]
    return _described(folder, W, draw_layout(len(W), len(NEAR), N_TURNED, np.random.default_rng(seed)))


def n_aside(n_tokens: int) -> int:
    """Return how many entries outside the cluster, and not bytes, don't come back as themselves."""
    return N_ASIDE * n_tokens // N_TOKENS


def _described(folder: Path, W: Tensor, layout: Layout) -> Replica:
    return Replica(
        weights=folder / "W.safetensors",
        tokenizer=folder / "tokenizer",
        W=W,
        members=sorted(i for ids in layout.frozen for i in ids),
        groups=layout.frozen[: len(GROUP_SIZES)],
        singles=sorted(i for ids in layout.frozen[len(GROUP_SIZES) :] for i in ids),
        near=layout.near,
        turned=sorted(layout.turned),
        n_vocab=len(W) - N_PAST_VOCABULARY,
    )


def save_as(folder: Path, W: Tensor, tokenizer: Path) -> Path:
    """Save another W, a replica's with a fault in it, say, and a copy of its tokenizer; return folder/W.safetensors."""
    shutil.copytree(tokenizer, folder / "tokenizer", dirs_exist_ok=True)
    return save_bare(folder / "W.safetensors", W)


# --- the matrix


def _planted(layout: Layout, n_tokens: int, n_dims: int, generator: np.random.Generator) -> Tensor:
    """Return W (n_tokens, n_dims) bf16."""
    W, direction, axes = _drawn(n_tokens, n_dims, generator)
    tokens = layout.tokens()
    W[torch.tensor([i for ids in tokens for i in ids])] = 0  # not in the background's sums
    background = summed(W)
    counts = np.array([len(ids) for ids in tokens], float)
    centre, plan = _aimed(background, counts, direction, axes, generator)
    for ids, row in zip(tokens, plan.rows(centre), strict=True):
        W[torch.tensor(ids)] = row
    return W


def _drawn(n_tokens: int, n_dims: int, generator: np.random.Generator) -> tuple[Tensor, Floats, Floats]:
    """Return a background (n_tokens, n_dims) bf16, the unit direction of its mean, where the cluster will be, and axes.

    These are the sky's, x, y and z (3, n_dims), but for sampling.
    """
    torch_generator = torch.Generator().manual_seed(int(generator.integers(2**31)))
    # The planted rows lie near the mean: the others' variance makes up for it, and for their lengths.
    scale = (spectrum(n_dims) * N_TOKENS / (N_TOKENS - N_CLUSTER) / (1 + LENGTHS_SPREAD**2)).sqrt()
    aside = torch.nn.functional.normalize(torch.randn(n_dims - 3, generator=torch_generator), dim=0)
    x, y, z = COSINE * direction_to(*TARGET)
    direction = torch.cat([torch.tensor([x, z, y]).float(), math.sqrt(1 - COSINE**2) * aside])  # PC1, 2, 3
    rotate = _rotation(n_dims, torch_generator)
    W = torch.empty(n_tokens, n_dims, dtype=torch.bfloat16)
    for part in W.split(CHUNK):
        lengths = 1 + torch.randn(len(part), 1, generator=torch_generator) * LENGTHS_SPREAD
        rows = torch.randn(part.shape, generator=torch_generator) * scale * lengths + direction * MEAN_NORM
        part.copy_(rotate(rows))
    axes = torch.eye(n_dims)[[0, 2, 1]]
    return W, *(rotate(rows).double().numpy() for rows in (direction, axes))


def _rotation(n_dims: int, generator: torch.Generator) -> Callable[[Tensor], Tensor]:
    """Draw a rotation of rows (n, n_dims) that is quick to do: rows are folded in two, and each side is rotated."""
    p = next(p for p in range(math.isqrt(n_dims), 0, -1) if n_dims % p == 0)
    down, across = (
        torch.linalg.qr(torch.randn(n, n, generator=generator, dtype=torch.float64))[0].float()
        for n in (p, n_dims // p)
    )
    return lambda rows: (down @ (rows.view(*rows.shape[:-1], p, -1) @ across)).view(rows.shape)


def _aimed(
    background: Background, counts: Floats, direction: Floats, axes: Floats, generator: np.random.Generator
) -> tuple[Tensor, Plan]:
    """Return a bf16 centre with AIM at TARGET on the sky of the whole, planted rows and all, and the plan about it.

    The components depend on the centre, and the centre is placed by the components: Newton's steps settle it, while
    each step's bf16 rounding costs some 1e-3 degrees; then elements are moved by single bf16 steps.
    """
    exact = CLUMP_NORM * direction
    centre = _bf16(exact)
    plan = _plan(centre, axes, generator)
    for _ in range(3):
        sky = sky_at(background, counts, plan, centre)
        exact = _moved(exact, sky)
        centre = _bf16(exact)
    plan = _plan(centre, sky.axes, generator)
    return settled(background, counts, plan, centre), plan


def _moved(centre: Floats, sky: Sky) -> Floats:
    """Return the centre with AIM at its place, to first order, and with the cluster's norm."""
    across = centre - (sky.axes @ centre) @ sky.axes
    wanted = CLUMP_NORM * COSINE * direction_to(*TARGET)
    length = math.sqrt(CLUMP_NORM**2 - wanted @ wanted)
    centre = centre + (length / np.linalg.norm(across) - 1) * across
    return centre + np.linalg.pinv(sky.jacobian) @ (wanted - sky.xyz)


def _plan(centre: Tensor, axes: Floats, generator: np.random.Generator) -> Plan:
    """Draw how the planted rows lie about a centre; `axes` (3, n_dims) are the sky's, at least nearly.

    The first group's row is the centre; the others' differ in one element each, the smallest ones; single tokens' in as
    many as make their distances, and the last two in the same elements, oppositely: they are the diameter apart.
    """
    n_groups, n_dims = len(GROUP_SIZES), len(centre)
    directions = torch.zeros(n_groups + N_SINGLES, n_dims, dtype=torch.int8)
    smallest = centre.abs().argsort(stable=True)
    for group in range(1, n_groups):
        directions[group, smallest[group - 1]] = 1
    seen = {row.numpy().tobytes() for row in directions[:n_groups]}
    for single, row in enumerate(directions[n_groups:-1], 1):
        while not row.any() or row.numpy().tobytes() in seen:
            row.copy_(_steps(centre, RADIUS * (single / (N_SINGLES - 1)) ** GROWTH, generator))
        seen.add(row.numpy().tobytes())
    directions[-1] = -directions[-2]
    near = NEAR[:, None] * _units(generator.standard_normal((len(NEAR), n_dims)))
    return Plan(directions, torch.from_numpy(np.vstack([near, _turned(centre.double().numpy(), axes, generator)])))


def _turned(centre: Floats, axes: Floats, generator: np.random.Generator) -> Floats:
    """Draw what the turned tokens are off by, (N_TURNED, n_dims): the centre's part across TARGET, turned."""
    towards = direction_to(*TARGET) @ axes
    across = centre - (centre @ towards) * towards
    apart = np.vstack([towards, _units(across)])
    drawn = generator.standard_normal((N_TURNED, len(centre)))
    sideways = np.linalg.norm(across) * _units(drawn - drawn @ apart.T @ apart)
    return (math.cos(TURN) - 1) * across + math.sin(TURN) * sideways


def _units(vectors: Floats) -> Floats:
    """Return vectors (..., n_dims) at length 1."""
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def _steps(centre: Tensor, distance: float, generator: np.random.Generator) -> Tensor:
    """Draw bf16 steps (n_dims,), one at least, of elements of a centre that together reach so far, or little less."""
    signs = torch.from_numpy(generator.choice([-1, 1], len(centre)).astype(np.int8))
    # Away from zero or not, at a power of two the two steps differ: the larger one counts.
    step = torch.maximum(next_bf16(centre, 1) - centre, centre - next_bf16(centre, -1)).double().numpy()
    order = generator.permutation(np.flatnonzero(step <= LARGEST_STEP))
    reached = np.sqrt(np.cumsum(step[order] ** 2)) <= distance
    reached[0] = True
    steps = torch.zeros(len(centre), dtype=torch.int8)
    chosen = torch.from_numpy(order[reached])
    steps[chosen] = signs[chosen]
    return steps


def _bf16(centre: Floats) -> Tensor:
    """Return a centre rounded to bf16, its smallest element TINY."""
    rounded = torch.from_numpy(centre).bfloat16()
    rounded[rounded.abs().argmin()] = TINY
    return rounded


def main(folder: Path, n_tokens: int = N_TOKENS, n_dims: int = N_DIMS) -> None:
    """Write a replica and its figures."""
    made = write_replica(folder, n_tokens, n_dims)
    write_figures(folder / "figures.csv", made.W, made.tokenizer)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
