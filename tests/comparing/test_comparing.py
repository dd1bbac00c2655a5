"""Two models side by side, against matching by dictionaries in Python, exact fractions, and the bits themselves."""

import math
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from tests.support import tokenizers_made
from tests.support.crash import publish
from tests.support.helpers import bf16_matrix, in_shell, ingest_bare, rows, save_bare
from token_catalog.catalog.errors import CatalogError
from token_catalog.ingest.recipe.shipping import load_recipe
from token_catalog.ingest.run import ingest
from token_catalog.ingest.source.resolve import SourceOptions
from token_catalog.queries.session import asked

Key = tuple[Any, ...]
Pair = tuple[int | None, int | None]
FEATURES = ("norm", "centred_norm", "radius", "lat", "lon", "duplicate_of", "duplicate_count", "component")
PAIRS = [("gpt", "bert"), ("gpt", "llama"), ("llama", "bert"), ("gpt", "tuned"), ("bare", "longer"), ("gpt", "bare")]


def tuned(W: torch.Tensor) -> torch.Tensor:
    """Return a matrix with every third row moved, and rows in which only bits or what isn't finite differ."""
    W = W.clone()
    W[::3] += 0.01
    W[4, 0], W[5, 0], W[7] = -0.0, float("nan"), 0
    W[10, 1] = float("inf")
    return W


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a catalog of three families' models, one tuned, and two without a tokenizer. Read it only."""
    folder = tmp_path_factory.mktemp("comparing")
    families = {"gpt": tokenizers_made.byte_level, "bert": tokenizers_made.wordpiece}
    families["llama"] = tokenizers_made.sentencepiece_bpe
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("token_catalog.catalog.definitions.definitions", list)  # but for the last, which builds all
        catalogue(folder, families)
    publish(folder / "c", {"again/input": 2, "again/output": 2})
    return folder / "c"


def catalogue(folder: Path, families: dict[str, Callable[[], Tokenizer]]) -> None:
    """Catalogue the models."""
    for name, make in families.items():
        made = make()
        tokenizer = str(tokenizers_made.save(made, folder / name))
        W = bf16_matrix(made.get_vocab_size() + 3, 6 if name == "bert" else 8, seed=len(name)).float()
        W[4, 0], W[5, 0], W[6, 0], W[7] = 0.0, float("nan"), 0.0, 0
        recipe = load_recipe({"cluster": [{"name": "low", "where": "token_id < 80"}]})
        for key in (name, "tuned") if name == "gpt" else (name,):
            path = save_bare(folder / f"{key}.safetensors", tuned(W) if key == "tuned" else W)
            options = SourceOptions(name=key, tokenizer=tokenizer)
            ingest(folder / "c", str(path), options, recipe=None if key == "bert" else recipe)
    ingest_bare(folder / "c", bf16_matrix(9, 8), "bare")
    ingest_bare(folder / "c", bf16_matrix(12, 8), "longer", with_vectors=False)
    ingest_bare(folder / "c", bf16_matrix(9, 8), "copy")


def keys(catalog: Path, model: str) -> dict[Key, list[int]]:
    """Return a model's tokens by what they are matched by, those that round-trip first."""
    tokens = rows(
        catalog,
        "select token_id, piece, bytes, text, kind, roundtrips from tokens "
        f"where model = '{model}' order by starts_with(piece, '<0x'), roundtrips is not true, token_id",
    )
    word_piece = model == "bert"
    found: dict[Key, list[int]] = {}
    for token_id, piece, content, text, kind, _ in tokens:
        key: Key = (kind, content)
        if kind == "missing":
            key = (kind, token_id)
        elif kind not in ("special", "unused"):
            begins = content.startswith(b" ")
            if word_piece and kind != "added":
                begins = piece != f"##{text}"
            key = ("text", begins, content.removeprefix(b" "))
        found.setdefault(key, []).append(token_id)
    return found


