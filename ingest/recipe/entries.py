"""A recipe's `[[reference]]`s, which vectors W is seen from, and `[[cluster]]`s, sets of tokens.

A cluster is a condition in SQL, or a file of token_ids.

What can be told without a model is checked here: keys, types, names, and that a reference builds on earlier ones only.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from token_catalog.catalog.errors import CatalogError, listed

from .checks import as_finite, as_integer, as_path, as_switch, as_table, as_text, check_known

# The clusters that each reference makes: REF:cosine-mode and so on.
CLASSES = ("cosine-mode", "dot-mode", "dot-self")
LARGEST = "largest-component"
# The clusters that linkage and duplicates make: component:ID, duplicate:ID.
NUMBERED = ("component", "duplicate")

KINDS = ("sky", "centroid", "first_in_box", "token", "text", "pc", "mean", "vector")
# Of these, the kinds that are some token's row.
TOKEN_KINDS = ("first_in_box", "token", "text")

# Files that a cluster's token_ids may come from, by their endings, and the key that says where in the file they are.
FILE_ENDINGS = {".txt": None, ".csv": "column", ".parquet": "column", ".safetensors": "key"}
DEFAULT_COLUMN = "token_id"


@dataclass(frozen=True)
class Reference:
    """A vector to see W from, as it was asked for: one of KINDS, and that kind's value.

    `scale` multiplies it; an `optional` one is left out, with a note, where it can't be had.
    """

    name: str
    kind: str
    value: Any
    scale: float | None = None
    optional: bool = False

    @property
    def key(self) -> str:
        """Where it stands in the recipe, for messages."""
        return f"reference '{self.name}'.{self.kind}"

    @property
    def builds_on(self) -> str | None:
        """The reference whose cluster it is the centroid of, if it is one's.

        >>> Reference("b", "centroid", "a:dot-mode").builds_on
        'a'
        """
        return class_of(self.value) if self.kind == "centroid" else None

    def as_dict(self) -> dict[str, Any]:
        """Return it in the shape it is written in."""
        entry = {"name": self.name, self.kind: self.value}
        if self.scale is not None:
            entry["scale"] = self.scale
        return entry | ({"optional": True} if self.optional else {})


@dataclass(frozen=True)
class TokenFile:
    """A file with token_ids: its path, absolute; which column, or key of a tensor; and its SHA-256, once it was read.

    A recipe that gives a `sha256` wants that very file.
    """

    path: str
    part: str | None = None
    sha256: str | None = None

    @property
    def part_key(self) -> str | None:
        """What its ending calls the part: `column` or `key`; None where it has none."""
        return FILE_ENDINGS[Path(self.path).suffix]

    @property
    def definition(self) -> str:
        """What `clusters.definition` says.

        >>> TokenFile("/study/m.safetensors", "mask", "0a1b").definition
        'file m.safetensors (sha256 0a1b), key mask'
        """
        part = f", {self.part_key} {self.part}" if self.part else ""
        return f"file {Path(self.path).name} (sha256 {self.sha256}){part}"

    def as_dict(self) -> dict[str, Any]:
        """Return its keys in the recipe."""
        keys = {"file": self.path, self.part_key: self.part, "sha256": self.sha256}
        return {key: value for key, value in keys.items() if key and value is not None}


@dataclass(frozen=True)
class Cluster:
    """The tokens for which a condition over `features` and `tokens` holds, or those that a file names."""

    name: str
    where: str = ""
    file: TokenFile | None = None

    @property
    def key(self) -> str:
        """Where its condition, or its file, stands in the recipe, for messages."""
        return f"cluster '{self.name}'.{'file' if self.file else 'where'}"

    @property
    def definition(self) -> str:
        """Which tokens it has, in words."""
        return self.file.definition if self.file else self.where

    def as_dict(self) -> dict[str, Any]:
        """Return it in the shape it is written in."""
        return {"name": self.name, **(self.file.as_dict() if self.file else {"where": self.where})}


# What there is without a recipe.
DEFAULTS = (
    Reference("mean", "mean", True, optional=True),
    Reference(LARGEST, "centroid", LARGEST, optional=True),
)


def parse_references(entries: Iterable[Mapping[str, Any]], folder: Path) -> tuple[Reference, ...]:
    """Check the tables under `[[reference]]`; files are found from `folder`, where the recipe is.

    >>> parse_references([{"name": "a", "token": 124}, {"name": "b", "centroid": "a:dot-mode"}], Path())[0].value
    124
    >>> parse_references([{"name": "a", "token": 124, "pc": 1}], Path())
    Traceback (most recent call last):
    ...
    token_catalog.catalog.errors.CatalogError: reference 'a': token and pc: it can be one kind only
    """
    references = tuple(_reference(entry, place, folder) for place, entry in enumerate(entries, 1))
    check_names([reference.name for reference in references], "reference")
    return references


def parse_clusters(entries: Iterable[Mapping[str, Any]], folder: Path) -> tuple[Cluster, ...]:
    """Check the tables under `[[cluster]]`, but for what only SQL, or the file, can tell.

    Files are found from `folder`, where the recipe is.

    >>> parse_clusters([{"name": "north", "where": "lat > 80"}], Path())
    (Cluster(name='north', where='lat > 80', file=None),)
    >>> parse_clusters([{"name": "mine", "file": "ids.csv"}], Path("/study"))[0].file
    TokenFile(path='/study/ids.csv', part='token_id', sha256=None)
    """
    clusters = []
    for place, entry in enumerate(entries, 1):
        name = entry_name(entry, "cluster", place)
        key = f"cluster '{name}'"
        check_known(entry, f"{key}.", ("name", "where", "file", "column", "key", "sha256"))
        if name == LARGEST:
            raise CatalogError(f"{key}: every model has a cluster of that name; give another")
        if "where" in entry and "file" in entry:
            raise CatalogError(f"{key}: where and file: it can have one only")
        if "file" in entry:
            clusters.append(Cluster(name, file=_token_file(entry, key, folder)))
        else:
            clusters.append(Cluster(name, _condition(entry, key)))
    check_names([cluster.name for cluster in clusters], "cluster")
    return tuple(clusters)


def check_order(references: Sequence[Reference], clusters: Collection[str]) -> None:
    """Raise CatalogError where a reference builds on what isn't there, or comes later; `clusters` are the recipe's."""
    names = [reference.name for reference in references]
    for place, reference in enumerate(references):
        if reference.kind != "centroid":
            continue
        above, needed = names[:place], reference.builds_on
        if needed is not None and needed in names[place:]:
            raise CatalogError(f"{reference.key}: '{reference.value}': reference '{needed}' stands below; put it above")
        check_cluster(reference.value, reference.key, above, clusters, of=" above")


def check_cluster(name: str, key: str, references: Collection[str], clusters: Collection[str], *, of: str = "") -> None:
    """Raise CatalogError, beginning with a key, where no cluster can be of this name.

    `references` and `clusters` are the names that there are; `of` says which of the references these are.
    """
    reference = class_of(name)
    if reference is not None and reference not in references:
        there = f"{of[1:]} are" if of else "there are"
        raise CatalogError(f"{key}: '{name}': reference '{reference}' isn't there; {there} {listed(references)}")
    if reference is None and not _elsewhere(name, clusters):
        raise CatalogError(
            f"{key}: no cluster '{name}'; there are {listed({*clusters, LARGEST})}, "
            f"component:ID, duplicate:ID, and REF:{', REF:'.join(CLASSES)} of references{of}: {listed(references)}"
        )


def class_of(cluster: str) -> str | None:
    """Return the reference that makes a cluster of this name, if one does.

    >>> class_of("a:dot-mode"), class_of("component:7")
    ('a', None)
    """
    name, _, class_ = cluster.rpartition(":")
    return name if class_ in CLASSES else None


def conditions(clusters: Iterable[Cluster]) -> dict[str, str]:
    """Return the conditions of those clusters that have one; keys say where each was written."""
    return {cluster.key: cluster.where for cluster in clusters if not cluster.file}


def _condition(entry: Mapping[str, Any], key: str) -> str:
    """Return the condition of a cluster."""
    for name in ("column", "key", "sha256"):
        if name in entry:
            raise CatalogError(f'{key}.{name}: says what of a file; give file = "ids.csv", say, or leave it out')
    if "where" not in entry:
        raise CatalogError(
            f'{key}.where: missing; where = "norm < 0.5 and kind = \'normal\'", say, or file = "ids.txt"'
        )
    where = as_text(entry["where"], f"{key}.where")
    if not where.strip():
        raise CatalogError(f'{key}.where: is blank; where = "true" is every token')
    return where


def _token_file(entry: Mapping[str, Any], key: str, folder: Path) -> TokenFile:
    """Return the file of a cluster, whose ending says what it is."""
    path = (folder / Path(as_path(entry["file"], f"{key}.file")).expanduser()).absolute()
    if path.suffix not in FILE_ENDINGS:
        raise CatalogError(f"{key}.file: '{path.name}': of the endings {', '.join(FILE_ENDINGS)}, it has none")
    wanted = FILE_ENDINGS[path.suffix]
    for other in ("column", "key"):
        if other in entry and other != wanted:
            instead = f"; it has {wanted}" if wanted else ""
            raise CatalogError(f"{key}.{other}: a {path.suffix} has none{instead}")
    if wanted == "key" and "key" not in entry:
        raise CatalogError(f'{key}.key: missing; key = "cluster_mask", say, the tensor\'s name in the file')
    part = as_text(entry.get(wanted, DEFAULT_COLUMN), f"{key}.{wanted}") if wanted else None
    return TokenFile(str(path), part, as_text(entry["sha256"], f"{key}.sha256") if "sha256" in entry else None)


def _elsewhere(cluster: str, recipes: Collection[str]) -> bool:
    """Whether a cluster that no reference makes may be of this name."""
    family, _, number = cluster.partition(":")
    numbered = family in NUMBERED and number.isdecimal() and number == str(int(number))
    return numbered or cluster == LARGEST or cluster in recipes


def _reference(entry: Mapping[str, Any], place: int, folder: Path) -> Reference:
    name = entry_name(entry, "reference", place)
    key = f"reference '{name}'"
    check_known(entry, f"{key}.", ("name", *KINDS, "scale", "optional"))
    kinds = [kind for kind in KINDS if kind in entry]
    if len(kinds) != 1:
        problem = f"{' and '.join(kinds)}: it can be one kind only" if kinds else f"of no kind; give {', '.join(KINDS)}"
        raise CatalogError(f"{key}: {problem}")
    scale = as_finite(entry["scale"], f"{key}.scale") if "scale" in entry else None
    if scale == 0:
        raise CatalogError(f"{key}.scale: 0 leaves no direction")
    value = _value(kinds[0], entry[kinds[0]], f"{key}.{kinds[0]}", folder)
    return Reference(name, kinds[0], value, scale, as_switch(entry.get("optional", False), f"{key}.optional"))


def _value(kind: str, value: object, key: str, folder: Path) -> Any:
    """Check the value of a kind of reference, and return it in its plain form."""
    if kind in ("centroid", "text"):
        return as_text(value, key)
    if kind in ("token", "pc"):
        number = as_integer(value, key)
        if kind == "token" and number < 0:
            raise CatalogError(f"{key}: {number} is no token_id; they are numbered from 0")
        if kind == "pc" and number == 0:
            raise CatalogError(f"{key}: components are numbered from 1 (negative: flipped); 0 is none")
        return number
    if kind == "mean":
        if value is not True:
            raise CatalogError(f"{key}: write mean = true, or leave the reference out")
        return True
    return _table_value(kind, as_table(value, key), key, folder)


def _table_value(kind: str, table: Mapping[str, Any], key: str, folder: Path) -> Any:
    keys = {"sky": ("lat", "lon"), "first_in_box": ("lat", "lon", "diameter"), "vector": ("file", "key")}[kind]
    check_known(table, f"{key}.", keys)
    for name in keys:
        if name not in table:
            raise CatalogError(f"{key}.{name}: missing; {kind} = {{ {', '.join(f'{k} = …' for k in keys)} }}")
    if kind == "vector":
        file, name = as_path(table["file"], f"{key}.file"), as_text(table["key"], f"{key}.key")
        return {"file": str((folder / Path(file).expanduser()).absolute()), "key": name}
    numbers = {name: as_finite(table[name], f"{key}.{name}") for name in keys}
    around = 180 if kind == "first_in_box" else 360
    for name, most in (("lat", 90), ("lon", around)):
        if abs(numbers[name]) > most:
            raise CatalogError(f"{key}.{name}: {numbers[name]:g}: from -{most} to {most} degrees")
    if numbers.get("diameter", 0) < 0:
        raise CatalogError(f"{key}.diameter: {numbers['diameter']:g} is below 0")
    return numbers


def entry_name(entry: Mapping[str, Any], what: str, place: int) -> str:
    """Return the name of an entry; a colon would make names of clusters ambiguous."""
    if "name" not in entry:
        raise CatalogError(f"{what} {place}: name: missing")
    name = as_text(entry["name"], f"{what} {place}: name")
    if ":" in name:
        raise CatalogError(f"{what} {place}: name: '{name}' has a colon, which names such as REF:dot-mode need")
    if name in NUMBERED:
        raise CatalogError(f"{what} {place}: name: '{name}' would be taken for clusters such as {name}:124")
    return name


def check_names(names: Sequence[str], what: str) -> None:
    """Raise CatalogError where two entries have the same name."""
    for name in names:
        if names.count(name) > 1:
            raise CatalogError(f"{what} '{name}': there are {names.count(name)} of that name; give each its own")
