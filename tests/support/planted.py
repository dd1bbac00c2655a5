"""Matrices with a planted cluster, frozen as the real one: equal rows, rows a bf16 step apart, a void around them."""

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
