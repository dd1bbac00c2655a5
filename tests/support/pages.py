"""The pages' questions: every `sql` block with the `text` block after it, and what the real shell answers to it.

`python -m tests.support.pages CATALOG` writes the answers of a demo's catalog into the README;
`python -m tests.support.pages CATALOG queries/README.md`, those of the catalog that this page describes into it.
"""

import re
import sys
from pathlib import Path

from tests.support.helpers import shell_run

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
QUESTIONS = ROOT / "queries" / "README.md"
_PAIR = re.compile(r"```sql\n(?P<sql>.*?)```\n\n```text\n(?P<text>.*?)```\n", re.DOTALL)


def pairs(page: str) -> list[tuple[str, str]]:
    """Return each question's SQL and the answer printed under it."""
    return [(match["sql"], match["text"]) for match in _PAIR.finditer(page)]


def answer(catalog: Path, sql: str, cwd: Path) -> str:
    """Return what the DuckDB shell prints, opened as the README says, in the folder `cwd`."""
    done = shell_run(catalog, sql, cwd=cwd)
    return re.sub(
        r"\s+\n", "\n", done.stdout.strip("\n") + "\n" + done.stderr.partition("open.sql\n")[2].strip("\x1b[0m\n")
    )


def write(catalog: Path, page: Path) -> None:
    """Put the shell's answers into a page; it is opened in the project's folder, where `.read` finds the files."""
    text = page.read_text(encoding="utf-8")
    answered = _PAIR.sub(lambda m: f"```sql\n{m['sql']}```\n\n```text\n{answer(catalog, m['sql'], ROOT)}```\n", text)
    page.write_text(answered, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]).resolve(), ROOT / sys.argv[2] if len(sys.argv) > 2 else README)
