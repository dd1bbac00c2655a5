"""A catalog of language models' token embeddings: ingest a model once, then ask in SQL.

`open` gives a catalog, which ingests models and changes them; `connect`, a DuckDB connection with views and macros in
place. What bad input raises is a `CatalogError`, which names the way out.
"""

from token_catalog.api import Catalog, Model, connect, open  # noqa: A004 (token_catalog.open, as gzip.open)
from token_catalog.catalog.errors import CatalogError

__all__ = ["Catalog", "CatalogError", "Model", "connect", "open"]
