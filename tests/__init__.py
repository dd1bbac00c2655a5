"""Tests: known answers, independent references, properties, round trips through Parquet and the real shell."""
