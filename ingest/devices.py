"""Where the arithmetic runs: names of devices, and which has fp64."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from token_catalog.catalog.errors import CatalogError

DEVICES = ("auto", "cuda", "mps", "cpu")


def fp64_device(name: str) -> torch.device:
    """Return the device that computes what is certified: the one asked for, or the CPU where that has no fp64 (MPS).

    `auto` is CUDA where there is one. CatalogError where the one asked for isn't there.
    """
    there = {"auto": True, "cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name not in there:
        raise CatalogError(f"`device={name}`: unknown; one of {', '.join(DEVICES)}")
    if not there[name]:
        raise CatalogError(
            f"`device={name}`: this machine has none that torch {torch.__version__} can use; try `device=auto`"
        )
    on_cuda = name == "cuda" or (name == "auto" and there["cuda"])
    return torch.device("cuda", torch.cuda.current_device()) if on_cuda else torch.device("cpu")


def native_device(name: str) -> torch.device:
    """Return the device whose own bf16 products are told: the one asked for, MPS too."""
    exact = fp64_device(name)
    on_mps = exact.type == "cpu" and name in ("mps", "auto") and torch.backends.mps.is_available()
    return torch.device("mps") if on_mps else exact


def described(device: torch.device) -> str:
    """Return a device for `models.device`."""
    return f"cuda ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else device.type


def fits(n_bytes: int, device: torch.device) -> bool:
    """Whether a GPU has room for a matrix of this size and for what linking makes of it, four times as much.

    A CPU has, as it maps the matrix from its file.
    """
    return device.type != "cuda" or 5 * n_bytes < torch.cuda.mem_get_info(device)[0]


def placed(W: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return a matrix on a device, where it fits there; else where it is."""
    return W.to(device) if fits(W.nbytes, device) else W


@contextmanager
def enough_memory(model: str) -> Iterator[None]:
    """Tell the way out where a GPU's memory is full."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise CatalogError(f"{model}: the GPU's memory isn't enough; try `device=cpu`") from None
