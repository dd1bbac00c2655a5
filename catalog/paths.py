"""Names of the files and folders of a catalog, each a constant, and the safe folder name of a model.

<catalog>/
  catalog.duckdb -> generations/<n>/catalog.duckdb     what users open
  open.sql                                             opens it from wherever the folder was moved
  generations/<n>/catalog.duckdb, state.json           views and macros; the versions they read
  generations/<n>/models.parquet                       the rows of `models` of all of them, in one file
  definitions/<key>/catalog.duckdb, *.parquet          views and macros of one version of the product, to copy
  models/<slug>/<version>/*.parquet, manifest.json     the data: immutable once it is here
  .staging/, .lock                                     what is being written; who may swap
"""

import hashlib
import os
import re
from pathlib import Path

DATABASE = "catalog.duckdb"
OPEN_SQL = "open.sql"
GENERATIONS = "generations"
STATE = "state.json"
DEFINITIONS = "definitions"
MODELS_FOLDER = "models"
MANIFEST = "manifest.json"
STAGING = ".staging"
# In staging: an ingest's folder, named as the versions that it writes, with a lock beside it that is held for as long
# as the ingest lives.
INGEST = "ingest-"
# Also in staging: what is written under the catalog's lock.
SWAP = "swap-"
LOCK = ".lock"

DEFAULT_CATALOG = "token-catalog"
CATALOG_VARIABLE = "TOKEN_CATALOG"


def default_catalog() -> Path:
    """Return the folder of the catalog where none is given: `$TOKEN_CATALOG`, else `./token-catalog`."""
    return Path(os.environ.get(CATALOG_VARIABLE) or DEFAULT_CATALOG)


def slug(model: str) -> str:
    """Return a folder name for a model: readable, safe on any file system, different for different models.

    >>> slug("Qwen3-4B-Instruct-2507")
    'qwen3-4b-instruct-2507-2d39a8aa'
    >>> slug("a'; drop table models;--")
    'a-drop-table-models-58ffce17'
    """
    readable = re.sub(r"[^a-z0-9.]+", "-", model.lower()).strip("-.")[:60]
    digest = hashlib.sha256(model.encode()).hexdigest()[:8]
    return f"{readable}-{digest}" if readable else digest


def known_names(name: str, source: str) -> set[str]:
    """Return the names by which a model may be known elsewhere: its own, and the parts of its source, in lower case.

    >>> sorted(known_names("mine", "Qwen/Qwen3-4B-Instruct-2507"))
    ['mine', 'qwen', 'qwen3-4b-instruct-2507']
    """
    return {name.lower(), *source.lower().replace("--", "/").split("/")}
