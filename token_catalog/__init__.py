"""A catalog of language models' token embeddings: ingest a model once, then ask in SQL."""
