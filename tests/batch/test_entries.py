"""What a batch is asked for: sources with steps in their names or in the file, lists, and what can't be asked."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests.support.helpers import save_bare
from tests.support.models import matrix_of
from token_catalog.catalog.errors import CatalogError
from token_catalog.ingest.batch.entries import Entry, check_entries, entries_of_list, entries_of_sources
from token_catalog.ingest.batch.lists import ALIASES, KEYS
from token_catalog.ingest.source.resolve import SourceOptions, resolve_source

STEP = r"(?:step_|checkpoint-)(\d+)"


@pytest.fixture(scope="module", autouse=True)
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a run of three steps, of files and a folder, beside what isn't any; go there."""
    folder = tmp_path_factory.mktemp("batch") / "runs"
    for step in (100, 20):
        save_bare(folder / f"step_{step}.safetensors", matrix_of(step))
    save_bare(folder / "checkpoint-500" / "W.safetensors", matrix_of(500))
    for name in ("step_7.json", ".step_8.safetensors", "step_9.pt", "notes.safetensors"):
        (folder / name).touch()
    stack = torch.stack([matrix_of(step) for step in (0, 5, 10)])
    save_file({"W": stack, "steps": torch.tensor([0, 5, 10])}, folder.parent / "stack.safetensors")
    return folder


@pytest.fixture(autouse=True)
def _there(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run.parent)


def told(entries: list[Entry]) -> list[tuple[Any, ...]]:
    """Return entries in short: source, name, series, step, role."""
    return [(e.source, e.options.name, e.series, e.step, e.role) for e in entries]


def refused(make: Callable[[], object]) -> str:
    """Return the message of a refusal."""
    with pytest.raises(CatalogError) as caught:
        make()
    return str(caught.value)


def test_sources_outside_a_series_are_as_they_are_given() -> None:
    options = SourceOptions(tokenizer="t", stored_as="bf16")
    assert entries_of_sources(["a/b", Path("c")], options, "r.toml") == [
        Entry("a/b", options, "r.toml", where="a/b"),
        Entry("c", options, "r.toml", where="c"),
    ]
    assert entries_of_sources(["a"], SourceOptions(name="m"))[0].options.name == "m"


@pytest.mark.parametrize("given", [["runs"], ["runs/step_*.safetensors", "runs/checkpoint-500"]])
def test_steps_are_found_in_names_and_their_folder_names_the_series(given: list[str]) -> None:
    assert told(entries_of_sources(given, step_from=STEP)) == [
        ("runs/step_20.safetensors", "runs@20", "runs", 20, None),
        ("runs/step_100.safetensors", "runs@100", "runs", 100, None),
        ("runs/checkpoint-500", "runs@500", "runs", 500, None),
    ]


def test_a_step_above_the_last_part_counts_where_that_has_none() -> None:
    (entry,) = told(entries_of_sources(["runs/*/W.safetensors"], step_from=r"point-(\d+)", role="m"))
    assert entry == ("runs/checkpoint-500/W.safetensors", "runs@500/m", "runs", 500, "m")
    assert told(entries_of_sources(["org/m-step9"], series="s", step_from=r"step(\d+)"))[0][1:4] == ("s@9", "s", 9)


def test_a_stack_is_an_entry_for_each_step_and_each_is_read_by_itself() -> None:
    entries = entries_of_sources(["stack.safetensors"], steps=True, role="grad")
    assert told(entries) == [("stack.safetensors", f"stack@{step}/grad", "stack", step, "grad") for step in (0, 5, 10)]
    for entry, step in zip(entries, (0, 5, 10), strict=True):
        (matrix,) = [matrix for _, matrix in resolve_source(entry.source, entry.options).matrices.values()]
        assert torch.equal(matrix.whole(), matrix_of(step))


LISTS = {
    "list.csv": "source,step,series,role,as,recipe\n"
    'step_20.safetensors,20, s,,,\n\n"step_100.safetensors",100,s,m,bf16,qwen3-4b-instruct-2507\n',
    "list.toml": '# two\n[[entry]]\nsource = "step_20.safetensors"\nstep = 20\nseries = "s"\n\n'
    '[[entry]]\nsource = "step_100.safetensors"\nstep = "100"\nseries = "s"\nrole = "m"\nstored_as = "bf16"\n'
    'recipe = "qwen3-4b-instruct-2507"\n',
    "list.jsonl": '{"source": "step_20.safetensors", "step": 20, "series": "s", "role": null}\n\n'
    '{"source": "step_100.safetensors", "step": 100, "series": "s", "role": "m", "as": "bf16", '
    '"recipe": "qwen3-4b-instruct-2507"}\n',
}


