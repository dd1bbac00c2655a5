"""Small matrices of known make: a planted cluster, groups of many tightnesses, points of a grid, random numbers."""

import torch


def planted(n_tokens: int, n_dims: int, seed: int, n_inside: int = 60) -> tuple[torch.Tensor, list[int]]:
    """Return a bf16 matrix and the tokens of its cluster: `n_inside` on 9 vectors, about a centre off the mean."""
    generator = torch.Generator().manual_seed(seed)
    spread = torch.linspace(0.06, 0.01, n_dims)
    W = (torch.randn(n_tokens, n_dims, generator=generator) * spread).bfloat16()
    centre = torch.randn(n_dims, generator=generator) * spread
    centre = (centre / centre.norm() * 0.4).bfloat16()
    vectors = centre.repeat(9, 1)
    for k in range(1, 9):  # one element one bf16 step away
        vectors[k, k % n_dims] = torch.nextafter(vectors[k, k % n_dims], torch.tensor(float("inf")).bfloat16())
    inside = torch.randperm(n_tokens, generator=generator)[:n_inside].sort().values
    W[inside] = vectors[torch.arange(n_inside) % 9]
    return W, inside.tolist()


def clustered(n_tokens: int, n_dims: int, seed: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Return groups of rows of very different tightness about a dozen centres, a few rows twice."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(12, n_dims, generator=generator)
    which = torch.randint(12, (n_tokens,), generator=generator)
    noise = torch.randn(n_tokens, n_dims, generator=generator) * torch.logspace(-3, -0.3, 12)[which, None]
    W = (centres[which] + noise).to(dtype)
    W[n_tokens // 2] = W[0]
    W[n_tokens - 1] = W[n_tokens // 3]
    return W


def grid(n_tokens: int, n_dims: int, seed: int, width: int = 4) -> torch.Tensor:
    """Return points of an integer grid, where nearly all distances are tied: √1, √2, √3, 2, …"""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(width, (n_tokens, n_dims), generator=generator).to(torch.bfloat16)
