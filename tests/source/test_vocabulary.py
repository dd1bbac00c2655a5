"""`tokens`, entry by entry, against the tokenizers' own backends; and what can't be loaded safely is refused."""

import io
import itertools
import json
import random
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from tests.support.helpers import minilm_folder
from tests.support.tokenizers_made import (
    BYTE_PIECES,
    FAMILIES,
    LLAMA_DECODER,
    after_a_word,
    bpe,
    byte_level,
    columns_by_backend,
    completion,
    save,
    sentencepiece_bpe,
    stored_backend,
)
from token_catalog.catalog.errors import CatalogError
from token_catalog.ingest.source.vocabulary import Token, load_vocabulary, part_of_utf8, require_rows, token_columns

BYTE_ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(FAMILIES[request.param](), tmp_path_factory.mktemp("family"))


def loaded(tokenizer: Tokenizer, folder: Path) -> dict[str, Token]:
    """Save, load, and return the entries by piece."""
    return {token.piece: token for token in load_vocabulary(save(tokenizer, folder)).values()}


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


def assert_as_the_backend_has_it(folder: Path) -> dict[str, list[Any]]:
    backend, tokens = stored_backend(folder), load_vocabulary(folder)
    found = token_columns(tokens, backend.get_vocab_size())
    expected = columns_by_backend(backend, found["bytes"])
    for column, values in expected.items():
        assert found[column] == values, column
    return found


def test_every_column_equals_the_backend_in_every_family(family: Path) -> None:
    found = assert_as_the_backend_has_it(family)
    assert {"normal", "byte", "special", "added"} <= set(found["kind"])
    assert {True, False} == set(found["roundtrips"])


def test_minilm_equals_its_backend_and_23699_of_its_30522_entries_come_back() -> None:
    found = assert_as_the_backend_has_it(minilm_folder())
    assert (len(found["kind"]), found["roundtrips"].count(True)) == (30_522, 23_699)
    assert found["kind"].count("unused") == 994


@pytest.mark.parametrize("make", [byte_level, sentencepiece_bpe])
def test_parts_of_characters_completed_by_single_bytes_decode_to_those_characters(make: Any, tmp_path: Path) -> None:
    """The bytes of what has no text are settled by the backend alone: no alphabet of ours is used."""
    tokens = {i: t for i, t in load_vocabulary(save(make(), tmp_path)).items() if t.kind not in ("added", "special")}
    backend, single = stored_backend(tmp_path), {t.bytes: i for i, t in tokens.items() if len(t.bytes) == 1}
    parts = {i: t.bytes for i, t in tokens.items() if t.kind == "fragment"}
    assert len(single) == 256
    assert len(parts) >= 256 - 128 - 13
    for i, content in parts.items():
        before, after = completion(content)
        ids = [*(single[bytes([b])] for b in before), i, *(single[bytes([b])] for b in after)]
        assert after_a_word(backend, ids) == (before + content + after).decode()


def test_byte_level_pieces_have_the_bytes_kind_and_text_written_here(tmp_path: Path) -> None:
    expected = {
        "a": (b"a", "a", "byte"), "Ġ": (b" ", " ", "byte"), "Ġa": (b" a", " a", "normal"),
        "âĤ¬": ("€".encode(), "€", "normal"), "âĤ": (b"\xe2\x82", None, "fragment"),
        "Ĥ¬": (b"\x82\xac", None, "fragment"), "âĤ¬â": (b"\xe2\x82\xac\xe2", None, "fragment"),
        "âĠ": (b"\xe2\x20", None, "impossible"), "íł": (b"\xed\xa0", None, "impossible"),
        "À": (b"\xc0", None, "impossible"), "õ": (b"\xf5", None, "impossible"), "ÿa": (b"\xffa", None, "impossible"),
        "Ā": (b"\x00", "\x00", "byte"), "日": ("日".encode(), "日", "normal"),  # 日 is in no alphabet: as spelled
    }  # fmt: skip
    found = loaded(bpe(list(expected), decoders.ByteLevel()), tmp_path)
    assert {piece: (t.bytes, t.text, t.kind) for piece, t in found.items()} == expected


