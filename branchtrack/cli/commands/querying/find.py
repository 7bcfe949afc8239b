"""The command ``find``: nodes of all runs by settings, metrics, states and labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from branchtrack.cli.context import CommandLine, json_option, pass_command_line
from branchtrack.cli.output import (
    ago,
    changes,
    echo,
    emit,
    print_table,
    setting,
    spelled_name,
    state,
    styled,
)
from branchtrack.core import formats
from branchtrack.core.queries.evaluation import Facts, value_of
from branchtrack.core.queries.terms import Name

_SHOWN = 100
#: Of the values that a query compares, how many have a column.
_COLUMNS = 4


@click.command()
@click.argument("query", default="")
@click.option("--run", metavar="RUN", help="Only nodes of this run.")
@click.option(
    "--limit",
    type=click.IntRange(1, 10_000_000),
    default=_SHOWN,
    show_default=True,
    help="How many nodes, the newest first.",
)
@json_option
@pass_command_line
def find(line: CommandLine, query: str, run: str | None, limit: int, as_json: bool) -> None:
    """Find nodes of all runs, the newest first; without a QUERY all of them.

    A QUERY compares settings and metrics (lr>1e-3, eval_loss<2.5, best(eval_loss)<2), asks for
    run: branch: name: kind: status: failed: tag: actor: group: step: since: archived:, and has and,
    or, not and parentheses. What failed is found too; what is in the trash is not.

    \b
    Example: branchtrack find "lr>1e-3 and eval_loss<2.5" --json
             branchtrack find "failed:yes since:7d" --run demo
    """
    from branchtrack.analysis import payloads_nodes
    from branchtrack.core.queries.language import parse
    from branchtrack.core.queries.terms import And, Filter, names
    from branchtrack.db.runs import find_run
    from branchtrack.db.views import node_search

    term = query_term = parse(query)
    with line.read() as connection:
        if run is not None:
            term = And((Filter("run", find_run(connection, run).name), query_term))
        result = node_search.search(connection, term, limit)
        matches = payloads_nodes.matches(connection, result.matches)
    if result.next is not None:
        echo(f"The newest {formats.plural(len(matches), 'node')}; more match: --limit N.", err=True)
    if as_json:
        emit(matches)
    elif matches:
        _print(matches, names(query_term)[:_COLUMNS])
    else:
        echo("No node matches.")


def _print(matches: Sequence[dict[str, Any]], compared: Sequence[Name]) -> None:
    """Print one line a node, with the values that the query compares."""
    headers = [str(name) for name in compared]
    print_table(
        ("NODE", "BRANCH", "STEP", "KIND", "STATUS", *headers, "CHANGES", "MADE"),
        [
            (
                styled(match["id"][:8], bold=True),
                f"{spelled_name(match['run'])}/{spelled_name(match['branch'])}",
                formats.steps(match["step"]),
                match["kind"],
                state(match["status"]),
                *(_value(name, match) for name in compared),
                changes(match["changes"]) or "–",
                ago(match["created_at"]),
            )
            for match in matches
        ],
        right=" ".join(("STEP", *headers)),
    )


def _value(name: Name, match: dict[str, Any]) -> str:
    facts = Facts(0.0, step=match["step"], settings=match["settings"], metrics=match["metrics"])
    value = value_of(name, facts)
    return "–" if value is None else setting(value)
