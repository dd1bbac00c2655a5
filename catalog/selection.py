"""The tokens for which a recipe's conditions hold: SQL in, token_ids out.

A recipe may come from anybody, so its SQL runs in a process of its own (`catalog.conditions`), which sees copies of
`features` and `tokens` and nothing else, may write no file, and is ended when it takes too long or too much memory.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from .conditions import CONDITION_TABLES, CONDITIONS, READY
from .errors import CatalogError

SECONDS = 60.0


def check_conditions(conditions: Mapping[str, str]) -> None:
    """Raise CatalogError where a condition can't be asked of any model; keys say where each was written."""
    tokens_where(conditions, *(table.arrow_schema.empty_table() for table in CONDITION_TABLES))


def tokens_where(
    conditions: Mapping[str, str], features: pa.Table, tokens: pa.Table, seconds: float = SECONDS
) -> dict[str, npt.NDArray[np.int32]]:
    """Return the ascending token_ids for which each condition holds; keys say where each was written.

    CatalogError where one isn't a condition over `features` and `tokens`, or where all take longer than `seconds`.
    """
    if not conditions:
        return {}
    with tempfile.TemporaryDirectory(prefix="token-catalog-") as folder:
        answers, ended = _ask(Path(folder), conditions, (features, tokens), seconds)
    for key, condition in conditions.items():
        answer = answers.get(key, {"error": f"{ended}: {condition}"})
        if "error" in answer:
            raise CatalogError(f"{key}: {answer['error']}")
    return {key: np.array(answers[key]["ids"], np.int32) for key in conditions}


def _ask(
    folder: Path, conditions: Mapping[str, str], tables: Sequence[pa.Table], seconds: float
) -> tuple[dict[str, dict[str, Any]], str]:
    """Write the question into a folder, and ask it; return the answers that came in time, and why others didn't."""
    for table, rows in zip(CONDITION_TABLES, tables, strict=True):
        with pa.OSFile(str(folder / table.name), "wb") as file, pa.ipc.new_file(file, rows.schema) as writer:
            writer.write_table(rows)
    (folder / CONDITIONS).write_text(json.dumps(dict(conditions)), encoding="utf-8")
    command = [sys.executable, "-P", "-m", "token_catalog.catalog.conditions", str(folder)]
    # What this process can import, that one can; and dates don't depend on where the machine is.
    importable = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
    environment = os.environ | {"TZ": "UTC", "PYTHONPATH": importable}
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=environment, bufsize=0, **pipes) as process:  # type: ignore[call-overload]
        try:
            if process.stdout.readline().decode() != READY:
                raise RuntimeError(f"conditions can't be asked: {process.stderr.read().decode()}")
            output, _ = process.communicate(timeout=seconds)
            ended = f"ended the process that asked it (code {process.returncode}; most likely, it took too much memory)"
        except subprocess.TimeoutExpired as error:
            output, ended = error.output or b"", f"took longer than {seconds:g} s, and was stopped"
        finally:
            process.kill()
    whole = output.decode().rpartition("\n")[0].splitlines()
    return {answer.pop("key"): answer for answer in map(json.loads, whole)}, ended
