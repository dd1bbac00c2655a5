"""A recipe's `[[frame]]`s: an origin and three axes, from which every token gets a place.

What can be told without a model is checked here: keys, types and names, and that no axis is asked for twice.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from token_catalog.catalog.errors import CatalogError, listed

from .checks import as_integer, as_switch, as_table, as_text, check_known
from .entries import check_cluster, check_names, class_of, entry_name

LETTERS = ("x", "y", "z")
# The sky's own frame, which is no table's.
DEFAULT = "default"
# Origins that are words, and those that are tables of one key.
WORDS = ("zero", "mean")
ORIGINS = ("centroid", "token", "reference")


@dataclass(frozen=True)
class Frame:
    """An origin and three axes, as they were asked for: the origin a word or a table, each axis a table, by its letter.

    An `optional` one is left out, with a note, where it can't be had.
    """

    name: str
    origin: str | Mapping[str, Any]
    axes: Mapping[str, Mapping[str, Any]]
    optional: bool = False

    @property
    def key(self) -> str:
        """Where it stands in the recipe, for messages."""
        return f"frame '{self.name}'"

    def parts(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield the key of its origin, and of each axis, with what is asked for there; a word asks for nothing."""
        yield f"{self.key}.origin", {} if isinstance(self.origin, str) else self.origin
        for letter, axis in self.axes.items():
            yield f"{self.key}.{letter}", axis

    @property
    def hangs_on_others(self) -> bool:
        """Whether it is another frame when a cluster or a reference is another.

        >>> [frame] = parse_frames([{"name": "f", "origin": "zero", "x": {"pc": 1}, "y": {"pc": 2}, "z": {"pc": 3}}])
        >>> frame.hangs_on_others
        False
        """
        return any({"cluster", "centroid", "reference"} & asked.keys() for _, asked in self.parts())

    def as_dict(self) -> dict[str, Any]:
        """Return it in the shape it is written in."""
        axes = {letter: dict(axis) for letter, axis in self.axes.items()}
        origin = self.origin if isinstance(self.origin, str) else dict(self.origin)
        return {"name": self.name, "origin": origin, **axes} | ({"optional": True} if self.optional else {})


def parse_frames(entries: Iterable[Mapping[str, Any]]) -> tuple[Frame, ...]:
    """Check the tables under `[[frame]]`.

    >>> parse_frames([{"name": "f", "origin": "centre", "x": {"pc": 1}, "y": {"pc": 2}, "z": {"pc": 3}}])
    Traceback (most recent call last):
    ...
    token_catalog.catalog.errors.CatalogError: frame 'f'.origin: 'centre': zero, mean, or a table of centroid, token or reference
    """  # noqa: E501
    frames = tuple(_frame(entry, place) for place, entry in enumerate(entries, 1))
    check_names([frame.name for frame in frames], "frame")
    return frames


def check_frames(frames: Sequence[Frame], references: Collection[str], clusters: Collection[str]) -> None:
    """Raise CatalogError where a frame builds on a cluster or a reference that isn't in the recipe."""
    for frame in frames:
        for key, asked in frame.parts():
            for word in ("centroid", "cluster"):
                if word in asked:
                    check_cluster(asked[word], f"{key}.{word}", references, clusters)
            if "reference" in asked and asked["reference"] not in references:
                raise CatalogError(
                    f"{key}.reference: no reference '{asked['reference']}'; there are {listed(references)}"
                )


def builds_on(frame: Frame) -> set[str]:
    """Return the references and clusters of the recipe that a frame builds on, by their names.

    >>> axes = {"x": {"pc": 1, "cluster": "a:dot-mode"}, "y": {"reference": "b"}, "z": {"pc": 1}}
    >>> sorted(builds_on(Frame("f", {"centroid": "c"}, axes)))
    ['a', 'b', 'c']
    """
    asked = [asked.get(word) for _, asked in frame.parts() for word in ("centroid", "cluster", "reference")]
    return {class_of(name) or name for name in asked if name is not None}


def _frame(entry: Mapping[str, Any], place: int) -> Frame:
    name = entry_name(entry, "frame", place)
    keys = ("name", "origin", *LETTERS, "optional")
    check_known(entry, f"frame '{name}'.", keys)
    if name == DEFAULT:
        raise CatalogError(f"frame '{name}': the sky is the frame of that name; give another, or a [sky]")
    for key in keys[1:-1]:
        if key not in entry:
            raise CatalogError(f"frame '{name}'.{key}: missing; a frame has an origin and the axes x, y and z")
    axes = {letter: _axis(entry[letter], f"frame '{name}'.{letter}") for letter in LETTERS}
    unsigned = [{**axis, "pc": abs(axis["pc"])} if "pc" in axis else axis for axis in axes.values()]
    for letter, axis in zip(LETTERS, unsigned, strict=True):
        first = LETTERS[unsigned.index(axis)]
        if first != letter:
            raise CatalogError(f"frame '{name}': {first} and {letter} are the same axis; a frame needs three")
    optional = as_switch(entry.get("optional", False), f"frame '{name}'.optional")
    return Frame(name, _origin(entry["origin"], f"frame '{name}'.origin"), axes, optional)


def _origin(value: object, key: str) -> str | Mapping[str, Any]:
    if isinstance(value, str):
        if value not in WORDS:
            raise CatalogError(f"{key}: '{value}': {', '.join(WORDS)}, or a table of {' or '.join(_commas(ORIGINS))}")
        return value
    table = as_table(value, key)
    check_known(table, f"{key}.", ORIGINS)
    if len(table) != 1:
        raise CatalogError(f"{key}: has {len(table)} keys; give one of {', '.join(ORIGINS)}")
    ((kind, given),) = table.items()
    if kind != "token":
        return {kind: as_text(given, f"{key}.{kind}")}
    token = as_integer(given, f"{key}.token")
    if token < 0:
        raise CatalogError(f"{key}.token: {token} is no token_id; they are numbered from 0")
    return {kind: token}


def _axis(value: object, key: str) -> Mapping[str, Any]:
    table = as_table(value, key)
    check_known(table, f"{key}.", ("pc", "cluster", "model", "reference"))
    if table.keys() == {"reference"}:
        return {"reference": as_text(table["reference"], f"{key}.reference")}
    if "pc" not in table or len(table) > 2 or "reference" in table:
        raise CatalogError(f"{key}: is pc = 1, pc = 1 with cluster = … or with model = …, not both, or reference = …")
    pc = as_integer(table["pc"], f"{key}.pc")
    if pc == 0:
        raise CatalogError(f"{key}.pc: components are numbered from 1 (negative: flipped); 0 is none")
    return {"pc": pc} | {word: as_text(table[word], f"{key}.{word}") for word in ("cluster", "model") if word in table}


def _commas(words: Sequence[str]) -> tuple[str, str]:
    """Return all words but the last, with commas between them, and the last."""
    return ", ".join(words[:-1]), words[-1]