@pytest.mark.parametrize(("a", "b"), PAIRS)
def test_tokens_are_matched_as_dictionaries_match_them(catalog: Path, a: str, b: str) -> None:
    of_a, of_b = keys(catalog, a), keys(catalog, b)
    expected: dict[Pair, tuple[str, bool]] = {}
    for key in {*of_a, *of_b}:
        own, other = of_a.get(key, []), of_b.get(key, [])
        for place in range(max(len(own), len(other))):
            x, y = (ids[place] if place < len(ids) else None for ids in (own, other))
            match = "only_b" if x is None else "only_a" if y is None else "both"
            expected[x, y] = match, max(len(own), len(other)) > 1
    found = rows(catalog, f"select token_a, token_b, match, ambiguous from compare_tokens('{a}', '{b}')")
    assert len(found) == len(expected)
    assert {(x, y): (match, ambiguous) for x, y, match, ambiguous in found} == expected
    for column, model in (("token_a", a), ("token_b", b)):
        ((n_tokens,),) = rows(catalog, f"select n_tokens from models where model = '{model}'")
        told = rows(
            catalog, f"select {column} from compare_tokens('{a}', '{b}') where {column} is not null order by all"
        )
        assert told == [(i,) for i in range(n_tokens)]


@pytest.mark.parametrize(
    ("b", "word", "inside"), [("bert", "the", "##er"), ("llama", "▁the", "er")], ids=["WordPiece", "SentencePiece"]
)
def test_a_word_matches_only_where_it_begins_one_in_both(catalog: Path, b: str, word: str, inside: str) -> None:
    asked = f"""
        select p.piece, q.piece from compare_tokens('gpt', '{b}') as c
        inner join tokens as p on p.model = 'gpt' and c.token_a = p.token_id
        inner join tokens as q on q.model = '{b}' and c.token_b = q.token_id
    """
    found = dict(rows(catalog, asked))
    assert found["Ġthe"] == word
    assert found["er"] == inside
    assert found.get("the") != word


def test_what_is_ambiguous_is_marked_and_goes_with_the_token_that_round_trips(catalog: Path) -> None:
    """Llama's 'w' is a piece of its own and the byte <0x77>."""
    found = rows(
        catalog,
        """
        select q.piece, c.match, c.ambiguous from compare_tokens('gpt', 'llama') as c
        inner join tokens as q on q.model = 'llama' and c.token_b = q.token_id
        where q.bytes = encode('w')
        """,
    )
    assert {piece: (match, ambiguous) for piece, match, ambiguous in found} == {
        "w": ("both", True),
        "<0x77>": ("only_b", True),
    }


def stored(catalog: Path, model: str) -> dict[int, list[float]]:
    """Return a model's rows."""
    return dict(rows(catalog, f"select token_id, vector::double[] from vectors where model = '{model}'"))


def bits(row: list[float]) -> bytes:
    """Return the bits of a row's FLOATs."""
    return struct.pack(f"{len(row)}f", *row)


@pytest.mark.parametrize("b", ["tuned", "llama", "gpt"])
def test_rows_are_measured_as_exact_arithmetic_does(catalog: Path, b: str) -> None:
    A, B = stored(catalog, "gpt"), stored(catalog, b)
    asked = f"select token_a, token_b, distance, cosine, equal from compare_tokens('gpt', '{b}') where match = 'both'"
    found = rows(catalog, asked)
    assert len(found) > 50
    for token_a, token_b, distance, cosine, equal in found:
        own, other = A[token_a], B[token_b]
        assert equal == (bits(own) == bits(other)), (own, other)
        if not np.isfinite([*own, *other]).all():
            assert (distance, cosine) == (None, None)
            continue
        x, y = [*map(Fraction, own)], [*map(Fraction, other)]
        squared = sum((p - q) ** 2 for p, q in zip(x, y, strict=True))
        assert distance == pytest.approx(math.sqrt(squared), rel=16 * 2.0**-54, abs=0)
        lengths = sum(p * p for p in x) * sum(q * q for q in y)
        if not lengths:
            assert cosine is None
            continue
        exact = float(sum(p * q for p, q in zip(x, y, strict=True))) / math.sqrt(lengths)
        assert cosine == pytest.approx(exact, rel=0, abs=16 * 2.0**-52)
    assert any(equal for *_, equal in found) == (b != "llama")


