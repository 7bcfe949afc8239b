"""The commands that name things: rename, tag, describe, archive, unarchive."""

from __future__ import annotations

from typing import Any

import click

from branchtrack.cli.context import CommandLine, json_option, pass_command_line
from branchtrack.cli.output import echo, emit, field_lines

_REASON = click.option("--reason", default="", metavar="TEXT", help="Why; kept in the record.")


@click.command()
@click.argument("ref", metavar="RUN|RUN/BRANCH")
@click.argument("name")
@_REASON
@json_option
@pass_command_line
def rename(line: CommandLine, ref: str, name: str, reason: str, as_json: bool) -> None:
    """Give a run or a branch another NAME, also while it trains.

    \b
    Example: branchtrack rename demo/main-2 cooler
    """
    _label(line, ref, as_json, name=name, reason=reason)


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("ref", metavar="RUN|RUN/BRANCH|NODE")
@click.argument("tags", nargs=-1, required=True, metavar="+TAG|-TAG...")
@_REASON
@json_option
@pass_command_line
def tag(line: CommandLine, ref: str, tags: tuple[str, ...], reason: str, as_json: bool) -> None:
    """Add tags (+TAG, or TAG) to a run, a branch or a node, and take others (-TAG) away.

    \b
    Example: branchtrack tag demo/cooler +good -draft
             branchtrack tag demo@100 +released
    """
    add = [text.removeprefix("+") for text in tags if not text.startswith("-")]
    remove = [text.removeprefix("-") for text in tags if text.startswith("-")]
    _label(line, ref, as_json, add=add, remove=remove, reason=reason)


@click.command()
@click.argument("ref", metavar="RUN|RUN/BRANCH")
@click.argument("notes")
@json_option
@pass_command_line
def describe(line: CommandLine, ref: str, notes: str, as_json: bool) -> None:
    """Write NOTES on a run or a branch, in place of those it has; "" takes them away.

    \b
    Example: branchtrack describe demo "the baseline of the report"
    """
    _label(line, ref, as_json, notes=notes)


@click.command()
@click.argument("ref", metavar="RUN|RUN/BRANCH")
@_REASON
@json_option
@pass_command_line
def archive(line: CommandLine, ref: str, reason: str, as_json: bool) -> None:
    """Hide a run or a branch from lists; nothing of it is deleted, and all of it can be used.

    \b
    Example: branchtrack archive demo
    """
    _label(line, ref, as_json, archived=True, reason=reason)


@click.command()
@click.argument("ref", metavar="RUN|RUN/BRANCH")
@_REASON
@json_option
@pass_command_line
def unarchive(line: CommandLine, ref: str, reason: str, as_json: bool) -> None:
    """List an archived run or branch again.

    \b
    Example: branchtrack unarchive demo
    """
    _label(line, ref, as_json, archived=False, reason=reason)


def _label(line: CommandLine, ref: str, as_json: bool, **changes: Any) -> None:
    from branchtrack import control
    from branchtrack.analysis import payloads

    with line.database() as database:
        item = control.label(database, ref, actor=control.local_actor(), **changes)
    payload = payloads.labels(item)
    if as_json:
        emit(payload)
        return
    shown = [(name, value) for name, value in payload.items() if name not in ("id", "kind")]
    rows = [(name, ", ".join(value) if isinstance(value, list) else value) for name, value in shown]
    echo("\n".join(field_lines([(payload["kind"], payload["id"]), *_filled(rows)])))


def _filled(rows: list[tuple[str, Any]]) -> list[tuple[str, str]]:
    return [(name, str(value)) for name, value in rows if value not in (None, "", False)]
