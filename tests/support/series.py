"""Small catalogs of series: matrices catalogued one by one and then given a step, or tables written as they stand."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from tests.support.helpers import bf16_matrix
from token_catalog.catalog.publish import staging
from token_catalog.catalog.schemas import FEATURES, MODELS, TOKENS, VECTORS, Table
from token_catalog.catalog.state import read_state
from token_catalog.catalog.tables import Columns, as_rows, lists_of, read_columns, write_table

Rows = npt.NDArray[np.float32]
N_TOKENS, N_DIMS = 24, 6


def put_in_series(catalog: Path, members: Mapping[str, Mapping[str, object]]) -> None:
    """Give catalogued matrices a series, a step, a role, or what else `models` has: all in one publish."""
    state = read_state(catalog)
    with staging(catalog) as area:
        for model, told in members.items():
            before = state.models[model]
            columns = read_columns(catalog / before.folder, MODELS)
            types = {column.name: column.type for column in MODELS.columns}
            given = {name: pa.array([value], types[name]) for name, value in told.items()}
            write_table(area.version(model, before.name, before), MODELS, model, "{}", {**columns, **given})
        area.publish(replace=True)


def write_series(catalog: Path, series: str, matrices: Mapping[int, Rows]) -> None:
    """Publish finite matrices `(n_tokens, n_dims)` by their steps: rows, and which of them are equal; no more."""
    with staging(catalog) as area:
        for step, W in matrices.items():
            model = f"{series}@{step}"
            n_tokens, n_dims = W.shape
            first, count = equal_rows(W)
            ids = np.arange(n_tokens, dtype=np.int32)
            known: dict[str, list[object]] = {"name": [model], "series": [series], "step": [step], "dtype": ["fp32"]}
            tables: dict[Table, Columns] = {
                MODELS: {**known, "n_tokens": [n_tokens], "n_dims": [n_dims]},
                TOKENS: {"token_id": ids, "text": [f"t{token}" for token in ids]},
                FEATURES: {"token_id": ids, "duplicate_of": first, "duplicate_count": count},
                VECTORS: {"token_id": ids, "vector": lists_of(W)},
            }
            folder = area.version(model, model)
            for table, columns in tables.items():
                whole = as_rows(table, model, columns).combine_chunks().drop_columns("model")
                write_table(folder, table, model, "{}", {name: whole[name].chunk(0) for name in whole.column_names})
        area.publish(replace=False)


def equal_rows(W: Rows) -> tuple[Sequence[int], Sequence[int]]:
    """Return the lowest row equal in value to each of W's finite rows, and how many are."""
    equal = (W[:, None, :] == W[None, :, :]).all(axis=2)
    return equal.argmax(axis=1).astype(np.int32), equal.sum(axis=1).astype(np.int32)


def run_of_training() -> dict[int, torch.Tensor]:
    """Return five steps: some rows stand still, groups meet and part, a zero's sign flips, a row is NaN for a time."""
    generator = torch.Generator().manual_seed(1)
    W = bf16_matrix(N_TOKENS, N_DIMS, seed=1)
    W[0:4], W[10:12], W[20:23], W[5, 0] = W[0].clone(), W[10].clone(), W[20].clone(), 0.0
    steps = {}
    for number, step in enumerate((0, 100, 200, 400, 500)):
        if number:
            W = W.clone()
            moving = torch.arange(N_TOKENS) % 5 < 5 - number
            moving[0:6], moving[10:13], moving[20:23] = False, False, False
            noise = 0.01 * torch.randn(N_TOKENS, N_DIMS, generator=generator)
            W[moving] = (W.float() + noise).to(torch.bfloat16)[moving]
        if step == 100:
            W[5, 0], W[3], W[12] = -0.0, W[10].clone(), W[10].clone()  # 3 goes to 10 and 11, and so does 12
        if step == 200:
            W[7, 2], W[20:22], W[8, 1] = math.nan, W[0].clone(), -W[8, 1]
        if step == 400:
            W[7, 2], W[10] = 0.5, W[13].clone()
            W[14, 0] = math.inf
        steps[step] = W
    return steps


def members() -> dict[str, tuple[torch.Tensor, dict[str, Any]]]:
    """Return every matrix that is in a series or in none, by its key, and what `models` says of it."""
    run = run_of_training()
    found: dict[str, tuple[torch.Tensor, dict[str, Any]]] = {}
    for step, W in run.items():
        found[f"run@{step}"] = (W, {"series": "run", "step": step})
    for step in (100, 200, 500):
        found[f"run@{step}-m"] = (run[step].float() * 0.125 + 1e-3, {"series": "run", "step": step, "role": "m"})
    for step, scale in ((7, 1.0), (9, 1.5)):
        told = {"series": "pair", "step": step}
        W = bf16_matrix(N_TOKENS, N_DIMS, seed=3) * scale
        found[f"pair@{step}-in"] = (W if step == 9 else W.float() + 1e-4, {**told, "matrix": "input"})
        found[f"pair@{step}-out"] = (W[:, :4].float() * 1e-30, {**told, "matrix": "output"})
    for step in (0, 1, 2):
        found[f"blind@{step}"] = (bf16_matrix(N_TOKENS, N_DIMS, seed=4), {"series": "blind", "step": step})
    for name in ("alone", "other"):
        found[name] = (bf16_matrix(N_TOKENS, N_DIMS, seed=5), {})
    return found


def shuffled() -> dict[int, Rows]:
    """Return 20 steps in which a few tokens at a time take one of a few rows."""
    random = np.random.default_rng(5)
    W, steps = np.arange(10, dtype=np.float32), {}
    for step in range(20):
        steps[step] = np.stack([W, -W], axis=1)
        some = random.random(len(W)) < random.choice([0.1, 0.5])
        W = np.where(some, random.integers(0, random.choice([4, 50]), len(W)), W).astype(np.float32)
    return steps
