"""The command ``runs``: the runs that a query matches, as a table."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from branchtrack.cli.context import CommandLine, json_option, pass_command_line
from branchtrack.cli.output import (
    ago,
    echo,
    emit,
    print_table,
    say_cut,
    setting,
    state,
    styled,
    visible,
)
from branchtrack.core import formats

if TYPE_CHECKING:
    from sqlalchemy import Connection

_MOST_RUNS = 500
#: Columns that are always shown, and further ones that are no settings and no metrics.
_ALWAYS = ("name", "status", "branches", "nodes", "updated")
_FACTS = ("step", "speed", "tags", "created")
#: Names of settings and metrics in an error.
_MOST_NAMES = 40


@click.command()
@click.argument("query", default="")
@click.option("--sort", default="", metavar="COLUMN", help="As lr, best(eval_loss), -updated.")
@click.option("--columns", default="", metavar="NAMES", help="Values to show, with commas between.")
@click.option("--view", metavar="NAME", help="Query, order and columns of a saved view.")
@click.option(
    "--limit",
    type=click.IntRange(1, 10_000_000),
    help=f"How many runs; {_MOST_RUNS} on a terminal, all with --json.",
)
@click.option("--all", "everything", is_flag=True, help="All runs.")
@click.option("--archived", is_flag=True, help="Archived runs, too.")
@json_option
@pass_command_line
def runs(
    line: CommandLine,
    query: str,
    sort: str,
    columns: str,
    view: str | None,
    limit: int | None,
    everything: bool,
    archived: bool,
    as_json: bool,
) -> None:
    """List the runs that are not archived, pinned ones first, then the most recently changed.

    A QUERY compares settings and metrics (lr<1e-3, best(eval_loss)<2.5), asks for status: tag:
    run: branch: name: failed: step: since: archived:, and has and, or, not and parentheses; other
    words are searched for in names, tags and notes. How many of all are listed is said on standard
    error if it is not all.

    \b
    Example: branchtrack runs --json
             branchtrack runs "lr<1e-3 status:training" --sort "best(eval_loss)" --columns lr
    """
    asked = {"query": query, "sort": sort, "columns": columns}
    if limit is None and not as_json:
        limit = _MOST_RUNS
    with line.read() as connection:
        if view is not None:
            asked = _of_view(connection, view, asked)
        table = _table(connection, asked, None if everything else limit, archived)
        if columns:
            _check_columns(connection, columns, table)
    say_cut(len(table["runs"]), table["total"], "runs")
    hidden = table["hidden"]
    if hidden and not as_json:
        echo(f"{formats.plural(hidden, 'archived run')} not listed: --archived.", err=True)
    if as_json:
        emit(table["runs"])
        return
    if not table["runs"] and not hidden:
        is_any = any(asked.values())
        echo("No run matches." if is_any else "No runs yet. `branchtrack demo` makes one.")
        for hint in table.get("hints", ()):
            echo(visible(hint))
    _print(table["runs"], asked["columns"])


def _table(
    connection: Connection, asked: dict[str, str], limit: int | None, archived: bool
) -> dict[str, Any]:
    from branchtrack.analysis import payloads
    from branchtrack.db.browsing import run_search
    from branchtrack.db.runs import count_runs

    if any(asked.values()):
        selection = run_search.selection(**asked, archived=archived)
        return payloads.table_of_runs(connection, selection, time.time(), limit)
    rows = payloads.runs(connection, time.time(), limit, archived)
    hidden = 0 if archived else count_runs(connection, archived=True)
    return {"runs": rows, "total": count_runs(connection) - hidden, "hidden": hidden}


def _check_columns(connection: Connection, columns: str, table: dict[str, Any]) -> None:
    """Refuse columns that would be left out without a word.

    Raises:
        InvalidInput: no run has it, or it is drawn on the page alone.
    """
    from branchtrack.core.queries.columns import Fact, parse_columns
    from branchtrack.db.browsing import run_search
    from branchtrack.errors import InvalidInput

    shell = f"{', '.join((*_ALWAYS, *_FACTS))} (the first {len(_ALWAYS)} are always there)"
    if Fact("trend") in parse_columns(columns):
        what = "The column trend is a drawing, on the page of runs alone."
        raise InvalidInput("columns", columns, shell, what=what)
    if table["runs"] and table.get("hints"):
        names = ", ".join(run_search.known_names(connection)[:_MOST_NAMES])
        allowed = f"{shell}; of these runs {names}, and best(NAME) and others of a metric"
        raise InvalidInput("columns", columns, allowed, what=table["hints"][0])


def _of_view(connection: Connection, name: str, asked: dict[str, str]) -> dict[str, str]:
    """Return what a saved view asks for, but for what the command line says."""
    from branchtrack.db.browsing import saved_views

    saved = saved_views.parts(saved_views.find(connection, name).address)
    return {key: text or saved.get(key, "") for key, text in asked.items()}


def _print(rows: Sequence[dict[str, Any]], columns: str) -> None:
    from branchtrack.core.queries.columns import Fact, parse_columns

    names = [
        str(column)
        for column in parse_columns(columns)
        if not isinstance(column, Fact) or column.word in _FACTS
    ]
    print_table(
        ("RUN", "STATUS", *names, "BRANCHES", "NODES", "CHANGED", "ID"),
        [
            (
                styled(run["name"], bold=True) + (" *" if run["pinned"] else ""),
                state(run.get("shown", run["status"])),
                *(_cell(name, run) for name in names),
                str(run["branches"]),
                str(run["nodes"]),
                ago(run["updated_at"]),
                run["id"][:8],
            )
            for run in rows
        ],
        right=" ".join(("BRANCHES NODES", *names)),
    )


def _cell(name: str, run: dict[str, Any]) -> str:
    """Return a column of a run; a setting of the name of a fact is written as `setting.NAME`."""
    if name == "tags":
        return visible(", ".join(run["tags"]))
    if name == "created":
        return ago(run["created_at"])
    value = run["values"][name]
    if name in _FACTS and value is not None:
        return formats.steps(value) if name == "step" else formats.metric(value)
    return _value(name, value)


def _value(name: str, value: Any) -> str:
    if value is None:
        return formats.NOTHING
    return visible(formats.metric(value)) if "(" in name else setting(value)
