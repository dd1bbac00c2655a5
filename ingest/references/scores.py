"""Every row of W against reference vectors: the columns of `scores`.

`certified` gives one answer on every device, in one pass over W for any number of references; `native` gives what the
notebooks' own expressions (1.4a, 1.5c, 1.5d) give in bf16 on a device.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..arithmetic.arrays import Ids, Vector, block_rows, blocks
from ..arithmetic.bf16 import dot_bf16, dots_bf16, nearest_bf16, quotient_bf16, unit_bf16
from ..arithmetic.distances import distances_to
from ..report import progress_bar

# The columns of `scores` but the keys, a value per token.
Scores = dict[str, Any]

# A row divided by its rounded norm and rounded has a norm of about 1: 1.5 where the norm is bf16's smallest number.
UNIT_LENGTH = 2.0


@dataclass(frozen=True)
class QueryVector:
    """A reference vector h, and what follows from it (catalog/README.md, section 6); all on the CPU.

    `vector` (n_dims,) fp32; `h16` and `r16` (n_dims,) fp64, of bf16 values; `norm` = ‖h16‖.
    """

    vector: Vector
    h16: Tensor
    r16: Tensor
    norm: float
    self_dot_bf16: float


@dataclass(frozen=True, eq=False)
class ScoredReference:
    """A reference as the catalog holds it: its row of `reference_vectors` but for the keys, and its `scores`."""

    name: str
    row: dict[str, Any]
    scores: Scores

    @property
    def vector(self) -> Vector:
        """The reference vector, fp32."""
        vector: Vector = self.row["vector"]
        return vector


def query_vector(vector: Vector) -> QueryVector:
    """Return what follows from a reference vector; ValueError where it has no direction in bf16, or isn't finite.

    >>> there = query_vector(np.array([3.0, 4.0], np.float32))
    >>> there.r16.tolist(), there.norm, there.self_dot_bf16
    ([0.6015625, 0.80078125], 5.0, 25.0)
    """
    h = torch.from_numpy(vector).double()
    h16 = nearest_bf16(h).double()
    if not torch.isfinite(h16).all():
        raise ValueError("has a NaN, an infinity, or a number past bf16's range; choose another")
    if not h16.any():
        raise ValueError("is zero in bf16, and so has no direction; choose another")
    norm = float(np.sqrt(float(h16 @ h16)))
    return QueryVector(vector, h16, unit_bf16(h).double(), norm, float(dot_bf16(h16[None], h16)[0]))


def certified(
    W: Tensor,
    norm_bf16: npt.NDArray[np.float32],
    duplicate_of: Ids,
    query_vectors: Sequence[QueryVector],
) -> list[Scores]:
    """Return the columns of `scores` but the native ones, of W `(n_tokens, n_dims)`, for each query vector.

    `norm_bf16` and `duplicate_of` are those of `features`. Values are masked where a row isn't finite in bf16, cosines
    where its norm is 0, distances where it isn't finite as stored.
    """
    n_tokens, shape = len(W), (len(W), len(query_vectors))
    h16, r16 = (torch.stack([getattr(p, name) for p in query_vectors], dim=1).to(W.device) for name in ("h16", "r16"))
    h = torch.from_numpy(np.stack([p.vector for p in query_vectors])).double().to(W.device)
    h_norm = torch.tensor([p.norm for p in query_vectors], dtype=torch.float64, device=W.device)
    divisors = torch.from_numpy(np.where(norm_bf16 > 0, norm_bf16, np.float32(1))).to(W.device)
    dot, cosine, distance = np.empty(shape), np.empty(shape), np.empty(shape)
    dot16, cosine16 = np.empty(shape, np.float32), np.empty(shape, np.float32)
    scored = np.empty(n_tokens, np.bool_)
    n_rows = block_rows(W)
    for part in progress_bar(blocks(n_tokens, n_rows), "scores", -(-n_tokens // n_rows)):
        rows, finite, lengths, dots, dots16, cosines16 = _products(W[part], divisors[part], h16, r16)
        cosines = (dots / (lengths[:, None] * h_norm)).clamp_(-1, 1)
        for all_, some in ((dot, dots), (cosine, cosines), (dot16, dots16), (cosine16, cosines16), (scored, finite)):
            all_[part] = some.cpu().numpy()
        if W.dtype == torch.bfloat16:  # the rows as stored, but for zeros where one isn't finite
            apart = distances_to(rows, h, lengths).masked_fill_(~finite[:, None], torch.nan)
        else:
            apart = distances_to(W[part].double(), h)
        distance[part] = apart.cpu().numpy()
    # The last bit of an fp64 sum depends on where in its block the row stood: equal rows get the first one's.
    dot, cosine, distance = (values[duplicate_of] + 0.0 for values in (dot, cosine, distance))
    long = scored & (norm_bf16 > 0)
    return [
        {
            "dot": np.ma.MaskedArray(dot[:, i], ~scored),
            "dot_bf16": np.ma.MaskedArray(dot16[:, i], ~scored),
            "cosine": np.ma.MaskedArray(cosine[:, i], ~long),
            "cosine_bf16": np.ma.MaskedArray(cosine16[:, i], ~long),
            "distance": np.ma.MaskedArray(distance[:, i], ~np.isfinite(distance[:, i])),
        }
        for i in range(len(query_vectors))
    ]


def _products(
    rows_as_stored: Tensor, divisors: Tensor, h16: Tensor, r16: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return of a block of rows: they in bf16, as fp64; which are finite so; norms, dots, dots and cosines in bf16.

    `divisors` (n_rows,) are the rows' rounded norms, or 1; `h16`, `r16` (n_dims, n), the query vectors in columns. A
    row that isn't finite counts as zero.
    """
    w16 = rows_as_stored.to(torch.bfloat16)
    rows = w16.double()
    lengths = torch.linalg.vector_norm(rows, dim=1)
    finite = torch.isfinite(lengths)  # a sum of squares of bf16 doesn't overflow in fp64
    if not finite.all():
        w16, rows = (torch.where(finite[:, None], x, torch.zeros_like(x)) for x in (w16, rows))
        lengths = torch.where(finite, lengths, 0.0)
    dots, dots16 = dots_bf16(rows, h16, lengths)
    units = quotient_bf16(w16, divisors).double()
    _, cosines16 = dots_bf16(units, r16, torch.full_like(lengths, UNIT_LENGTH))
    return rows, finite, lengths, dots, dots16, cosines16


