"""What the commands that order launches share: a turn in the queue, and other code than before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from branchtrack.cli.output import echo

_Ordered = TypeVar("_Ordered")
#: Lines of a difference that are printed.
_MOST_LINES = 200


def launch_options(command: Any) -> Any:
    """Give a command the options of `turn`."""
    for option in (
        click.option(
            "--allow-code-change",
            is_flag=True,
            help="Train although the script, its modules or packages have changed since.",
        ),
        click.option("--labels", default="", metavar="A,B", help="Labels its worker has to have."),
        click.option(
            "--priority", type=int, metavar="N", help="Higher ones are started first [0]."
        ),
        click.option(
            "--retry",
            "retries",
            type=int,
            default=0,
            metavar="K",
            help="Start it again after up to K crashes.",
        ),
    ):
        command = option(command)
    return command


def turn(
    priority: int | None, labels: str, retries: int, allow_code_change: bool
) -> dict[str, Any]:
    """Return the options as arguments of `control.create_launch`.

    Raises:
        InvalidInput: a label is not a valid name.
    """
    from branchtrack.core.queueing import parse_labels

    return {
        "priority": priority,
        "labels": parse_labels(labels),
        "retries": retries,
        "allow_code_change": allow_code_change,
    }


def order_asking(order: Callable[..., _Ordered], allow_code_change: bool, quiet: bool) -> _Ordered:
    """Order, and again with ``allow_code_change=True`` if a person allows other code.

    Raises:
        CodeChanged: nobody could be asked, or the answer was no; the difference was printed unless
        ``quiet``.
    """
    from branchtrack.cli.commands import trust
    from branchtrack.errors import CodeChanged

    try:
        return order(allow_code_change=allow_code_change)
    except CodeChanged as error:
        if quiet:
            raise
        lines = str(error.facts["diff"]).splitlines()
        echo("\n".join(lines[:_MOST_LINES]), err=True)
        if len(lines) > _MOST_LINES:
            echo(f"... {len(lines) - _MOST_LINES} more lines", err=True)
        if not trust.is_interactive():
            raise
        echo(error.what, err=True)
        if not click.confirm("Train with what is there now?", err=True):
            raise
        return order(allow_code_change=True)
