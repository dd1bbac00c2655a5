"""Tokens: id -> piece, bytes, text and kind, as the tokenizer's own backend has them. The only user of transformers.

Bytes come from the entry itself, not from `decode([id])`, which gives U+FFFD for a part of a character and drops
SentencePiece's leading space. What an entry's spelling means is read from the backend's decoder: byte-level alphabets
(GPT-2 and most since), SentencePiece's ▁ and <0xNN>, WordPiece's ##, end-of-word suffixes. Added tokens are as spelled,
but for the ▁ of those that aren't special (Gemma's runs of spaces).
"""

import codecs
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import Any

from token_catalog.catalog.errors import CatalogError

from .model_files import TOKENIZER_JSON, VOCABULARY_FILES

# Reserved names, that nothing is trained on: [unused12] (BERT), <unused3> (Gemma), >>UNUSED_1<< (Falcon),
# <|reserved_special_token_7|> (Llama), <SPECIAL_20>, [control_12] (Mistral), <｜place▁holder▁no▁1｜> (DeepSeek).
_UNUSED = re.compile(
    r"(?:<[|｜]?|\[|>>)"
    r"(?:(?:unused|reserved|place[_▁ ]?holder|dummy)[\w▁ -]*|(?:special|control)_\d+)"
    r"(?:[|｜]?>|\]|<<)",
    re.IGNORECASE,
)
_BYTE_PIECE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_MAX_CONTINUATION = 3
# Enough for transformers' list of what it looked for and what isn't installed.
_REASON_LENGTH = 400


@dataclass(frozen=True)
class Token:
    """One entry of a tokenizer: its columns in `tokens`."""

    piece: str
    bytes: bytes
    text: str | None
    kind: str
    is_special: bool
    roundtrips: bool


def load_vocabulary(folder: Path) -> dict[int, Token]:
    """Return every entry of the tokenizer in a folder, by token_id; CatalogError where none can be had safely."""
    return vocabulary(_load(folder))


def vocabulary(tokenizer: Any) -> dict[int, Token]:
    """Return every entry of a transformers tokenizer that has a `backend_tokenizer`, by token_id."""
    backend = tokenizer.backend_tokenizer
    # A stored tokenizer may pad and cut: then no entry would come back as itself.
    backend.no_padding()
    backend.no_truncation()
    added = backend.get_added_tokens_decoder()
    pieces = {i: piece for piece, i in backend.get_vocab(True).items()} | {i: t.content for i, t in added.items()}
    special = {i for i, token in added.items() if token.special} | set(tokenizer.all_special_ids)
    description = json.loads(backend.to_str())
    to_bytes, space = _spelling(description), _space(description)
    ids = sorted(pieces)
    tokens = {}
    for i, roundtrips in zip(ids, _roundtrips(backend, ids), strict=True):
        piece = pieces[i]
        if i not in added:
            content = to_bytes(piece)
        else:
            content = (piece.replace(space, " ") if space and i not in special else piece).encode()
        text = _as_text(content)
        kind = _kind(piece, content, text, is_special=i in special, is_added=i in added)
        tokens[i] = Token(piece, content, text, kind, i in special, roundtrips)
    return tokens


def require_rows(tokens: Mapping[int, Token], n_tokens: int) -> None:
    """Raise CatalogError where an entry of the tokenizer has no row in W."""
    last = max(tokens, default=-1)
    if last >= n_tokens:
        raise CatalogError(
            f"W has {n_tokens:,} rows but the tokenizer has {len(tokens):,} entries, up to token_id {last}; "
            "give the matching `tokenizer=`, or `with_tokenizer=False`"
        )


def token_columns(tokens: Mapping[int, Token], n_tokens: int) -> dict[str, list[Any]]:
    """Return the columns of `tokens` for rows 0 to n_tokens - 1 of W; kind 'missing' where there's no entry."""
    rows = [tokens.get(i) for i in range(n_tokens)]
    return {
        "token_id": list(range(n_tokens)),
        "piece": [t and t.piece for t in rows],
        "bytes": [t and t.bytes for t in rows],
        "text": [t and t.text for t in rows],
        "kind": [t.kind if t else "missing" for t in rows],
        "is_special": [bool(t and t.is_special) for t in rows],
        "n_bytes": [len(t.bytes) if t else None for t in rows],
        "n_chars": [len(t.text) if t and t.text is not None else None for t in rows],
        "starts_with_space": [t.bytes.startswith(b" ") if t else None for t in rows],
        "roundtrips": [t and t.roundtrips for t in rows],
    }


def _load(folder: Path) -> Any:
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    # AutoTokenizer builds some classes' tokenizers anew, without what their tokenizer.json says of digits or case.
    stored = (folder / TOKENIZER_JSON).is_file()
    loader = PreTrainedTokenizerFast if stored else AutoTokenizer
    try:
        tokenizer = loader.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except Exception as error:
        if "trust_remote_code" in str(error):
            raise CatalogError(
                f"{folder}: the tokenizer needs code from the model's author, which is never run here; "
                "give another with `tokenizer=`, or `with_tokenizer=False`"
            ) from None
        if not any(any(folder.glob(pattern)) for pattern in VOCABULARY_FILES):
            raise _no_files(folder) from None
        reason = shorten(str(error), _REASON_LENGTH) or type(error).__name__
        raise CatalogError(
            f"{folder}: no tokenizer can be loaded ({reason}); give one with `tokenizer=`, or `with_tokenizer=False`"
        ) from None
    if getattr(tokenizer, "backend_tokenizer", None) is None:
        raise CatalogError(
            f"{folder}: {type(tokenizer).__name__} has no tokenizers backend (tokenizer.json); "
            "give one with `tokenizer=`, or `with_tokenizer=False`"
        )
    # From config.json's model_type alone, transformers makes up a tokenizer of a few special tokens.
    if not stored and not tokenizer.init_kwargs.get("vocab_file"):
        raise _no_files(folder)
    return tokenizer


