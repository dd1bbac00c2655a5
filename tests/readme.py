"""The README's questions: every `sql` block with the `text` block after it, and what the real shell answers to it.

`python -m tests.readme CATALOG` writes the answers of a demo's catalog into the README.
"""

import re
import sys
from pathlib import Path

from tests.helpers import shell_run

README = Path(__file__).parent.parent / "README.md"
_PAIR = re.compile(r"```sql\n(?P<sql>.*?)```\n\n```text\n(?P<text>.*?)```\n", re.DOTALL)


def pairs(readme: str) -> list[tuple[str, str]]:
    """Return each question's SQL and the answer printed under it."""
    return [(match["sql"], match["text"]) for match in _PAIR.finditer(readme)]


def answer(catalog: Path, sql: str, cwd: Path) -> str:
    """Return what the DuckDB shell prints, opened as the README says, in the folder `cwd`."""
    done = shell_run(catalog, sql, cwd=cwd)
    return re.sub(
        r"\s+\n", "\n", done.stdout.strip("\n") + "\n" + done.stderr.partition("open.sql\n")[2].strip("\x1b[0m\n")
    )


def write(catalog: Path) -> None:
    """Put the shell's answers into the README."""
    readme = README.read_text(encoding="utf-8")
    answered = _PAIR.sub(
        lambda m: f"```sql\n{m['sql']}```\n\n```text\n{answer(catalog, m['sql'], Path.cwd())}```\n", readme
    )
    README.write_text(answered, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]).resolve())
