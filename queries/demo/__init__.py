"""The demo's questions, a file each, and how they are shown."""

from pathlib import Path

from catalog import paths
from queries.session import run_query

_FOLDER = Path(__file__).parent


def show_demo(catalog: Path, model: str) -> None:
    """Print each question's header, its SQL and its answer, and what to type next."""
    for path in sorted(_FOLDER.glob("*.sql")):
        text = path.read_text(encoding="utf-8")
        title = text.partition("\n")[0].removeprefix("-- ")
        print(f"\n{title}", flush=True)
        run_query(catalog, text, model=model)
    print(
        f"""
Now ask for yourself, in the DuckDB shell:

    token-catalog shell --catalog {catalog}
    duckdb -readonly -init {catalog / paths.OPEN_SQL} {catalog / paths.DATABASE}

and type

    from help;
    from tokens where kind = 'unused' limit 5;
    from nearest(2000, 10);
    select text, dot_bf16 from point_at_token(2000) order by dot desc limit 10;"""
    )
