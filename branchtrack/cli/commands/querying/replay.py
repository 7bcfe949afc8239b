"""The command ``replay``: recorded changes, made again by a training that runs or that begins."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from branchtrack.cli.commands.querying.interventions import moment_words
from branchtrack.cli.context import CommandLine, json_option, pass_command_line
from branchtrack.cli.output import echo, emit, pairs, print_table, state, styled, visible
from branchtrack.core import formats

if TYPE_CHECKING:
    from branchtrack.control import Sent
    from branchtrack.core.records import Launch
    from branchtrack.core.replays.recording import Recording
    from branchtrack.db.engine import Database


#: Seconds to wait for the end of each request; a training may take weeks.
_LONGEST = 366 * 24 * 3600.0


@click.command()
@click.argument("file")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.option(
    "--onto", "target", metavar="RUN[/BRANCH]|NODE", help="A training, or the node to begin at."
)
@click.option("--name", metavar="BRANCH", help="Of a NODE: the name of the new branch.")
@click.option("--reason", default="", metavar="TEXT", help="Why [as recorded]; kept in the record.")
@click.option("--skip-past", is_flag=True, help="Leave out changes whose step has passed.")
@click.option("--dry-run", is_flag=True, help="Only check, and show what would be requested.")
@click.option("--no-wait", is_flag=True, help="Return once the changes are requested.")
@json_option
@pass_command_line
def replay(
    line: CommandLine,
    file: str,
    command: tuple[str, ...],
    target: str | None,
    name: str | None,
    reason: str,
    skip_past: bool,
    dry_run: bool,
    no_wait: bool,
    as_json: bool,
) -> None:
    """Make the changes in a FILE of `branchtrack interventions` again, on another training.

    Onto a RUN or RUN/BRANCH that trains, each becomes a request that waits for its step or
    condition; all are checked first, and if one is refused none is sent. From a NODE, or a branch
    that has ended (at the step where FILE begins), a new process begins with them. A COMMAND after
    -- is run with them for its first training, from before its first update.

    On the same seed the result is that of the recorded run, bit for bit. The exit code is 1 if a
    change was not made, 2 if FILE does not fit, or that of the COMMAND.

    \b
    Example: branchtrack replay changes.jsonl --onto demo
             branchtrack replay changes.jsonl --onto demo@0 --name again
             branchtrack replay changes.jsonl -- python train.py --seed 2
    """
    from branchtrack.control.replays import files
    from branchtrack.errors import InvalidInput

    if bool(command) is (target is not None):
        allowed = "either --onto RUN[/BRANCH] or NODE, or -- COMMAND"
        raise InvalidInput("onto", target, allowed)
    recording = files.read(Path(file))
    if command:
        raise click.exceptions.Exit(_run(line, Path(file), command, recording, dry_run))
    with line.database() as database:
        options = {"reason": reason, "skip_passed": skip_past}
        if _trains(database, target or ""):
            if name is not None:
                raise InvalidInput("name", name, "no name: the changes are made in that branch")
            launch, sent = None, _send(database, target or "", recording, dry_run, options)
        else:
            node = _node(database, target or "", recording)
            if dry_run:
                launch, sent = None, _checked(database, node, recording, skip_past)
            else:
                launch, sent = _launch(line, database, node, recording, name, options, as_json)
        if not (dry_run or no_wait):
            _watch(line, database, launch, sent, as_json)
        elif launch is not None:
            _detach(line, launch)
        rows = _rows(database, sent)
    _show(rows, sent, launch, as_json, dry_run)
    if not (dry_run or no_wait) and any(not row["came_true"] for row in rows):
        raise click.exceptions.Exit(1)


def _run(
    line: CommandLine, path: Path, command: tuple[str, ...], recording: Recording, dry_run: bool
) -> int:
    """Run a command whose first training makes the changes; return its exit code."""
    import os
    import subprocess

    from branchtrack.environment_variables import REPLAY_VARIABLE
    from branchtrack.errors import LaunchFailed

    if dry_run:
        count = formats.plural(len(recording.requested), "change")
        echo(f"{visible(str(path))} has {count}; whether they fit is seen when a training begins.")
        return 0
    variables = {**line.config.environment(), REPLAY_VARIABLE: str(path.resolve())}
    try:
        process = subprocess.Popen(list(command), env={**os.environ, **variables})
    except OSError as error:
        raise LaunchFailed(
            f"{command[0]} cannot be started: {error.strerror}.",
            safe="Nothing was changed.",
            fix="Write the command as in a shell, after --.",
            launch=None,
            exit_code=None,
            log=None,
        ) from error
    while True:
        try:
            code = process.wait()
        except KeyboardInterrupt:
            # The command gets it too, and ends as it does.
            continue
        return code if code >= 0 else 128 - code


def _trains(database: Database, target: str) -> bool:
    """Return whether a process trains what is named."""
    import time

    from branchtrack.core import lifecycle
    from branchtrack.db import nodes, runs, segments
    from branchtrack.errors import NotFound

    with database.read() as connection:
        if "@" in target or nodes.by_prefix(connection, target) is not None:
            return False
        try:
            branch = runs.find_branch(connection, target)
        except NotFound:
            # The error about a node tells more: it is one that is looked for next.
            return False
        if branch.segment_id is None:
            return False
        segment = segments.get(connection, branch.segment_id)
    return lifecycle.segment_status(segment, time.time()) in lifecycle.LIVE


def _node(database: Database, target: str, recording: Recording) -> str:
    """Return the node to begin at: of a branch the one at the step where the recording begins."""
    from branchtrack.db import nodes, runs

    with database.read() as connection:
        if "@" not in target and nodes.by_prefix(connection, target) is None:
            runs.find_branch(connection, target)
            target = f"{target}@{recording.header.step}"
        return nodes.find(connection, target).id


def _send(
    database: Database, target: str, recording: Recording, dry_run: bool, options: dict[str, Any]
) -> Sent:
    from branchtrack import control

    actor = control.local_actor()
    return control.send_replay(database, target, recording, actor=actor, dry_run=dry_run, **options)


def _checked(database: Database, node: str, recording: Recording, skip_past: bool) -> Sent:
    from branchtrack import control

    return control.check_replay(database, node, recording, skip_passed=skip_past)


def _launch(
    line: CommandLine,
    database: Database,
    node: str,
    recording: Recording,
    name: str | None,
    options: dict[str, Any],
    quiet: bool,
) -> tuple[Launch, Sent]:
    from branchtrack import control
    from branchtrack.cli import origins
    from branchtrack.cli.commands import trust
    from branchtrack.cli.commands.storage import make_whole
    from branchtrack.db import nodes

    trust.require(line, database)
    with database.read() as connection:
        record = nodes.get(connection, node)
    make_whole(line, database, record, None)
    launch, sent = control.launch_replay(
        database,
        line.store,
        node,
        recording,
        actor=control.local_actor(),
        name=name,
        **options,
    )
    origins.report_script_changes(database, launch, quiet=quiet)
    origins.report_environment(database, launch, quiet=quiet)
    return launch, sent


def _detach(line: CommandLine, launch: Launch) -> None:
    from branchtrack.launching import foreground

    foreground.detach(line.config, launch.id)


def _watch(
    line: CommandLine, database: Database, launch: Launch | None, sent: Sent, quiet: bool
) -> None:
    """Return once the launch has ended, or all requests of a live training have."""
    from branchtrack import control
    from branchtrack.cli.launch_progress import show_launch
    from branchtrack.cli.progress import bar
    from branchtrack.errors import NotLive

    if launch is not None:
        show_launch(line, database, launch, quiet=quiet)
        control.expire_hanging(database, launch.run_id, control.local_actor())
        return
    ids = [entry.request.id for entry in sent.sent if entry.request is not None]
    with bar("Waiting for the training process") as update:
        for number, request_id in enumerate(ids):
            watch = partial(_tell, update, number, len(ids))
            try:
                control.wait(database, request_id, _LONGEST, watch)
            except NotLive:
                # What became of each is in the table.
                continue


def _tell(update: Any, number: int, count: int, request: Any) -> None:
    update(number, count, f"of {count} changes, {request.state}")


def _rows(database: Database, sent: Sent) -> list[dict[str, Any]]:
    """Return the changes as `analysis.interventions.replayed`, and whether each was made."""
    from branchtrack.analysis.interventions import replayed
    from branchtrack.cli.request_options import came_true
    from branchtrack.db import requests

    rows = []
    with database.read() as connection:
        for entry in sent.sent:
            request = entry.request and requests.get(connection, entry.request.id)
            # A value that a later one replaced at once was set as well.
            made = request is not None and (came_true(request) or request.state == "superseded")
            rows.append({**replayed(entry.change, request), "came_true": made})
    return rows


def _show(
    rows: list[dict[str, Any]], sent: Sent, launch: Launch | None, as_json: bool, dry_run: bool
) -> None:
    left = {
        "done": [change.line for change in sent.done],
        "passed": [change.line for change in sent.passed],
    }
    if as_json:
        emit(
            {"launch": launch and launch.id, "branch": launch and launch.branch}
            | {"changes": rows, **left}
        )
        return
    if launch is not None:
        echo(f"branch {styled(launch.branch or '', bold=True)}, launch {launch.id}")
    print_table(
        ("LINE", "AT", "CHANGE", "RECORDED", "REPLAYED", "STATE", "STEP", "WHY"),
        [_cells(row) for row in rows],
        right="LINE AT STEP",
    )
    for word, lines in left.items():
        if lines:
            echo(
                f"{'Made before' if word == 'done' else 'Left out, as its step had passed'}: "
                f"line {', '.join(map(str, lines))}."
            )
    if dry_run:
        echo("Nothing was requested: this was a dry run.")
    elif not rows:
        echo("There was nothing to request.")


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        str(row["line"]),
        moment_words(row["at"]),
        f"{row['kind']} {pairs(row['requested'])}"[:60],
        pairs(row["recorded"])[:40],
        pairs(row["replayed"])[:40],
        state(row["state"]) if row["state"] else "",
        formats.steps(row["step"]) if row["step"] is not None else "",
        visible(row["error"] or "")[:80],
    )