@pytest.mark.parametrize(("name", "lines"), [("list.csv", (2, 4)), ("list.toml", (2, 7)), ("list.jsonl", (1, 3))])
def test_a_list_says_the_same_in_each_format(name: str, lines: tuple[int, int], run: Path) -> None:
    (run / name).write_text("\ufeff" * (name == "list.csv") + LISTS[name])
    assert entries_of_list(f"runs/{name}", SourceOptions(tensor="W"), "own.toml") == [
        Entry("runs/step_20.safetensors", SourceOptions("s@20", tensor="W"), "own.toml", "s", 20, None,
              f"runs/{name}:{lines[0]}"),
        Entry("runs/step_100.safetensors", SourceOptions("s@100/m", tensor="W", stored_as="bf16"),
              "qwen3-4b-instruct-2507", "s", 100, "m", f"runs/{name}:{lines[1]}"),
    ]  # fmt: skip


def test_a_lists_sources_are_beside_it_but_ids_are_ids(run: Path) -> None:
    (run / "own.toml").write_text("")
    rows = [
        {"source": "checkpoint-500/W.safetensors", "recipe": "own.toml", "name": "a", "tokenizer": "checkpoint-500"},
        {"source": "org/model", "revision": "step9", "series": "s", "step": 9, "recipe": {"sky": {"north": 3}}},
        {"source": str(run / "step_20.safetensors"), "tokenizer": "org/t"},
    ]
    (run / "ids.ndjson").write_text("\n".join(json.dumps(row) for row in rows))
    a, b, c = entries_of_list("runs/ids.ndjson")
    assert (a.source, a.recipe, a.options.tokenizer) == (
        "runs/checkpoint-500/W.safetensors", Path("runs/own.toml"), "runs/checkpoint-500",
    )  # fmt: skip
    assert (b.source, b.options.revision, b.options.name) == ("org/model", "step9", "s@9")
    assert b.recipe == {"sky": {"north": 3}}
    assert (c.source, c.options.tokenizer) == (str(run / "step_20.safetensors"), "org/t")


def test_what_a_list_leaves_out_the_options_say(run: Path) -> None:
    (run / "short.csv").write_text("source,step\nstep_20.safetensors,\nstep_100.safetensors,7\n")
    entries = entries_of_list("runs/short.csv", series="r", step_from=STEP, role="v")
    assert [(e.options.name, e.step) for e in entries] == [("r@20/v", 20), ("r@7/v", 7)]
    (run / "stacks.csv").write_text("source,role\n../stack.safetensors,\n../stack.safetensors,m\n")
    entries = entries_of_list("runs/stacks.csv", steps=True)
    assert [e.options.name for e in entries] == [f"stack@{step}{role}" for role in ("", "/m") for step in (0, 5, 10)]
    assert entries[4].where == "runs/stacks.csv:3[1]"


def test_an_untied_models_matrices_are_two_of_a_step() -> None:
    entries = [Entry("a", SourceOptions(f"s@1/{m}", matrix=m), series="s", step=1) for m in ("input", "output")]
    assert check_entries(entries) == entries


