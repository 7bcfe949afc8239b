"""The commands that name things: rename, tag, describe, archive, unarchive."""

from __future__ import annotations

import shlex
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
    change_labels(line, ref, as_json, name=name, reason=reason)


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
    change_labels(line, ref, as_json, add=add, remove=remove, reason=reason)


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
    change_labels(line, ref, as_json, notes=notes)


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
    change_labels(line, ref, as_json, archived=True, reason=reason)


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
    change_labels(line, ref, as_json, archived=False, reason=reason)


def change_labels(line: CommandLine, ref: str, as_json: bool, **changes: Any) -> None:
    """Change what people call a run, a branch or a node, and say how that is undone."""
    from branchtrack import control
    from branchtrack.analysis import payloads
    from branchtrack.control import labels

    with line.database() as database:
        with database.read() as connection:
            before = payloads.labels(labels.find(connection, ref))
        item = control.label(database, ref, actor=control.local_actor(), **changes)
    payload = payloads.labels(item)
    if as_json:
        emit(payload)
        return
    shown = [(name, value) for name, value in payload.items() if name not in ("id", "kind")]
    rows = [(name, ", ".join(value) if isinstance(value, list) else value) for name, value in shown]
    echo("\n".join(field_lines([(payload["kind"], payload["id"]), *_filled(rows)])))
    if undo := _undo_line(ref, before, payload):
        echo(f"Undo: {undo}")


def _undo_line(ref: str, before: dict[str, Any], after: dict[str, Any]) -> str:
    """Return the command that brings back what was before; empty if nothing has changed."""
    if "name" in after and after["name"] != before["name"]:
        ref = f"{ref.partition('/')[0]}/{after['name']}" if "/" in ref else after["name"]
        return shlex.join(["branchtrack", "rename", ref, before["name"]])
    if after["tags"] != before["tags"]:
        lost = [f"+{tag}" for tag in before["tags"] if tag not in after["tags"]]
        new = [f"-{tag}" for tag in after["tags"] if tag not in before["tags"]]
        return shlex.join(["branchtrack", "tag", ref, *lost, *new])
    if after.get("notes") != before.get("notes"):
        return shlex.join(["branchtrack", "describe", ref, before["notes"]])
    if after.get("archived") != before.get("archived"):
        return f"branchtrack {'unarchive' if after['archived'] else 'archive'} {shlex.quote(ref)}"
    if after.get("pinned") != before.get("pinned"):
        return f"branchtrack {'unpin' if after['pinned'] else 'pin'} {shlex.quote(ref)} --on-top"
    return ""


def _filled(rows: list[tuple[str, Any]]) -> list[tuple[str, str]]:
    return [(name, str(value)) for name, value in rows if value not in (None, "", False)]
