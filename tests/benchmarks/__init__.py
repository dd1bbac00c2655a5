"""Full-scale runs, each beside rivals in the same run. `make bench`, or `python -m tests.benchmarks -h`."""

# Qwen3-4B's shape.
N_TOKENS, N_DIMS = 151_936, 2_560
