"""The command ``interventions``: the changes along a branch, as a file that can be replayed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from branchtrack.cli.context import CommandLine, json_option, pass_command_line
from branchtrack.cli.output import echo, emit, pairs, print_table, visible
from branchtrack.core import formats

if TYPE_CHECKING:
    from branchtrack.core.replays.recording import Recording


@click.command()
@click.argument("branch")
@click.option("--out", metavar="FILE", help="Write them as JSON Lines, for `branchtrack replay`.")
@click.option("--from", "start", metavar="NODE", help="Only what came after this node [the root].")
@click.option(
    "--by",
    default="step",
    metavar="step|fraction|METRIC",
    show_default=True,
    help="How their moments are written: METRIC as the value that it had.",
)
@json_option
@pass_command_line
def interventions(
    line: CommandLine, branch: str, out: str | None, start: str | None, by: str, as_json: bool
) -> None:
    """List the changes that were made along the path of a BRANCH, from the root of its run on.

    Changes of resumes and rewinds are listed as set there. Those that the script made itself are
    listed too, and not replayed: the script makes them again.

    \b
    Example: branchtrack interventions demo/cooler
             branchtrack interventions demo --out changes.jsonl --by fraction
    """
    from branchtrack.analysis.interventions import payload, recording_of
    from branchtrack.db import nodes
    from branchtrack.db.runs import find_branch

    with line.read() as connection:
        node = None if start is None else nodes.find(connection, start)
        recording = recording_of(connection, find_branch(connection, branch), start=node, by=by)
    if out is not None:
        _write(Path(out), recording)
    if as_json:
        emit(payload(recording))
    elif out is not None:
        echo(f"{formats.plural(len(recording.changes), 'change')} written to {visible(out)}.")
    elif not recording.changes:
        echo("Nothing was changed on this branch.")
    else:
        _print(payload(recording)["interventions"])


def _write(path: Path, recording: Recording) -> None:
    from branchtrack.core.replays.recording import to_text
    from branchtrack.errors import InvalidInput

    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(to_text(recording))
    except FileExistsError as error:
        raise InvalidInput("out", str(path), "a path where there is no file yet") from error
    except OSError as error:
        what = f"{path} cannot be written: {error.strerror}."
        raise InvalidInput("out", str(path), "a path that can be written", what=what) from error


def _print(rows: list[dict[str, Any]]) -> None:
    print_table(
        ("AT", "KIND", "CHANGE", "BEFORE", "BY", "WHO", "WHY"),
        [
            (
                moment_words(row["at"]),
                row["kind"],
                pairs(row["after"] or fields_of(row))[:60],
                pairs(row["before"])[:40],
                row["by"],
                visible(row["actor"]),
                visible(row["reason"])[:60],
            )
            for row in rows
        ],
        right="AT",
    )


def moment_words(at: dict[str, Any]) -> str:
    """Return the moment of a change as people read it."""
    if "step" in at:
        return formats.steps(at["step"])
    return visible(at["once"]) if "once" in at else f"{at['fraction']:.1%}"


def fields_of(row: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a change's intervention."""
    from branchtrack.core.replays.changes import ABOUT

    return {name: value for name, value in row.items() if name not in ABOUT}