def test_only_bits_tell_zeros_and_what_isnt_a_number_apart(catalog: Path) -> None:
    found = dict(rows(catalog, "select token_a, equal from compare_tokens('gpt', 'tuned') where token_a = token_b"))
    assert found[4] is False  # -0.0 and 0.0
    assert found[5] is True  # two NaNs of the same bits
    assert found[7] is True  # rows of zeros
    assert found[8] is True
    assert found[10] is False
    assert [found[i] for i in (3, 6, 9)] == [False] * 3


@pytest.mark.parametrize(("a", "b"), [("gpt", "bert"), ("bare", "longer")], ids=["of other widths", "without vectors"])
def test_rows_that_cant_be_measured_have_no_distance(catalog: Path, a: str, b: str) -> None:
    found = rows(catalog, f"select distance, cosine, equal from compare_tokens('{a}', '{b}') where match = 'both'")
    assert len(found) > 5
    assert {*found} == {(None, None, None)}


def test_both_sets_of_features_stand_beside_the_tokens(catalog: Path) -> None:
    for side, model in (("a", "gpt"), ("b", "bert")):
        told = ", ".join(f"{name}_{side}" for name in FEATURES)
        found = rows(
            catalog, f"select token_{side}, {told} from compare_tokens('gpt', 'bert') where token_{side} is not null"
        )
        own = rows(catalog, f"select token_id, {', '.join(FEATURES)} from features where model = '{model}'")
        assert sorted(found, key=str) == sorted(own, key=str)


def test_the_shell_gives_the_same(catalog: Path) -> None:
    query = "select token_a, token_b, match, ambiguous, distance, equal from compare_tokens('gpt', 'llama')"
    assert [tuple(row.values()) for row in in_shell(catalog, f"{query};")] == rows(catalog, query)


def test_a_cluster_is_told_of_both_models(catalog: Path) -> None:
    matched = rows(catalog, "select token_a, token_b, ambiguous from compare_tokens('gpt', 'llama')")
    sides = [(None if t is None else t < 80 for t in pair[:2]) for pair in matched]
    expected = {
        (a, b, in_a, in_b, ambiguous)
        for (a, b, ambiguous), (in_a, in_b) in zip(matched, sides, strict=True)
        if in_a or in_b
    }
    query = "select token_a, token_b, in_a, in_b, ambiguous from cluster_crossmatch('low', 'gpt', 'llama')"
    assert {*rows(catalog, query)} == expected
    # Where one of them has no such cluster, no token of it is in one.
    found = rows(catalog, "select distinct in_b from cluster_crossmatch('low', 'gpt', 'bert')")
    assert {*found} == {(None,), (False,)}


BAD = {
    "no model": ("compare_tokens('gpt', 'nix')", r"no model in view is called 'nix'; `from models` lists them"),
    "a name": ("compare_tokens('again', 'gpt')", r"'again' is a name; compare a matrix of it: again/input, again"),
    "nothing": ("compare_tokens(null, 'gpt')", r"no model in view is called NULL"),
    "no cluster": ("cluster_crossmatch('low', 'bert', 'bare')", r"neither bert nor bare has a cluster .low. with"),
    "cluster of no model": ("cluster_crossmatch('low', 'nix', 'gpt')", r"no model in view is called 'nix'"),
}  # fmt: skip


@pytest.mark.parametrize(("call", "message"), BAD.values(), ids=BAD)
def test_what_cant_be_compared_is_refused(catalog: Path, call: str, message: str) -> None:
    for query in (f"from {call}", f"select count(*) from {call}"):
        with pytest.raises(CatalogError, match=message), asked(catalog) as connection:
            connection.execute(query).fetchall()


def test_a_model_that_is_out_of_view_is_told_of(catalog: Path) -> None:
    message = r"no model in view \(the variable model is gpt\) is called 'bert'"
    with pytest.raises(CatalogError, match=message), asked(catalog, "gpt") as connection:
        connection.execute("from compare_tokens('gpt', 'bert')").fetchall()


def test_models_that_hold_the_same_tensor_are_told(catalog: Path) -> None:
    query = "select n_models, models from same_tensors"
    assert rows(catalog, query) == [(2, ["bare", "copy"])]
    assert rows(catalog, query, "bare") == [(2, ["bare", "copy"])]
    assert rows(catalog, query, "gpt") == []
