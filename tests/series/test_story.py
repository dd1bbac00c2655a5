"""A small run of training: its story as the page tells it, and what the page says of it, found in its files alone."""

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.support.helpers import answers, rows
from tests.support.pages import ROOT, SERIES, Interpreter, blocks, questions, shell_answer
from tests.support.training_run import ENGLISH, FRENCH, N_BYTES, N_TOKENS, training

QUESTIONS = [pytest.param(*block[1:3], id=str(number)) for number, block in enumerate(questions(SERIES), 1)]


@pytest.fixture(scope="module")
def weights(run_catalog: Path) -> dict[int, torch.Tensor]:
    """Return W of each step, from its file."""
    files = (run_catalog.parent / "runs" / "weights").iterdir()
    found = {int(path.stem.removeprefix("step_")): load_file(path)["W"] for path in files}
    return dict(sorted(found.items()))


def test_there_are_ten_questions_and_each_has_its_answer() -> None:
    assert len(QUESTIONS) == 10
    assert len(blocks(SERIES, "sql")) == 10


@pytest.mark.parametrize(("sql", "text"), QUESTIONS)
def test_a_question_gives_its_answer_in_the_shell(run_catalog: Path, sql: str, text: str) -> None:
    assert shell_answer(run_catalog, sql, cwd=ROOT) == text


def test_python_answers_as_the_shell_does(run_catalog: Path) -> None:
    """The shell writes an int128, a sum of whole numbers, as text into JSON."""
    asked = [block.code for block in questions(SERIES)]
    for sql, found in zip(asked, answers(run_catalog, "".join(asked)), strict=True):
        given = [dict.fromkeys(row) for row in found]
        for row, told in zip(found, given, strict=True):
            told.update((name, int(x) if name.startswith("n_") else x) for name, x in row.items())
        assert [tuple(row.values()) for row in given] == rows(run_catalog, sql)


def test_its_python_prints_what_it_says(run_catalog: Path, tmp_path: Path) -> None:
    (block,) = blocks(SERIES, "python")
    interpreter = Interpreter(run_catalog, tmp_path / "python", run_catalog.parent / "runs")
    assert interpreter.run(block.code) == block.answer


def test_the_run_is_the_same_when_it_is_made_again(weights: dict[int, torch.Tensor]) -> None:
    for step, W, _ in training():
        assert torch.equal(W, weights[step])
        if step == 100:
            return


def test_the_texts_are_as_the_page_says() -> None:
    english, french = (set(text.encode()) for text in (ENGLISH, FRENCH))
    assert (len(french - english), N_BYTES - len(english | french), N_TOKENS - N_BYTES) == (12, 213, 8)
    assert ENGLISH.count("L") == 1
    assert 0xC3 in french - english


def test_what_the_page_says_is_in_the_files(run_catalog: Path, weights: dict[int, torch.Tensor]) -> None:
    """Frozen rows, lengths, and rows that are equal, by their bits; none of W is NaN, and none of its zeros is -0."""
    columns = "share_frozen, mean_norm, n_groups, n_duplicates"
    expected = []
    for before, W in zip([None, *weights.values()], weights.values(), strict=False):
        counts = torch.unique(W.view(torch.int16), dim=0, return_counts=True)[1]
        frozen = None if before is None else (before == W).all(dim=1).double().mean().item()
        norm = pytest.approx(W.double().norm(dim=1).mean().item(), rel=1e-12)
        expected.append((frozen, norm, (counts > 1).sum().item(), counts[counts > 1].sum().item()))
    found = rows(run_catalog, f"select {columns} from series_summary where role is null order by step")
    assert found == expected


def test_a_byte_stands_with_those_never_read_until_it_is(weights: dict[int, torch.Tensor]) -> None:
    equal = {step: W.eq(W[0xC3]).all(dim=1).sum().item() for step, W in weights.items()}
    assert equal[240] == 67
    assert {equal[step] for step in weights if step > 240} == {1}


def test_freezing_is_when_bits_last_changed(run_catalog: Path, weights: dict[int, torch.Tensor]) -> None:
    steps = list(weights)
    changes = torch.stack([(a != b).any(dim=1) for a, b in pairwise(weights.values())], dim=1)
    expected = []
    for token, changed in enumerate(changes.tolist()):
        last = max((number for number, one in enumerate(changed, 1) if one), default=0)
        expected.append((token, None if last == len(changed) else steps[last], sum(changed)))
    query = "select token_id, frozen_from, n_changes from freezing where role is null order by token_id"
    assert rows(run_catalog, query) == expected
