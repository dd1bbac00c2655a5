"""The one exception that the libraries raise for bad input and the command line prints, and how it is printed."""


class CatalogError(Exception):
    """What was found, where, and the way out, in one or two lines."""


def plain(text: str) -> str:
    """Return a text as a terminal may show it in one line: it may be a token's or a stranger's, with anything in it.

    >>> print(plain("naïve\\x1b[31m\\n"))
    naïve\\x1b[31m\\n
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