@pytest.mark.parametrize("decoder", [LLAMA_DECODER, decoders.Metaspace()], ids=["Replace", "Metaspace"])
def test_sentencepiece_spells_spaces_and_bytes_under_either_decoder(decoder: Any, tmp_path: Path) -> None:
    expected = {
        "▁": (b" ", " ", "byte"), "▁▁a": (b"  a", "  a", "normal"), "a▁": (b"a ", "a ", "normal"),
        "<0x0A>": (b"\n", "\n", "byte"), "<0x20>": (b" ", " ", "byte"), "<0xE2>": (b"\xe2", None, "fragment"),
        "<0x82>": (b"\x82", None, "fragment"), "<0xC0>": (b"\xc0", None, "impossible"),
        "<0xF5>": (b"\xf5", None, "impossible"), "<0x4>": (b"<0x4>", "<0x4>", "normal"),
    }  # fmt: skip
    found = loaded(bpe(list(expected), decoder, byte_fallback=True), tmp_path)
    assert {piece: (t.bytes, t.text, t.kind) for piece, t in found.items()} == expected


def test_without_byte_fallback_a_byte_piece_is_the_six_characters_it_spells(tmp_path: Path) -> None:
    found = loaded(bpe(["<0x0A>"], decoders.Metaspace()), tmp_path)["<0x0A>"]
    assert (found.bytes, found.kind) == (b"<0x0A>", "normal")


def test_an_end_of_word_suffix_is_the_space_after_the_word(tmp_path: Path) -> None:
    """As in CLIP and the first GPT: decoding puts the space between a word's end and the next word."""
    pieces = ["h", "i", "i</w>", "hi</w>", "hi", "</w>", "h</w>"]
    merges = [("h", "i</w>"), ("h", "i")]
    tokenizer = bpe(pieces, decoders.BPEDecoder(suffix="</w>"), merges=merges, end_of_word_suffix="</w>")
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    found = loaded(tokenizer, tmp_path)
    for i, piece in enumerate(pieces):
        assert found[piece].text == tokenizer.decode([i, pieces.index("h")]).removesuffix("h"), piece
        assert found[piece].roundtrips == (piece in ("i</w>", "hi</w>", "h</w>")), piece
    assert found["hi</w>"].bytes == b"hi "


@pytest.mark.parametrize(
    ("name", "kind"),
    [("[unused12]", "unused"), ("<|reserved_special_token_7|>", "unused"), ("<unused3>", "unused"),
     (">>UNUSED_1<<", "unused"), ("<SPECIAL_20>", "unused"), ("[control_12]", "unused"),
     ("<｜place▁holder▁no▁1｜>", "unused"), ("<|special|>", None), ("unused", None),
     ("[reuse1]", None), ("<|im_start|>", None), ("<extra_id_7>", None), ("unused12", None)],
)  # fmt: skip
def test_reserved_names_are_unused_whether_pieces_added_or_special(name: str, kind: str | None, tmp_path: Path) -> None:
    as_piece, as_added, as_special = (bpe(pieces, decoders.Metaspace()) for pieces in (["a", name], ["a"], ["a"]))
    as_added.add_tokens([name])
    as_special.add_special_tokens([name])
    found = [loaded(t, tmp_path / str(i))[name] for i, t in enumerate([as_piece, as_added, as_special])]
    assert [t.kind for t in found] == ([kind] * 3 if kind else ["normal", "added", "special"])
    assert [t.is_special for t in found] == [False, False, True]


def test_a_piece_that_only_the_configuration_names_as_special_is_special(tmp_path: Path) -> None:
    bpe(["a", "<end>"], decoders.Metaspace()).save(str(tmp_path / "tokenizer.json"))
    write_json(tmp_path / "tokenizer_config.json", {"eos_token": "<end>"})
    assert [(t.kind, t.is_special) for t in load_vocabulary(tmp_path).values()] == [("byte", False), ("special", True)]


def test_padding_and_truncation_that_are_stored_change_nothing(family: Path, tmp_path: Path) -> None:
    backend = stored_backend(family)
    pad, token = next(iter(backend.get_added_tokens_decoder().items()))
    backend.enable_padding(length=8, pad_id=pad, pad_token=token.content)
    backend.enable_truncation(max_length=1)
    backend.save(str(tmp_path / "tokenizer.json"))
    assert not any(backend.encode(backend.id_to_token(i)).ids == [i] for i in range(backend.get_vocab_size()))
    assert load_vocabulary(tmp_path) == load_vocabulary(family)


