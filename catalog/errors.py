"""The one exception that the libraries raise for bad input and the command line prints."""


class CatalogError(Exception):
    """What was found, where, and the way out, in one or two lines."""
