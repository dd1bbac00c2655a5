"""The further figures that ask the tokenizer: which entries don't come back, and in what scripts the component is."""

import unicodedata
from collections import Counter
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from tests.support.exact import Floats, Ids
from tests.support.further_statistics import described, joined
from tests.support.replica_figures import Component, Matrix, Value

# What a token without characters to be seen is of.
EMPTY = "Empty/Whitespace"
_CATEGORIES = ("ascii", "cjk", "empty", "other", "thai")
_N_SCRIPTS = 8


class Entries:
    """A tokenizer's entries that are rows of W: their ids, and which of them come back as themselves."""

    def __init__(self, folder: Path, n_tokens: int) -> None:
        """Read folder/tokenizer.json."""
        self.backend = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.backend.no_padding()
        self.backend.no_truncation()
        ids = np.unique(list(self.backend.get_vocab(with_added_tokens=True).values()))
        self.ids: Ids = ids[ids < n_tokens]

    def texts(self, ids: Ids) -> list[str]:
        """Return what tokens decode to, each alone, special ones to their names; those without an entry to nothing."""
        return [self.backend.decode([i], skip_special_tokens=False) for i in ids.tolist()]

    @cached_property
    def back(self) -> Ids:
        """Return the entries whose text is encoded as the entry alone."""
        encoded = self.backend.encode_batch(self.texts(self.ids), add_special_tokens=False)
        return np.array(
            [i for i, one in zip(self.ids.tolist(), encoded, strict=True) if one.ids == [i]], dtype=np.int64
        )


def entry_figures(
    matrix: Matrix, component: Component, centre: Floats, from_centre: Floats, folder: Path
) -> dict[str, Value]:
    """Return the figures of a tokenizer's entries; `centre` is the component's mean, `from_centre` distances to it."""
    entries = Entries(folder, len(matrix.W))
    inside = np.intersect1d(entries.ids, component.tokens)
    halo = np.setdiff1d(entries.ids, np.union1d(entries.back, component.tokens))
    rest = np.setdiff1d(entries.ids, np.union1d(halo, component.tokens))
    texts = entries.texts(component.tokens)
    return {
        "unreachable_in_component": len(np.setdiff1d(inside, entries.back)),
        "halo_tokens": len(halo),
        "component_categories": categories(texts),
        "component_reachable_ids": joined(np.intersect1d(inside, entries.back).tolist()),
        "component_scripts": scripts(texts),
        **described("halo_distance_min_mean_median_max", from_centre[halo], ".6f"),
        **_offset(matrix, halo, centre),
        **described("halo_norm_mean_median_min_max", matrix.norms[halo], ".6f"),
        **described("rest_norm_mean_median_min_max", matrix.norms[rest], ".6f"),
    }


def _offset(matrix: Matrix, halo: Ids, centre: Floats) -> dict[str, Value]:
    if not len(halo):
        return {}
    mean = matrix.W[halo].double().mean(dim=0).numpy()
    return {"halo_centroid_offset": float(np.linalg.norm(mean - centre))}


def categories(texts: Iterable[str]) -> str:
    """Return how many texts are of each category, in alphabetical order."""
    counts = Counter(map(category, texts))
    return joined(counts[name] for name in _CATEGORIES)


def category(text: str) -> str:
    """Return what a text is, the first of these that it is: empty or whitespace, ASCII, Thai, CJK, other."""
    if not text.strip():
        return "empty"
    if text.isascii():
        return "ascii"
    if any("\u0e00" <= char <= "\u0e7f" for char in text):
        return "thai"
    return "cjk" if any("\u4e00" <= char <= "\u9fff" for char in text) else "other"


def scripts(texts: Iterable[str]) -> str:
    """Return the eight scripts of most texts with their counts; of several as frequent, in alphabetical order."""
    ranked = sorted(Counter(map(script, texts)).items(), key=lambda pair: (-pair[1], pair[0]))
    return " ".join(f"{name}:{count}" for name, count in ranked[:_N_SCRIPTS])


def script(text: str) -> str:
    """Return the first word that most of a text's characters have in their names; of several, the one first met.

    Whitespace and category C (controls, unassigned) don't count; where nothing else is, the text is EMPTY.
    """
    seen = [char for char in text if not char.isspace() and not unicodedata.category(char).startswith("C")]
    words = Counter(unicodedata.name(char, "UNNAMED").split()[0] for char in seen)
    return words.most_common(1)[0][0] if words else EMPTY
