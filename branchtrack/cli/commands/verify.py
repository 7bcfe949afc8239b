"""The command `verify`: whether nodes can be restored, and the record is unchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from branchtrack.cli.context import CommandLine, json_option, pass_command_line
from branchtrack.cli.output import echo, emit, state, visible
from branchtrack.cli.progress import bar
from branchtrack.core import formats

if TYPE_CHECKING:
    from branchtrack.db.engine import Database
    from branchtrack.db.integrity import Problem

_MOST_SHOWN = 50


@click.command()
@click.argument("node", required=False)
@click.option("--all", "everything", is_flag=True, help="Verify every node and every record.")
@json_option
@pass_command_line
def verify(line: CommandLine, node: str | None, everything: bool, as_json: bool) -> None:
    """Read a NODE's checkpoint and compare the digests of all its bytes.

    With --all also the database: its pages, every row against its seal, and the events of each run
    against the record. Exits with 1 if a node cannot be restored or the record was changed.

    \b
    Example: branchtrack verify --all
    """
    from branchtrack.db import integrity, nodes

    if node is None and not everything:
        raise click.UsageError("Give a NODE, or --all.")
    if node is not None and everything:
        raise click.UsageError("Give a NODE or --all, not both.")
    problems: list[Problem] = []
    with line.database() as database:
        with database.read() as connection:
            if node:
                node_ids = [nodes.find(connection, node).id]
            else:
                with bar("Verifying the database") as update:
                    problems = integrity.of_database(
                        connection, lambda done, total: update(done, total, f"of {total} parts")
                    )
                node_ids = nodes.list_ids(connection)
        verdicts = _verify_each(line, database, node_ids)
    # The verdict on an incomplete node already says why.
    broken = {verdict["node"] for verdict in verdicts if verdict["problem"] is not None}
    problems = [problem for problem in problems if problem.id not in broken]
    if as_json:
        emit([*verdicts, *map(_as_json, problems)])
    else:
        _print(verdicts, problems)
    if problems or broken:
        raise click.exceptions.Exit(1)


def _verify_each(
    line: CommandLine, database: Database, node_ids: list[str]
) -> list[dict[str, Any]]:
    """Yield each node with its error, if any; a state that several nodes share is read once."""
    from branchtrack import control

    states: dict[str, str | None] = {}
    verdicts = []
    with bar("Verifying checkpoints") as update:
        for done, node_id in enumerate(node_ids):
            update(done, len(node_ids), f"of {len(node_ids)} nodes")
            verdicts.append(control.node_verdict(database, line.store, node_id, states))
    return verdicts


def _print(verdicts: list[dict[str, Any]], problems: list[Problem]) -> None:
    broken = [verdict for verdict in verdicts if verdict["problem"] is not None]
    for verdict in broken[:_MOST_SHOWN]:
        echo(f"{verdict['node']} {state('failed')}: {visible(verdict['problem'])}")
    for problem in problems[:_MOST_SHOWN]:
        echo(f"{state('failed')}: {visible(str(problem))}")
    cut = max(0, len(broken) - _MOST_SHOWN) + max(0, len(problems) - _MOST_SHOWN)
    if cut:
        echo(f"... and {cut} more; --json lists all.")
    whole = sum(verdict["whole"] for verdict in verdicts)
    echo(f"{whole} of {len(verdicts)} nodes are whole.")
    if thinned := len(verdicts) - len(broken) - whole:
        # Of those that were imported without more there are the weights alone, too.
        echo(f"{formats.plural(thinned, 'node')} thinned or weights alone; what is left is whole.")
    if problems:
        echo(f"The database has {len(problems)} records that are not as they were written.")


def _as_json(problem: Problem) -> dict[str, Any]:
    return {"kind": problem.kind, "id": problem.id, "whole": False, "problem": str(problem)}
