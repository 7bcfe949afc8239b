"""The commands that remove runs and branches, and bring them back: delete, restore, trash."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from branchtrack.cli.context import CommandLine, json_option, pass_command_line
from branchtrack.cli.output import echo, emit, print_table
from branchtrack.core import formats

if TYPE_CHECKING:
    from branchtrack.control.deletion import Deletion
    from branchtrack.db.deletion.trash import Entry

_REASON = click.option("--reason", default="", metavar="TEXT", help="Why; kept in the record.")
_MOST_NAMED = 8


@click.command()
@click.argument("ref", metavar="RUN|RUN/BRANCH")
@click.option("--with-children", is_flag=True, help="Also delete what grew from the branch.")
@click.option("--dry-run", is_flag=True, help="Only say what would go, and what it would free.")
@_REASON
@json_option
@pass_command_line
def delete(
    line: CommandLine, ref: str, with_children: bool, dry_run: bool, reason: str, as_json: bool
) -> None:
    """Move a run, or a branch of one, to the trash.

    There it is hidden and complete: `branchtrack restore` brings it back. It is purged by
    `branchtrack gc` after 30 days (BRANCHTRACK_TRASH_DAYS), or by `branchtrack trash --empty`. A
    branch from which others grew goes only together with them.

    \b
    Example: branchtrack delete demo/cooler
             branchtrack delete demo --dry-run
    """
    from branchtrack import control
    from branchtrack.analysis import payloads_trash
    from branchtrack.control import deletion

    with line.database() as database:
        if dry_run:
            with database.read() as connection:
                planned = deletion.plan(connection, ref)
                freed = deletion.freed_bytes(connection, planned.branches)
        else:
            planned = control.delete(
                database,
                ref,
                actor=control.local_actor(),
                with_children=with_children,
                reason=reason,
            )
            freed = None
    payload = payloads_trash.deletion(planned.name, planned.branches, planned.nodes)
    if as_json:
        sizes = {} if freed is None else {"frees": freed}
        emit({**payload, **sizes, "dry_run": dry_run})
    elif freed is not None:
        echo(f"{_contents(planned)} would go; a purge would free {formats.size(freed)}.")
        if planned.dependents and not with_children:
            echo(f"Needs --with-children: {_names(planned)} grew from it.")
    else:
        echo(f"{_contents(planned)} moved to the trash.")
        echo(f"`branchtrack restore {planned.name}` brings it back.")


@click.command()
@click.argument("ref", metavar="RUN|RUN/BRANCH")
@_REASON
@json_option
@pass_command_line
def restore(line: CommandLine, ref: str, reason: str, as_json: bool) -> None:
    """Bring a run or a branch back from the trash, with all that was deleted together with it.

    \b
    Example: branchtrack restore demo/cooler
    """
    from branchtrack import control
    from branchtrack.analysis import payloads_trash

    with line.database() as database:
        done = control.restore(database, ref, actor=control.local_actor(), reason=reason)
    if as_json:
        emit(payloads_trash.deletion(done.name, done.branches, done.nodes))
    else:
        echo(f"{_contents(done)} restored.")


@click.command()
@click.option("--empty", is_flag=True, help="Purge all of it, or only REF, now: for good.")
@click.argument("ref", required=False)
@click.option("--yes", is_flag=True, help="Do not ask before purging.")
@json_option
@pass_command_line
def trash(line: CommandLine, ref: str | None, empty: bool, yes: bool, as_json: bool) -> None:
    """List what was deleted, or purge it for good.

    Of what is purged the events of its run remain: who did what, and that it was purged.

    \b
    Example: branchtrack trash
             branchtrack trash --empty demo/cooler
    """
    from branchtrack.analysis import payloads_trash
    from branchtrack.control import deletion
    from branchtrack.db.deletion import trash as entries

    if ref is not None and not empty:
        raise click.UsageError("REF is for --empty. `branchtrack trash` lists all of it.")
    with line.database() as database:
        with database.read() as connection:
            listed = (
                entries.entries(connection) if ref is None else [deletion.find(connection, ref)]
            )
        payload: dict[str, Any] = {
            "entries": [payloads_trash.entry(entry, entries.due(entry)) for entry in listed]
        }
        if empty:
            _check_sure(listed, yes)
            payload["freed_bytes"] = _purge(line, database, listed)
    if as_json:
        emit(payload)
    elif empty:
        count = formats.plural(len(listed), "entry", "entries")
        echo(f"{count} purged, {formats.size(payload['freed_bytes'])} freed.")
        for entry in listed:
            if not entry.branches:
                echo(f"The events of {entry.name} remain: `branchtrack audit {entry.run.id}`.")
    else:
        _print(payload["entries"])


def _check_sure(listed: list[Entry], yes: bool) -> None:
    if not listed or yes:
        return
    from branchtrack.cli.commands.trust import is_interactive

    nodes = formats.plural(sum(entry.nodes for entry in listed), "node")
    names = ", ".join(entry.name for entry in listed[:_MOST_NAMED])
    more = f" and {len(listed) - _MOST_NAMED} more" if len(listed) > _MOST_NAMED else ""
    if not is_interactive():
        raise click.UsageError(f"This purges {nodes} of {names}{more} for good: add --yes.")
    click.confirm(f"Purge {nodes} of {names}{more} for good?", abort=True, err=True)


def _purge(line: CommandLine, database: Any, listed: list[Entry]) -> int:
    from branchtrack import processes
    from branchtrack.control import deletion, leftovers, local_actor
    from branchtrack.retention.sweeps import Sweep

    for entry in listed:
        deletion.purge(database, entry, actor=local_actor())
    owner = leftovers.pack_owner(database, line.store, processes.own_name())
    freed, _unreadable = Sweep(database, line.store, owner, local_actor()).collect()
    return freed


def _contents(deleted: Deletion) -> str:
    nodes = formats.plural(deleted.nodes, "node")
    branches = formats.plural(len(deleted.branches), "branch", "branches")
    return f"{deleted.name} ({branches}, {nodes})"


def _names(deleted: Deletion) -> str:
    names = [branch.name for branch in deleted.dependents]
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more


def _print(entries: list[dict[str, Any]]) -> None:
    if not entries:
        echo("The trash is empty.")
        return
    rows = [
        [
            entry["name"],
            ", ".join(entry["branches"][1:]),
            f"{entry['nodes']:,}",
            entry["deleted_at"],
            entry["deleted_by"],
            entry["purged_at"],
            entry["reason"],
        ]
        for entry in entries
    ]
    headers = ["deleted", "with", "nodes", "at", "by", "purged from", "reason"]
    print_table(headers, rows, right="nodes")
    echo("`branchtrack restore NAME` brings one back.")