BAD_LISTS = {
    "a.csv": ("source,stepp\na,1\n", "runs/a.csv:1: unknown key 'stepp'; known are source, name, recipe, series,"),
    "b.csv": ("source,step,series\na,1,s\nb,x1,s\n", "runs/b.csv:3: step 'x1' is no whole number from 0"),
    "c.csv": ("source,step\na,1,2\n", "runs/c.csv:2: has 3 cells, and the header has 2"),
    "d.csv": ('source\n"a\n', "runs/d.csv:2: not CSV"),
    "e.csv": ("a,b\n", "runs/e.csv:1: unknown key 'a'"),
    "f.csv": ("", "runs/f.csv: has no entries; each has a source"),
    "g.csv": ("name\na\n", "runs/g.csv:1: has no column 'source'"),
    "h.csv": ("source,name\n,a\n", "runs/h.csv:2: has no source"),
    "i.csv": ("source,as,stored_as\na,bf16,bf16\n", "runs/i.csv:2: stored_as is there twice"),
    "j.csv": ("source,source\na,b\n", "runs/j.csv:1: 'source' is there twice"),
    "k.csv": ("source,recipe\na,none.toml\n", "runs/k.csv:2: runs/none.toml: no such recipe; those that ship by"),
    "l.csv": ("source,step\na,1\n", "runs/l.csv:2: has step 1, and no series; `series=` names it"),
    "m.csv": ("source,role\na,m\n", "runs/m.csv:2: has the role 'm', and so needs a series and a step"),
    "n.csv": ("source,series\na,s\n", "runs/n.csv:2: is of the series 's', and has no step; `step_from=`"),
    "o.csv": ("source,name\na,x\nb,x\n", "runs/o.csv:3: the same name 'x' as runs/o.csv:2"),
    "p.csv": ("source\na\nb\na\n", "runs/p.csv:4: the same source as runs/p.csv:2"),
    "q.csv": (
        "source,series,step,role,name\na,s,1,m,x\nb,s,1,m,y\n",
        "runs/q.csv:3: the same step 1 of the series 's', as m as runs/q.csv:2",
    ),
    "r.csv": ("source,series,step,role\na,s,1,input\n", "runs/r.csv:2: role 'input': a role is of letters"),
    "s.csv": ("source,series,step,role\na,s,1,a/b\n", "runs/s.csv:2: role 'a/b': a role is of letters"),
    "t.csv": ("source,step,series\na,99999999999999999999,s\n", "runs/t.csv:2: step '99999999999999999999' is no"),
    "u.csv": ("source,step,series\na,-1,s\n", "runs/u.csv:2: step '-1' is no whole number from 0"),
    "a.toml": ('[[entry]]\nsource = "a"\n[[entry]]\nsuorce = "b"\n', "runs/a.toml:3: unknown key 'suorce'"),
    "b.toml": ('[[entries]]\nsource = "a"\n', "runs/b.toml: unknown key 'entries'; a list has tables [[entry]]"),
    "c.toml": ("entry = 3\n", "runs/c.toml: entry: is no array of tables"),
    "d.toml": ('entry = [{source = "a", steps = 1}]\n', "runs/d.toml: entry 1: unknown key 'steps'"),
    "e.toml": ("[[entry]\n", "runs/e.toml: not TOML"),
    "f.toml": ('[[entry]]\nsource = "a"\nstep = true\nseries = "s"\n', "runs/f.toml:1: step True is no whole number"),
    "a.jsonl": ('{"source": "a"}\n{"source": 3}\n', "runs/a.jsonl:2: source 3 is no text; put it in quotes"),
    "b.jsonl": ('{"source": "a"}\n\n["a"]\n', "runs/b.jsonl:3: is no JSON object"),
    "c.jsonl": ('{"source": "a"\n', "runs/c.jsonl:1: not JSON"),
    "d.jsonl": ("[" * 100_000, "runs/d.jsonl:1: not JSON"),
    "e.jsonl": ('{"source": "a", "name": " "}\n', "runs/e.jsonl:1: name ' ' is empty, or no plain text"),
    "f.jsonl": ('{"source": "a", "series": "s\\u001b", "step": 1}\n', r"runs/f.jsonl:1: series 's\x1b' is empty, or"),
    "a.txt": ("a\n", "runs/a.txt: a list is one of .csv, .toml, .jsonl, .ndjson"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_LISTS)
def test_a_list_that_cant_be_is_refused_with_its_line(name: str, run: Path) -> None:
    text, message = BAD_LISTS[name]
    (run / name).write_text(text)
    assert refused(lambda: entries_of_list(f"runs/{name}")).startswith(message)


def test_a_list_that_cant_be_read_is_refused(run: Path) -> None:
    (run / "latin.csv").write_bytes("source\né\n".encode("latin-1"))
    for name in ("none.csv", "latin.csv"):
        assert refused(lambda name=name: entries_of_list(f"runs/{name}")).startswith(f"runs/{name}: can't be read (")


BAD_SOURCES: dict[str, tuple[list[str], dict[str, Any], str]] = {
    "none": ([], {}, "no source is given"),
    "an empty pattern": (["runs/x*"], {}, "runs/x*: no such file or folder, nor one that the pattern is of"),
    "no step": (["runs"], {"step_from": r"epoch(\d+)"},
                r"runs: `step_from=epoch(\d+)` finds no step in its name, nor in what it holds"),
    "no step in a file": (["runs/notes.safetensors"], {"step_from": STEP}, "runs/notes.safetensors: `step_from="),
    "no number": (["runs/notes.safetensors"], {"step_from": "(notes)"},
                  "runs/notes.safetensors: `step_from=(notes)`: finds 'notes' is no whole number"),
    "no group": (["runs"], {"step_from": r"step_\d+"}, r"`step_from=step_\d+`: has 0 groups; the step is in the one"),
    "two groups": (["runs"], {"step_from": r"(step)_(\d+)"}, r"`step_from=(step)_(\d+)`: has 2 groups"),
    "no expression": (["runs"], {"step_from": "("}, "`step_from=(`: is no regular expression"),
    "pickled": (["runs"], {"step_from": r"step_(9)"}, "runs/step_9.pt: pickled weights can run code"),
    "two ways": (["runs"], {"step_from": STEP, "steps": True}, "`steps=True` finds the steps in a file, `step_from=`"),
    "one name": (["runs"], {"step_from": STEP, "options": SourceOptions(name="m")}, "`name=m` is one model's, and"),
    "an id without a series": (["org/m-step1"], {"step_from": r"step(\d+)"}, "org/m-step1: has step 1, and no series"),
    "a source twice": (["runs/notes.safetensors", "runs/../runs/notes.safetensors"], {},
                       "runs/../runs/notes.safetensors: the same source as runs/notes.safetensors"),
    "a folder of steps": (["runs"], {"steps": True}, "runs: `steps=True` is for a file with a tensor (steps, tokens"),
    "no stack": (["runs/step_20.safetensors"], {"steps": True},
                 "{runs}/step_20.safetensors: tensor 'W' has shape [40, 8]; `steps=True` is for (steps, "),
    "a series alone": (["runs/step_20.safetensors"], {"series": "s"},
                       "runs/step_20.safetensors: is of the series 's', and has no step; `step_from=` finds it"),
    "a role alone": (["a"], {"role": "m"}, "a: has the role 'm', and so needs a series and a step"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_SOURCES)
def test_sources_that_cant_be_are_refused(case: str, run: Path) -> None:
    sources, options, message = BAD_SOURCES[case]
    assert refused(lambda: entries_of_sources(sources, **options)).startswith(message.replace("{runs}", str(run)))


def test_a_step_twice_is_refused(run: Path) -> None:
    for n, name in enumerate(("step_1", "step_01")):
        save_bare(run / "twice" / f"{name}.safetensors", matrix_of(n))
    assert refused(lambda: entries_of_sources(["runs/twice"], step_from=STEP)) == (
        "runs/twice/step_1.safetensors: the same step 1 of the series 'twice' as runs/twice/step_01.safetensors"
    )


def test_the_folders_of_a_relative_source_name_the_series_from_within(run: Path) -> None:
    os.chdir(run)  # put back by the fixture
    assert {e.series for e in entries_of_sources([f"./step_{n}.safetensors" for n in (20, 100)], step_from=STEP)} == {
        "runs"
    }


def test_the_pages_list_is_one(run: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "your-own-models.md").read_text(encoding="utf-8")
    (run / "page.csv").write_text(page.partition("```csv\n")[2].partition("```")[0])
    entries = entries_of_list("runs/page.csv")
    assert [e.options.name for e in entries] == ["my-run@100", "my-run@200", "my-run@200/m"]


def test_the_contract_has_a_lists_keys() -> None:
    contract = (Path(__file__).parents[2] / "catalog" / "README.md").read_text(encoding="utf-8")
    told = re.findall(
        r"^- ([^:]*):", contract.partition("A list of sources, ")[2].partition("Errors are")[0], re.MULTILINE
    )
    assert set(re.findall(r"`(\w+)`", " ".join(told))) == {*KEYS, *ALIASES}
