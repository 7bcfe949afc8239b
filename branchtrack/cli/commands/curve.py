"""The command `curve`: one metric along a branch, as a drawing, CSV or JSON."""

from __future__ import annotations

import math
import shutil
from typing import TYPE_CHECKING

import click

from branchtrack.cli.context import CommandLine, json_option, pass_command_line
from branchtrack.cli.output import echo, emit, spelled_name, styled
from branchtrack.core import formats

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from branchtrack.core.records import Branch


@click.command()
@click.argument("branch")
@click.argument("metric")
@click.option("--points", type=int, metavar="N", help="About N points, extremes kept.")
@click.option("--csv", "as_csv", is_flag=True, help="Print step,value lines.")
@json_option
@pass_command_line
def curve(
    line: CommandLine, branch: str, metric: str, points: int | None, as_csv: bool, as_json: bool
) -> None:
    """Draw METRIC along BRANCH, the points inherited from its ancestors first.

    \b
    Example: branchtrack curve demo/cooler loss --csv
    """
    from branchtrack.analysis import payloads_nodes
    from branchtrack.db.runs import find_branch

    if as_csv and as_json:
        raise click.UsageError("--csv and --json cannot be combined.")
    columns = max(20, min(shutil.get_terminal_size().columns - 16, 100))
    shown_points = points if points is not None or as_json else columns * 4
    with line.read() as connection:
        branch_record = find_branch(connection, branch)
        if as_csv:
            _print_csv(connection, branch_record, metric, points)
            return
        data = payloads_nodes.curve(connection, branch_record, metric, shown_points)
    if as_json:
        emit(data)
        return
    from branchtrack.cli.text_art import plot

    echo(styled(f"{spelled_name(metric)} of {branch}", bold=True) + f", {data['points']} points")
    for text in plot(data["steps"], data["values"], data["forks"], columns=columns):
        echo(text)
    finite = [value for value in data["values"] if math.isfinite(value)]
    echo(f"last {formats.metric(finite[-1] if finite else None)}")
    if data["gaps"]:
        echo(
            f"{len(data['gaps'])} values are NaN or infinite, the first at step {data['gaps'][0]}."
        )


def _print_csv(connection: Connection, branch: Branch, metric: str, points: int | None) -> None:
    """Print CSV, with NaN and infinity as text: CSV has no null, and nothing must be lost."""
    from branchtrack.analysis import curves, downsample

    series = curves.branch_curve(connection, branch, metric).series
    if points is not None:
        series = downsample.downsample(series, points)
    echo("step,value")
    for step, value in zip(series.steps.tolist(), series.values.tolist(), strict=True):
        echo(f"{step},{value!r}")
