"""A file of many steps: how many matrices a tensor (steps, tokens, dimensions) holds, and which step each is."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from token_catalog.catalog.errors import CatalogError

from .hdf5 import HDF5_SUFFIXES, dataset_shape, dataset_steps
from .local import pickled
from .matrix import STEPS, checked_matrix, read_steps, stored_tensor
from .model_files import is_pickled

# What `models.step` can hold.
MOST_STEP = 2**63 - 1


def stack_steps(path: Path, tensor: str, stored_as: str | None = None) -> list[int]:
    """Return the step of each matrix in a file's tensor of three dimensions, in the tensor's order.

    The steps are the whole numbers that the file says: a tensor (or data set) `steps`, or an entry `steps` in the
    metadata of safetensors, as a JSON list; else they are counted from 0. CatalogError where the tensor has no three
    dimensions, or the steps are of another number.
    """
    if is_pickled(path.name):
        raise pickled(path)
    is_hdf5 = path.suffix in HDF5_SUFFIXES
    if is_hdf5:
        shape, dtype = dataset_shape(path, tensor)
    else:
        stored = stored_tensor(path, tensor)
        shape, dtype = stored.shape, stored.dtype
    where = f"{path}: tensor '{tensor}'"
    if len(shape) != 3:
        raise CatalogError(f"{where} has shape {list(shape)}; `steps=True` is for (steps, tokens, dimensions)")
    if shape[0] == 0:
        raise CatalogError(f"{where} has shape {list(shape)}, and so no step")
    checked_matrix(path, tensor, shape, dtype, stored_as, stack_index=0)
    told, numbers = (None, dataset_steps(path)) if is_hdf5 else read_steps(path)
    steps = _of_numbers(path, numbers) if numbers is not None else _of_text(path, told) if told is not None else None
    if steps is None:
        return list(range(shape[0]))
    if len(steps) != shape[0]:
        raise CatalogError(
            f"{where} has {shape[0]} steps in it, but '{STEPS}' in the same file has {len(steps)} numbers"
        )
    outside = [step for step in steps if not 0 <= step <= MOST_STEP]
    if outside:
        raise CatalogError(f"{path}: '{STEPS}' has {outside[0]}; steps are whole numbers from 0")
    return steps


def _of_numbers(path: Path, numbers: npt.NDArray[Any]) -> list[int]:
    if numbers.ndim != 1 or numbers.dtype.kind not in "iu":
        raise CatalogError(
            f"{path}: '{STEPS}' holds {numbers.dtype} of shape {list(numbers.shape)}; steps are whole numbers "
            "in one dimension"
        )
    return [int(number) for number in np.asarray(numbers)]


def _of_text(path: Path, told: str) -> list[int]:
    """Return the steps that a file's metadata has: [0, 100, 200], with or without the brackets."""
    words = re.sub(r"^\[|\]$", "", told.strip())
    try:
        steps = json.loads(f"[{words}]")
    except (ValueError, RecursionError):
        steps = None
    if not isinstance(steps, list) or not all(type(step) is int for step in steps):
        raise CatalogError(f"{path}: its metadata's '{STEPS}' is no list of whole numbers, like [0, 100, 200]")
    return steps
