"""The demo's questions, a file each, and how they are shown."""

import os
import shutil
import sys
from pathlib import Path

from token_catalog.catalog import paths

from ..session import run_query

_QUESTIONS = Path(__file__).parent


def show_demo(catalog: Path, model: str) -> None:
    """Print each question's header, its SQL and its answer, and what to type next."""
    for path in sorted(_QUESTIONS.glob("*.sql")):
        text = path.read_text(encoding="utf-8")
        title = text.partition("\n")[0].removeprefix("-- ")
        print(f"\n{title}", flush=True)
        run_query(catalog, text, model=model)
    print(
        f"""
Now ask for yourself, in the DuckDB shell:

    {_command("token-catalog")} shell --catalog {catalog}
    {_command("duckdb")} -readonly -init {catalog / paths.OPEN_SQL} {catalog / paths.DATABASE}

and type

    from help where kind <> 'column';
    from tokens where kind = 'unused' limit 5;
    select component_size, list(text)[:5] from components_at(0.25) group by all order by 1 desc;
    from nearest((select token_id from tokens where text = 'paris'), 10);
    select text, dot_bf16 from point_at_token(2000) order by dot desc limit 10;"""
    )


def _command(name: str) -> str:
    """Return how to start a command from here: by its name where that is on PATH, else by its path."""
    if shutil.which(name):
        return name
    return os.path.relpath(Path(sys.executable).with_name(name))
