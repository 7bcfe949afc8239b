"""Settings as arguments of a command: ``--set lr=1e-4 max_steps=+50``, ``--grid lr=1,2 wd=0,0.1``.

It knows no setting: what the names and values mean is decided later.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import click

from branchtrack.errors import InvalidInput

#: Options that take any number of NAME=VALUE.
_OPEN_ENDED = ("--set", "--grid")
#: Where a context keeps the words after ``--``, if these are options of a cluster's jobs.
JOB_OPTIONS = "branchtrack.job_options"
_ASSIGNMENT = re.compile(r"[A-Za-z_][^\s=]*=.*", re.DOTALL)


class SettingsCommand(click.Command):
    """A command whose ``--set`` and ``--grid`` take several NAME=VALUE, which click has not."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments, with the option repeated before each NAME=VALUE that follows it.

        With ``--on`` what follows ``--`` are options of a cluster's jobs.
        """
        own, jobs = split(args)
        ctx.meta[JOB_OPTIONS] = jobs
        return super().parse_args(ctx, spread(own))


def split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the arguments of a command, and those after ``--`` for the jobs of ``--on``."""
    words = [*arguments]
    end = words.index("--") if "--" in words else len(words)
    if not any(word == "--on" or word.startswith("--on=") for word in words[:end]):
        return words, []
    return words[:end], words[end + 1 :]


def spread(arguments: Iterable[str]) -> list[str]:
    """Return the arguments with ``--set a=1 b=2`` written as ``--set a=1 --set b=2``."""
    spelled: list[str] = []
    # The option that a NAME=VALUE belongs to, and whether its own first value is still to come.
    option, is_first = "", False
    for argument in arguments:
        if option and not is_first and _ASSIGNMENT.fullmatch(argument):
            spelled += [option, argument]
            continue
        spelled.append(argument)
        if is_first:
            is_first = False
            continue
        name, equals, _value = argument.partition("=")
        option = name if name in _OPEN_ENDED else ""
        is_first = bool(option) and not equals
    return spelled


def grid_pairs(texts: Sequence[str]) -> dict[str, list[str]]:
    """Return the lists of a grid by the setting's name; a name given again has several.

    Raises:
        InvalidInput: a text without a name or values.
    """
    grid: dict[str, list[str]] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        if not equals or not name.strip() or not values.strip():
            raise InvalidInput("grid", text, "name=values, for example lr=1e-4,3e-4")
        grid.setdefault(name.strip(), []).append(values.strip())
    return grid
