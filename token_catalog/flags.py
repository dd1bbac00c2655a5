"""The library's messages in the command line's words: parameters become flags, calls become commands.

The library writes both in backticks, as one types them in Python: `radius=0.3`, `replace=True`, `relink('m')`.
"""

import ast
import re
import shlex
from collections.abc import Mapping
from typing import Any

import click
import typer.main

# Two parameters whose flag says the opposite.
_NEGATED = {"with_vectors=False": "--no-vectors", "with_tokenizer=False": "--no-tokenizer"}
_PARAMETER = re.compile(r"`(?P<name>\w+)=(?P<value>[^`]*)`")
_CALL = re.compile(r"`\w+\([^`]*\)`")


def as_flags(message: str, app: typer.Typer) -> str:
    """Return a message with the parameters and calls of a command line's own commands in its words.

    >>> from token_catalog.cli import app
    >>> as_flags("`threshold=0.5` is past `radius=0.3`; `replace=True`, or another `name=`", app)
    '--threshold 0.5 is past --radius 0.3; --replace, or another --name'
    >>> as_flags("`relink('m', radius=R)` links further; `rebuild()` mends it; `norm=1` and `abs(x)` stay", app)
    '`token-catalog relink m --radius R` links further; `token-catalog rebuild` mends it; `norm=1` and `abs(x)` stay'
    """
    commands = _commands(app)
    flags = {parameter: flag for command in commands.values() for parameter, flag in _flags(command).items()}

    def flag(match: re.Match[str]) -> str:
        name, value = match["name"], match["value"]
        if match[0].strip("`") in _NEGATED:
            return _NEGATED[match[0].strip("`")]
        if name not in flags:
            return match[0]
        return flags[name] if value in ("", "True") else f"{flags[name]} {_plain(value)}"

    def call(match: re.Match[str]) -> str:
        words = _words(match[0].strip("`"), flags)
        return f"`token-catalog {' '.join(words)}`" if words and words[0] in commands else match[0]

    return _PARAMETER.sub(flag, _CALL.sub(call, message))


def _commands(app: typer.Typer) -> Mapping[str, click.Command]:
    group: Any = typer.main.get_command(app)
    commands: Mapping[str, click.Command] = group.commands
    return commands


def _flags(command: click.Command) -> dict[str, str]:
    """Return the flag of each option of a command, by the name of its parameter."""
    return {
        parameter.name: max(parameter.opts, key=len)
        for parameter in command.params
        if parameter.param_type_name == "option" and parameter.name
    }


def _words(call: str, flags: Mapping[str, str]) -> list[str]:
    """Return the words of a command: its name, arguments and options; none where the text is no call."""
    try:
        tree = ast.parse(call, mode="eval").body
    except SyntaxError:
        return []
    if not isinstance(tree, ast.Call) or not isinstance(tree.func, ast.Name):
        return []
    words = [tree.func.id.replace("_", "-"), *map(_as_typed, tree.args)]
    for keyword in tree.keywords:
        words += [flags.get(keyword.arg or "", f"--{keyword.arg}"), _as_typed(keyword.value)]
    return words


def _as_typed(node: ast.expr) -> str:
    """Return an argument as one types it in a shell: a name stands for itself, a text may need quotes."""
    return shlex.quote(str(node.value)) if isinstance(node, ast.Constant) else ast.unparse(node)


def _plain(value: str) -> str:
    """Return a value without the quotes that it has in Python."""
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    return value[1:-1] if quoted and value[1:-1].strip() else value
