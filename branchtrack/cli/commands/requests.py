"""The commands `settings`, `requests`, `queue` and `cancel`: what can be and what was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from branchtrack.cli.cluster_launches import refresh
from branchtrack.cli.context import CommandLine, json_option, pass_command_line
from branchtrack.cli.output import (
    ago,
    echo,
    emit,
    pairs,
    print_table,
    say_cut,
    setting,
    state,
    styled,
    visible,
)
from branchtrack.cli.request_options import check_timeout, show_answer, wait_for
from branchtrack.core import formats
from branchtrack.core.preconditions import awaited_words

if TYPE_CHECKING:
    from branchtrack.db.engine import Database


@click.command()
@click.argument("run")
@click.option(
    "--all", "everything", is_flag=True, help="Also settings of parameter groups and modules."
)
@json_option
@pass_command_line
def settings(line: CommandLine, run: str, everything: bool, as_json: bool) -> None:
    """List the settings of a RUN (or RUN/BRANCH) that can be changed, and its own actions.

    \b
    Example: branchtrack settings demo
    """
    from branchtrack.analysis import payloads_steering
    from branchtrack.db.runs import find_branch

    with line.read() as connection:
        payload = payloads_steering.settings(connection, find_branch(connection, run))
    if as_json:
        emit(payload)
        return
    where = styled(f"{payload['run']}/{payload['branch']}", bold=True)
    echo(f"{where} {state(payload['status'])}, step {formats.steps(payload['step'])}")
    shown = [row for row in payload["settings"] if everything or not row["detail"]]
    used = "USED" if payload["effective_step"] is None else f"USED AT {payload['effective_step']}"
    print_table(
        ("SETTING", "NOW", used, "TYPE", "ALLOWED", "HOLDS"),
        [_setting_row(row) for row in shown],
        right=f"NOW {used}",
    )
    hidden = len(payload["settings"]) - len(shown)
    if hidden:
        echo(f"and {hidden} of parameter groups and modules: --all lists them.")
    _print_actions(payload)


def _setting_row(row: dict[str, Any]) -> tuple[str, ...]:
    used = setting(row["effective"])
    if row["effective_now"] is not None:
        used += f" (now {setting(row['effective_now'])})"
    unit = f" {row['unit']}" if row["unit"] and row["value"] is not None else ""
    name = styled(row["name"], bold=True)
    value = setting(row["value"]) + unit
    return name, value, used, row["type"], row["allowed"], row["effect"]


def _print_actions(payload: dict[str, Any]) -> None:
    if payload["actions"]:
        echo()
    for action in payload["actions"]:
        parameters = [
            f"{p['name']}={p['type']}"
            if p["required"]
            else f"[{p['name']}={setting(p['default'])}]"
            for p in action["parameters"]
        ]
        about = f"  {action['about']}" if action["about"] else ""
        echo(" ".join([styled(action["name"], bold=True), *parameters]) + about)
        for p in action["parameters"]:
            echo(styled(f"    {p['name']}: {p['allowed']}", dim=True))


@click.command()
@click.argument("run")
@click.option(
    "--limit",
    type=click.IntRange(1, 100_000),
    default=50,
    show_default=True,
    help="How many requests.",
)
@click.option("--all", "everything", is_flag=True, help="All requests.")
@json_option
@pass_command_line
def requests(line: CommandLine, run: str, limit: int, everything: bool, as_json: bool) -> None:
    """List the requests to a RUN, newest first, with their outcomes.

    \b
    Example: branchtrack requests demo
    """
    from branchtrack import control
    from branchtrack.analysis import payloads_requests
    from branchtrack.db import refusals
    from branchtrack.db import requests as rows
    from branchtrack.db.runs import find_run

    with line.database() as database:
        with database.read() as connection:
            run_id = find_run(connection, run).id
        control.expire_hanging(database, run_id, control.local_actor())
        with database.read() as connection:
            most = None if everything else limit
            history = [
                payloads_requests.request(row) for row in rows.list_of_run(connection, run_id, most)
            ]
            total = rows.count_of_run(connection, run_id)
            counted = [
                payloads_requests.refusals(row) for row in refusals.of_run(connection, run_id)
            ]
    say_cut(len(history), total, "requests")
    if as_json:
        emit(history)
        return
    if not history:
        echo("No requests to this run yet.")
    print_table(
        ("REQUEST", "STATE", "WHAT", "STEP", "ASKED", "WHO", "WHY"),
        [
            (
                row["id"][:8],
                state(row["state"]),
                _what(row),
                formats.steps(row["step"]),
                ago(row["created_at"]),
                row["actor"],
                visible(row["error"] or _awaited(row) or row["reason"]),
            )
            for row in history
        ],
        right="STEP",
    )
    for row in counted:
        echo(
            f"{row['count']:,} more of {row['actor']} were refused ({row['kind']}) and counted, "
            f"the last {ago(row['last_at'])}."
        )


def _what(request: dict[str, Any]) -> str:
    requested = {**(request["requested"] or request["payload"])}
    if request["kind"] == "data":
        # They are long, and say less than the paths.
        requested.pop("fingerprints", None)
    return f"{request['kind']} {pairs(requested)}".rstrip()[:80]


def _awaited(request: dict[str, Any]) -> str:
    return awaited_words(request["conditions"]) if request["state"] == "accepted" else ""


@click.command()
@json_option
@pass_command_line
def queue(line: CommandLine, as_json: bool) -> None:
    """List the launches that wait or train, in the order of the queue, and the workers.

    \b
    Example: branchtrack queue
    """
    import time

    from branchtrack.analysis import queue as queues

    with line.database() as database:
        refresh(line, database)
        with database.read() as connection:
            payload = queues.as_json(queues.read(connection, time.time()))
    if (left := payload["total"] - len(payload["launches"])) > 0:
        echo(f"{left:,} more launches wait after these.", err=True)
    if as_json:
        emit(payload)
        return
    if not payload["launches"]:
        echo("No launch waits or trains.")
    print_table(
        ("PLACE", "LAUNCH", "BRANCH", "STATE", "STEP", "STEPS/S", "ENDS", "WORKER", "WHY"),
        [_queue_row(row) for row in payload["launches"]],
        right="PLACE STEP STEPS/S",
    )
    for worker in payload["workers"]:
        heard = "" if worker["heard_of"] else ", silent"
        labels = f", labels {', '.join(worker['labels'])}" if worker["labels"] else ""
        gpus = f", {len(worker['devices'])} GPUs" if worker["devices"] else ""
        slots = f"{worker['busy']} of {worker['slots']} slots" if worker["slots"] else "one launch"
        echo(f"worker {worker['name']}: {slots}{labels}{gpus}{heard}")


def _queue_row(row: dict[str, Any]) -> tuple[str, ...]:
    step = formats.steps(row["step"]) if row["step"] is not None else ""
    if row["max_steps"]:
        step += f" of {formats.steps(row['max_steps'])}"
    return (
        str(row["position"] or ""),
        row["launch"][:8],
        f"{row['run']}/{row['branch']}",
        state(row["status"]),
        step,
        formats.metric(row["rate"]) if row["rate"] else "",
        (row["expected_end"] or "")[:16].replace("T", " "),
        ("" if row["position"] else row["where"]) or row["device"] or row["worker"] or "",
        visible(f"cancelled by {row['cancel']}" if row["cancel"] else row["about"]),
    )


@click.command()
@click.argument("request")
@click.option(
    "--timeout",
    type=float,
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for the answer.",
)
@click.option("--no-wait", is_flag=True, help="Send the request without waiting for the answer.")
@json_option
@pass_command_line
def cancel(line: CommandLine, request: str, timeout: float, no_wait: bool, as_json: bool) -> None:
    """Cancel a REQUEST that waits, or a launch that waits or trains.

    A request is cancelled by the training process, which answers whether it was in time. A launch
    that trains makes a node and ends; one that waits leaves the queue, and its branch is removed.
    Exits with 1 if it was carried out all the same.

    \b
    Example: branchtrack cancel 4b1d
    """
    from branchtrack import control
    from branchtrack.core.actors import Actor
    from branchtrack.core.lifecycle import REQUEST_ENDS

    check_timeout(timeout)
    with line.database() as database:
        if _is_launch(database, request):
            ended = _cancel_launch(line, database, request, None if no_wait else timeout, as_json)
        else:
            answer = control.cancel(database, request, actor=Actor(control.local_actor()))
            if answer.state not in REQUEST_ENDS and not no_wait:
                answer = wait_for(database, answer.id, timeout)
            show_answer(answer, as_json)
            ended = answer.state
    if not no_wait and ended not in ("cancelled", "expired"):
        raise click.exceptions.Exit(1)


def _is_launch(database: Database, ref: str) -> bool:
    """Return whether an id is that of a launch and not of a request.

    Raises:
        Ambiguous: it is the prefix of several. NotFound: it is that of neither.
    """
    from branchtrack.db import requests
    from branchtrack.db.orders import launches
    from branchtrack.errors import Ambiguous, NotFound

    ids = []
    with database.read() as connection:
        for find in (requests.find, launches.find):
            try:
                ids.append(find(connection, ref).id)
            except Ambiguous:
                raise
            except NotFound:
                ids.append("")
    if not any(ids):
        fix = "`branchtrack requests RUN` and `branchtrack queue` list them."
        raise NotFound("request or launch", ref, fix=fix)
    if all(ids):
        raise Ambiguous("request or launch", ref, ids)
    return bool(ids[1])


def _cancel_launch(
    line: CommandLine, database: Database, ref: str, timeout: float | None, as_json: bool
) -> str:
    """Cancel a launch, wait for its end unless ``timeout`` is None, print it, return its state."""
    from branchtrack import control
    from branchtrack.analysis import payloads_requests
    from branchtrack.cli.launch_progress import launch_lines
    from branchtrack.cli.progress import bar
    from branchtrack.core.actors import Actor

    launch = control.cancel_launch(database, ref, actor=Actor(control.local_actor()))
    if launch.launcher is not None:
        refresh(line, database)
    if timeout is not None:
        with bar("Waiting for the end of the training process"):
            launch = control.wait_for_end(database, launch.id, timeout)
    with database.read() as connection:
        payload = payloads_requests.launch(connection, launch)
    if as_json:
        emit(payload)
    else:
        echo("\n".join(launch_lines(payload)))
    return launch.state
