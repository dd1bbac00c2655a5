"""Small tokenizers of the common families, made here, and `tokens` as their backends give it, asked one by one."""

import json
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

CORPUS = [
    "The café's naïve waiter, über-happy, sells two  spaces and   three. The waiter waits; the café closes.",
    "Привет, мир! Привет, друзья. 日本語の本と中国の本、日本と中国。 안녕하세요 세계 안녕",
    "def f(x):\n    return x  # 😀 😃 🎉 😀 😃\n    return the_waiter(x)\n" * 3,
]
BYTE_PIECES = [f"<0x{byte:02X}>" for byte in range(256)]
LLAMA_DECODER = decoders.Sequence(
    [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
)
# What can stand before and after a part of a character to complete it: E0, ED, F0 and F4 are choosy about what follows.
_BEFORE = [b"", b"\xc2", b"\xe1", b"\xe1\x80", b"\xf1", b"\xf1\x80", b"\xf1\x80\x80"]
_AFTER = [b"", b"\x80", b"\x80\x80", b"\x80\x80\x80", b"\xa0", b"\xa0\x80", b"\xa0\x80\x80"]


def byte_level() -> Tokenizer:
    """Return a byte-level BPE, as GPT-2's; an added '  ' stands beside the piece of two spaces."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        CORPUS, trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    )
    made.add_special_tokens(["<|endoftext|>", "<|reserved_special_token_7|>"])
    made.add_tokens(["  ", "日x", "Ġadded"])
    return made


def wordpiece() -> Tokenizer:
    """Return a WordPiece, as BERT's, that lowercases what it learned in capitals too."""
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # noqa: S106
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece(cleanup=False)
    names = ["[PAD]", "[unused0]", "[unused12]", "[UNK]", "[CLS]", "[SEP]"]
    made.train_from_iterator(
        CORPUS, trainers.WordPieceTrainer(vocab_size=220, special_tokens=names, show_progress=False)
    )
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.post_processor = processors.BertProcessing(("[SEP]", 5), ("[CLS]", 4))
    made.add_tokens(["##added", "two words"])
    return made


def sentencepiece_bpe() -> Tokenizer:
    """Return a BPE with byte fallback, as SentencePiece makes it for Llama 2."""
    made = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))  # noqa: S106
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    made.decoder = LLAMA_DECODER
    names = ["<unk>", "<s>", "</s>", *BYTE_PIECES]
    trainer = trainers.BpeTrainer(vocab_size=460, special_tokens=names, show_progress=False)
    made.train_from_iterator([word for line in CORPUS for word in line.split()], trainer)
    # Training takes the byte pieces for special; they are ordinary.
    described = json.loads(made.to_str())
    described["added_tokens"] = [token for token in described["added_tokens"] if token["content"] in names[:3]]
    made = Tokenizer.from_str(json.dumps(described))
    made.add_tokens([AddedToken("<unused3>", normalized=False), AddedToken("  ", normalized=False)])
    return made


def unigram() -> Tokenizer:
    """Return a Unigram, as T5's."""
    made = Tokenizer(models.Unigram())
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    names = ["<pad>", "</s>", "<unk>", "<extra_id_0>"]
    trainer = trainers.UnigramTrainer(vocab_size=180, special_tokens=names, unk_token="<unk>", show_progress=False)  # noqa: S106
    made.train_from_iterator(CORPUS, trainer)
    made.add_tokens(["<new>"])
    return made


FAMILIES = {"byte-level": byte_level, "WordPiece": wordpiece, "SentencePiece": sentencepiece_bpe, "Unigram": unigram}


def bpe(pieces: list[str], decoder: Any, **settings: Any) -> Tokenizer:
    """Return a BPE with these pieces, token_id by place, and no merges unless given."""
    made = Tokenizer(models.BPE(**{"vocab": {piece: i for i, piece in enumerate(pieces)}, "merges": []} | settings))
    made.decoder = decoder
    return made


def save(tokenizer: Tokenizer, folder: Path) -> Path:
    """Save a tokenizer as transformers does."""
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)
    return folder


def stored_backend(folder: Path) -> Tokenizer:
    """Return a folder's own backend, with no padding and no truncation."""
    backend = Tokenizer.from_file(str(folder / "tokenizer.json"))
    backend.no_padding()
    backend.no_truncation()
    return backend


def after_a_word(backend: Tokenizer, ids: list[int]) -> str:
    """Return what ids decode to after a word (alone, spaces go), without the one that WordPiece puts before words."""
    anchor = backend.encode("waiter", add_special_tokens=False).ids[-1]
    decoded = backend.decode([anchor, *ids], skip_special_tokens=False).removeprefix(backend.decode([anchor]))
    return decoded.removeprefix(" ") if isinstance(backend.decoder, decoders.WordPiece) else decoded


def columns_by_backend(backend: Tokenizer, bytes_found: list[bytes]) -> dict[str, list[Any]]:
    """Return `tokens` as the backend has it; only the bytes of entries without text are those found."""
    added = backend.get_added_tokens_decoder()
    rows = []
    for i, found in enumerate(bytes_found):
        piece, decoded = backend.id_to_token(i), after_a_word(backend, [i])
        text = added[i].content if i in added else None if "\ufffd" in decoded else decoded
        content = found if text is None else text.encode()
        special = i in added and added[i].special
        reserved = piece.startswith("[unused") or piece in ("<|reserved_special_token_7|>", "<unused3>")
        rows.append({
            "token_id": i,
            "piece": piece,
            "bytes": content,
            "text": text,
            "kind": "unused" if reserved else "special" if special else "added" if i in added else kind_of(content),
            "is_special": special,
            "n_bytes": len(content),
            "n_chars": None if text is None else len(text),
            "starts_with_space": content[:1] == b" ",
            "roundtrips": backend.encode(backend.decode([i], False), add_special_tokens=False).ids == [i],
        })  # fmt: skip
    return {column: [row[column] for row in rows] for column in rows[0]}


def kind_of(content: bytes) -> str:
    """Return an ordinary entry's kind."""
    completed = completion(content)
    if completed is None:
        return "impossible"
    return "fragment" if completed != (b"", b"") else "byte" if len(content) == 1 else "normal"


def completion(content: bytes) -> tuple[bytes, bytes] | None:
    """Return what before and after bytes makes them UTF-8, found by trying all there is; None where nothing does."""
    for before in _BEFORE:
        for after in _AFTER:
            try:
                (before + content + after).decode()
            except UnicodeDecodeError:
                continue
            return before, after
    return None
