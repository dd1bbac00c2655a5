"""The exception that the library raises for bad input, and how names and texts are written in messages."""


class CatalogError(Exception):
    """What was found, where, and the way out, in one or two lines."""


def plain(text: str) -> str:
    """Return a text as a terminal may show it in one line: it may be a token's or a stranger's, with anything in it.

    >>> print(plain("naïve\\x1b[31m\\n"))
    naïve\\x1b[31m\\n
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def listed(names: object, most: int = 6) -> str:
    """Return some names for a message.

    >>> listed(["b", "a"]), listed(["a", "b", "c"], most=2)
    ("'a', 'b'", "'a', 'b' and 1 more")
    """
    quoted = [f"'{name}'" for name in sorted(names)]  # type: ignore[call-overload]
    more = f" and {len(quoted) - most} more" if len(quoted) > most else ""
    return ", ".join(quoted[:most]) + more if quoted else "none"