def test_two_entries_may_have_the_same_bytes(tmp_path: Path) -> None:
    tokens = load_vocabulary(save(byte_level(), tmp_path))
    assert {(t.piece, t.kind) for t in tokens.values() if t.bytes == b"  "} == {("ĠĠ", "normal"), ("  ", "added")}


def test_added_runs_of_spaces_are_spaces_as_the_backend_decodes_them_and_special_names_are_as_spelled(
    tmp_path: Path,
) -> None:
    """Gemma's ▁▁ is an added token that isn't special."""
    decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer = bpe(["a", "▁", "▁▁"], decoder, merges=[("▁", "▁")])
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.add_tokens([AddedToken("▁▁", normalized=False)])
    tokenizer.add_special_tokens(["<begin▁of▁text>"])
    found = loaded(tokenizer, tmp_path)
    assert (found["▁▁"].text, found["▁▁"].kind, found["▁▁"].roundtrips) == (tokenizer.decode([2]), "added", True)
    assert found["▁▁"].bytes == b"  "
    assert found["<begin▁of▁text>"].text == "<begin▁of▁text>"


def test_an_entry_that_cannot_be_encoded_for_want_of_an_unknown_token_does_not_come_back(tmp_path: Path) -> None:
    tokenizer = Tokenizer(models.WordPiece(vocab={"a": 0, "##b": 1}, unk_token="[UNK]"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()  # "##b" alone decodes as it is spelled
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing("a $A", special_tokens=[("a", 0)])
    with pytest.raises(Exception, match="Missing"):
        tokenizer.encode("##b")
    assert [t.roundtrips for t in loaded(tokenizer, tmp_path).values()] == [True, False]


def test_holes_and_rows_past_the_end_are_missing(tmp_path: Path) -> None:
    tokenizer = bpe([], decoders.Metaspace(), vocab={"a": 0, "▁b": 2})
    columns = token_columns(load_vocabulary(save(tokenizer, tmp_path)), 4)
    assert columns == {
        "token_id": [0, 1, 2, 3],
        "piece": ["a", None, "▁b", None],
        "bytes": [b"a", None, b" b", None],
        "text": ["a", None, " b", None],
        "kind": ["byte", "missing", "normal", "missing"],
        "is_special": [False] * 4,
        "n_bytes": [1, None, 2, None],
        "n_chars": [1, None, 2, None],
        "starts_with_space": [False, None, True, None],
        "roundtrips": [True, None, False, None],
    }


def test_every_entry_must_have_a_row(tmp_path: Path) -> None:
    tokens = load_vocabulary(save(bpe([], decoders.Metaspace(), vocab={"a": 0, "b": 2}), tmp_path))
    require_rows(tokens, 3)
    with pytest.raises(
        CatalogError,
        match=r"W has 2 rows but the tokenizer has 2 entries, .* 2; .*`tokenizer=`, or `with_tokenizer=False`",
    ):
        require_rows(tokens, 2)


@pytest.mark.parametrize("with_json", [False, True])
def test_code_of_the_models_author_is_never_run(with_json: bool, tmp_path: Path) -> None:
    (tmp_path / "custom.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\nclass Custom: pass\n")
    write_json(tmp_path / "tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["custom.Custom", None]}})
    if with_json:
        bpe(["a", "b"], decoders.Metaspace()).save(str(tmp_path / "tokenizer.json"))
        assert [t.piece for t in load_vocabulary(tmp_path).values()] == ["a", "b"]
    else:
        with pytest.raises(CatalogError, match="needs code from the model's author, which is never run"):
            load_vocabulary(tmp_path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("config", [None, {"model_type": "gpt2"}, {"model_type": "t5"}, {"model_type": "llama"}])
def test_no_tokenizer_is_made_up_where_there_are_no_files(config: dict[str, str] | None, tmp_path: Path) -> None:
    if config:
        write_json(tmp_path / "config.json", config)
    with pytest.raises(CatalogError, match=r"has no tokenizer's files .*`tokenizer=`"):
        load_vocabulary(tmp_path)


def test_what_cannot_be_loaded_is_said_with_the_reason_and_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(CatalogError, match=r"no tokenizer can be loaded \(.*line 1.*\); give one with `tokenizer=`"):
        load_vocabulary(tmp_path)
    write_json(tmp_path / "tokenizer_config.json", {"tokenizer_class": "ByT5Tokenizer"})
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(CatalogError, match="ByT5Tokenizer has no tokenizers backend"):
        load_vocabulary(tmp_path)


def test_tokenizer_json_is_believed_over_the_class_that_its_configuration_names(tmp_path: Path) -> None:
    """GPT2Tokenizer knows of no splitting into digits, and would have an <|endoftext|> of its own."""
    tokenizer = bpe([*BYTE_ALPHABET, "12"], decoders.ByteLevel(), merges=[("1", "2")])
    byte_level_pieces = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), byte_level_pieces]
    )
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    write_json(tmp_path / "tokenizer_config.json", {"tokenizer_class": "GPT2Tokenizer"})
    tokens = load_vocabulary(tmp_path)
    assert len(tokens) == 257
    assert not tokens[256].roundtrips


def test_a_vocabulary_with_merges_is_read_where_there_is_no_tokenizer_json(tmp_path: Path) -> None:
    write_json(tmp_path / "vocab.json", {"a": 0, "Ġ": 1, "Ġa": 2, "<|endoftext|>": 3})
    (tmp_path / "merges.txt").write_text("#version: 0.2\nĠ a\n", encoding="utf-8")
    write_json(tmp_path / "tokenizer_config.json", {"tokenizer_class": "GPT2Tokenizer"})
    found = [(t.text, t.kind, t.roundtrips) for t in load_vocabulary(tmp_path).values()]
    assert found == [
        ("a", "byte", True),
        (" ", "byte", True),
        (" a", "normal", True),
        ("<|endoftext|>", "special", True),
    ]


@pytest.mark.filterwarnings("ignore:builtin type:DeprecationWarning")
def test_a_sentencepiece_model_alone_is_read(tmp_path: Path) -> None:
    sentencepiece = pytest.importorskip("sentencepiece")
    pytest.importorskip("google.protobuf")
    trained = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["the waiter waits for the café, the waiter waits"] * 20), model_writer=trained,
        model_type="bpe", vocab_size=300, byte_fallback=True, hard_vocab_limit=False, minloglevel=9,
    )  # fmt: skip
    (tmp_path / "tokenizer.model").write_bytes(trained.getvalue())
    write_json(tmp_path / "tokenizer_config.json", {"tokenizer_class": "LlamaTokenizer"})
    own, tokens = sentencepiece.SentencePieceProcessor(model_proto=trained.getvalue()), load_vocabulary(tmp_path)
    assert [tokens[i].piece for i in range(len(own))] == [own.id_to_piece(i) for i in range(len(own))]
    anchor = own.encode("the")[-1]
    for i, token in tokens.items():
        if token.kind in ("normal", "byte"):
            assert own.decode([anchor, i]) == own.decode([anchor]) + token.text, token
    assert [tokens[own.piece_to_id(piece)].bytes for piece in BYTE_PIECES] == [bytes([byte]) for byte in range(256)]


def test_part_of_utf8_equals_trying_every_completion() -> None:
    """All strings of 1 and 2 bytes, and longer ones of the bytes where UTF-8's rules change."""
    edges = bytes.fromhex("41 80 8F 90 9F A0 BF C1 C2 DF E0 E1 EC ED EE EF F0 F1 F3 F4 F5")
    drawn = random.Random(0)
    strings = [bytes(s) for n in (1, 2) for s in itertools.product(range(256), repeat=n)]
    strings += [bytes(s) for s in itertools.product(edges, repeat=3)]
    strings += [bytes(drawn.choices(edges, k=k)) for k in (4, 5) for _ in range(10_000)]
    strings += [text[a:b] for text in ("€😀é日".encode(),) for a, b in itertools.combinations(range(len(text) + 1), 2)]
    wrong = [s for s in strings if part_of_utf8(s) != (completion(s) is not None)]
    assert not wrong
    assert part_of_utf8(b"")
