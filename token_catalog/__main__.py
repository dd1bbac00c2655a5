"""`python -m token_catalog`: the command line."""

from token_catalog.cli import main

main()
