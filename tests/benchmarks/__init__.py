"""Full-scale runs, each beside rivals in the same run. `make bench`, or `python -m tests.benchmarks -h`."""

# Qwen3-4B's shape.
N_TOKENS, N_DIMS = 151_936, 2_560
# The clump of nearly equal rows in it: how many tokens, the last ones, and where on the sky (degrees).
N_CLUMP = 2_212
LAT, LON = -7.288, 6.941