def native(W: Tensor, query_vectors: Sequence[QueryVector], device: torch.device) -> list[Scores]:
    """Return dot_native and cosine_native, as fp32: the notebooks' expressions in torch's bf16 on a device."""
    W_bf16 = W.to(device, torch.bfloat16)
    W_norm_bf16 = W_bf16 / W_bf16.norm(dim=1, keepdim=True)
    columns = []
    for p in query_vectors:
        dot = W_bf16 @ p.h16.to(torch.bfloat16).to(device)
        cosine = W_norm_bf16 @ p.r16.to(torch.bfloat16).to(device)
        columns.append({"dot_native": _as_floats(dot), "cosine_native": _as_floats(cosine)})
    return columns


def score(
    W: Tensor,
    norm_bf16: npt.NDArray[np.float32],
    duplicate_of: Ids,
    query_vectors: Sequence[QueryVector],
    device: torch.device,
    stage: Callable[[str], AbstractContextManager[None]],
) -> list[Scores]:
    """Return all columns of `scores` but the keys for each query vector; the native ones are computed on `device`."""
    with stage("scores"):
        exact = certified(W, norm_bf16, duplicate_of, query_vectors)
    with stage("native"):
        hardware = native(W, query_vectors, device)
    for columns, own in zip(exact, hardware, strict=True):
        for metric in ("dot", "cosine"):
            mask = np.ma.getmaskarray(columns[metric])
            columns[f"{metric}_native"] = np.ma.MaskedArray(own[f"{metric}_native"], mask)
    return exact


def _as_floats(values: Tensor) -> npt.NDArray[np.float32]:
    floats: npt.NDArray[np.float32] = values.float().cpu().numpy() + np.float32(0)
    return floats
