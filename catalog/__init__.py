"""The contract: where a catalog's files are, what each column means, and how a change is published.

Knows Parquet and DuckDB; knows nothing of torch, tokenizers or where weights come from.
"""
