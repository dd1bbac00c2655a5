"""Weights and a tokenizer in, columns out. Torch lives here; DuckDB doesn't, but through `catalog`."""
