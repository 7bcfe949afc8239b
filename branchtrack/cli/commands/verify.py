"""The command `verify`: whether nodes can be restored, and the record is unchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from branchtrack.cli.context import CommandLine, json_option, pass_command_line
from branchtrack.cli.output import echo, emit, state, visible
from branchtrack.cli.progress import bar
from branchtrack.core import formats

if TYPE_CHECKING:
    from branchtrack.core.records import Node
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
    states: dict[str, str | None] = {}
    verdicts = []
    with bar("Verifying checkpoints") as update:
        for done, node_id in enumerate(node_ids):
            update(done, len(node_ids), f"of {len(node_ids)} nodes")
            verdicts.append(_verdict(line, database, node_id, states))
    return verdicts


def _verdict(
    line: CommandLine, database: Database, node_id: str, states: dict[str, str | None]
) -> dict[str, Any]:
    from branchtrack import control
    from branchtrack.db import nodes
    from branchtrack.db.integrity import UNREADABLE
    from branchtrack.errors import CheckpointError

    verdict: dict[str, Any] = {"kind": "node", "node": node_id, "step": None, "state_digest": None}
    verdict["thinned"] = None
    problem: str | None
    try:
        with database.read() as connection:
            node = nodes.get(connection, node_id)
            thinned = nodes.thinned(connection, node.state_digest)
            if thinned is not None and nodes.is_merged(connection, node.state_digest):
                # It has never had more.
                thinned = None
        verdict |= {"step": node.step, "state_digest": node.state_digest, "thinned": thinned}
        control.verify_record(database, node)
        if node.state_digest not in states:
            states[node.state_digest] = _state_problem(line, database, node)
        problem = states[node.state_digest]
    except CheckpointError as error:
        problem = error.what
    except UNREADABLE as error:
        problem = f"The record of node {node_id} cannot be read: {error}"
    whole = problem is None and verdict["thinned"] is None
    return {**verdict, "whole": whole, "problem": problem}


def _state_problem(line: CommandLine, database: Database, node: Node) -> str | None:
    from branchtrack import control
    from branchtrack.errors import CheckpointError

    try:
        # Of one that was thinned, what is left.
        control.verify_state(database, line.store, node, need="record")
    except CheckpointError as error:
        return error.what
    return None


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
