"""A catalog of language models' token embeddings: ingest a model once, then ask in SQL.

`open` gives a catalog, which ingests models and changes them; `connect`, a DuckDB connection with views and macros in
place. What bad input raises is a `CatalogError`, which names the way out.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from token_catalog.api import Catalog, Model, connect, open  # noqa: A004 (token_catalog.open, as gzip.open)
from token_catalog.catalog.errors import CatalogError

if TYPE_CHECKING:
    from token_catalog.catalog.publish import Rebuilt
    from token_catalog.ingest.batch.run import BatchReport
    from token_catalog.ingest.report import Report
    from token_catalog.queries.verify import Line

__all__ = ["BatchReport", "Catalog", "CatalogError", "Line", "Model", "Rebuilt", "Report", "connect", "open"]

# What methods return, for annotations; imported when it is named, as it takes a while.
_RETURNED = {
    "BatchReport": "token_catalog.ingest.batch.run",
    "Line": "token_catalog.queries.verify",
    "Rebuilt": "token_catalog.catalog.publish",
    "Report": "token_catalog.ingest.report",
}


def __getattr__(name: str) -> Any:
    if name not in _RETURNED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_RETURNED[name]), name)