def _no_files(folder: Path) -> CatalogError:
    return CatalogError(
        f"{folder}: has no tokenizer's files ({', '.join(VOCABULARY_FILES)}); "
        "give one with `tokenizer=`, or `with_tokenizer=False`"
    )


def _spelling(backend: Mapping[str, Any]) -> Callable[[str], bytes]:
    """Return what a piece's spelling means in bytes, from the backend's own description of its decoder."""
    steps = {step["type"]: step for step in _steps(backend.get("decoder"))}
    model, space = backend["model"], _space(backend)
    prefix = steps["WordPiece"]["prefix"] if "WordPiece" in steps else model.get("continuing_subword_prefix")
    suffix = steps["BPEDecoder"]["suffix"] if "BPEDecoder" in steps else model.get("end_of_word_suffix")
    byte_fallback = "ByteFallback" in steps or model.get("byte_fallback")
    alphabet = _byte_alphabet() if "ByteLevel" in steps else None

    def to_bytes(piece: str) -> bytes:
        if byte_fallback and (match := _BYTE_PIECE.fullmatch(piece)):
            return bytes.fromhex(match[1])
        if prefix and piece.startswith(prefix):
            piece = piece[len(prefix) :]
        ends_word = bool(suffix) and piece.endswith(suffix)
        if ends_word:
            piece = piece[: -len(suffix)]
        if space:
            piece = piece.replace(space, " ")
        if alphabet and all(character in alphabet for character in piece):
            content = bytes(alphabet[character] for character in piece)
        else:
            content = piece.encode()
        return content + b" " if ends_word else content

    return to_bytes


def _space(backend: Mapping[str, Any]) -> str | None:
    """Return what the decoder turns into a space (SentencePiece's ▁), if anything."""
    for step in _steps(backend.get("decoder")):
        if step["type"] == "Metaspace":
            return str(step["replacement"])
        if step["type"] == "Replace" and step["content"] == " " and "String" in step["pattern"]:
            return str(step["pattern"]["String"])
    return None


def _steps(decoder: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
    if decoder and decoder["type"] == "Sequence":
        for step in decoder["decoders"]:
            yield from _steps(step)
    elif decoder:
        yield decoder


def _byte_alphabet() -> dict[str, int]:
    """Return GPT-2's alphabet: a printable character for each byte (those that print stand for themselves).

    >>> alphabet = _byte_alphabet()
    >>> alphabet["A"], alphabet["Ġ"], len(alphabet)
    (65, 32, 256)
    """
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(others)}


def _roundtrips(backend: Any, ids: list[int]) -> list[bool]:
    """Whether encode(decode([id])) = [id] for each id, by the backend, no special tokens added."""
    texts = backend.decode_batch([[i] for i in ids], skip_special_tokens=False)
    try:
        encoded = [encoding.ids for encoding in backend.encode_batch_fast(texts, add_special_tokens=False)]
    except Exception:
        # One text with a character outside a vocabulary that has no unknown token fails the whole batch.
        encoded = [_encoded(backend, text) for text in texts]
    return [back == [i] for back, i in zip(encoded, ids, strict=True)]


def _encoded(backend: Any, text: str) -> list[int] | None:
    try:
        return list(backend.encode(text, add_special_tokens=False).ids)
    except Exception:
        return None


def _as_text(content: bytes) -> str | None:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _kind(piece: str, content: bytes, text: str | None, *, is_special: bool, is_added: bool) -> str:
    if _UNUSED.fullmatch(piece):
        return "unused"
    if is_special:
        return "special"
    if is_added:
        return "added"
    if text is None:
        return "fragment" if part_of_utf8(content) else "impossible"
    return "byte" if len(content) == 1 else "normal"


def part_of_utf8(content: bytes) -> bool:
    r"""Whether some UTF-8 text contains these bytes: the end of a character, whole ones, the beginning of one.

    >>> part_of_utf8(b"\x80 \xe2\x82"), part_of_utf8(b"\xc0"), part_of_utf8(b"\xe2 ")
    (True, False, False)
    """
    n_continuation = 0
    while n_continuation < min(_MAX_CONTINUATION, len(content)) and content[n_continuation] & 0xC0 == 0x80:
        n_continuation += 1
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        decoder.decode(content[n_continuation:], final=False)
    except UnicodeDecodeError:
        return False
    # Python waits for a surrogate's third byte before it refuses it: nothing in UTF-8 begins with ED A0 to ED BF.
    begun, _ = decoder.getstate()
    return not (begun[:1] == b"\xed" and begun[1:2] >= b"\xa0")
