"""The progress and the end of launches that a person watches, on a terminal."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from branchtrack.cli.context import CommandLine
from branchtrack.cli.output import echo, field_lines, pairs, state, styled
from branchtrack.cli.progress import bar, bars
from branchtrack.core.launchers import jobs

if TYPE_CHECKING:
    from branchtrack.core.records import Launch, Segment
    from branchtrack.db.engine import Database
    from branchtrack.launching.worker import Worker


def show_launch(line: CommandLine, database: Database, launch: Launch, quiet: bool) -> Launch:
    """Start a launch's process and show its progress until it has ended.

    Raises:
        KeyboardInterrupt: Ctrl-C stopped it, or a second one left it to run alone.
    """
    from branchtrack.launching.foreground import run_launch
    from branchtrack.launching.worker import Worker

    def say(text: str) -> None:
        if not quiet:
            echo(text, err=True)

    worker = Worker(database, line.config, say=say)
    with bar(worker.describe(launch)) as update, interrupts() as received:
        watch = progress_of(update, received)
        try:
            return run_launch(worker, launch.id, watch)
        except KeyboardInterrupt:
            try:
                _ask_to_stop(worker, launch)
                run_launch(worker, launch.id, watch)
            except KeyboardInterrupt:
                for child in worker.still_training():
                    echo(f"{child} continues by itself.", err=True)
            raise


def show_launches(
    line: CommandLine, database: Database, launches: Sequence[Launch], slots: int, quiet: bool
) -> list[Launch]:
    """Train several launches, ``slots`` at a time, with one progress line each.

    Raises:
        KeyboardInterrupt: Ctrl-C stopped those that trained; the others stay queued.
    """
    from branchtrack.launching.foreground import run_launches
    from branchtrack.launching.worker import Worker

    def say(text: str) -> None:
        if not quiet:
            echo(text, err=True)

    worker = Worker(database, line.config, slots=slots, say=say)
    labels = {launch.id: worker.describe(launch) for launch in launches}
    with bars(labels) as updates, interrupts() as received:
        watchers = {key: progress_of(update, received) for key, update in updates.items()}

        def watch(launch: Launch, segment: Segment) -> None:
            watchers[launch.id](launch, segment)

        try:
            return run_launches(worker, list(labels), watch)
        except KeyboardInterrupt:
            _stop_all(worker, watch)
            raise


def _stop_all(worker: Worker, watch: Any) -> None:
    """Ask the launches that train to stop at a node, and wait; a second Ctrl-C leaves them."""
    from branchtrack.launching.foreground import run_launches

    training = [child.launch for child in worker.children.values()]
    echo("The branches that have not started stay queued for `branchtrack worker`.", err=True)
    try:
        for launch in training:
            _ask_to_stop(worker, launch)
        run_launches(worker, [launch.id for launch in training], watch)
    except KeyboardInterrupt:
        for child in worker.still_training():
            echo(f"{child} continues by itself.", err=True)


@contextmanager
def interrupts() -> Iterator[list[int]]:
    """Collect Ctrl-C in a list while the block runs, to be handled at a safe moment.

    Raised anywhere else, it would be lost where Python cannot propagate it, as in a finalizer.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    before = signal.signal(signal.SIGINT, lambda number, _frame: received.append(number))
    try:
        yield received
    finally:
        signal.signal(signal.SIGINT, before)


def progress_of(update: Any, received: list[int]) -> Any:
    """Return a watcher of a launch that moves a progress bar and raises what was ``received``."""
    seen: dict[str, float] = {}

    def watch(launch: Launch, segment: Segment) -> None:
        if received:
            received.clear()
            raise KeyboardInterrupt
        seen.setdefault("since", time.monotonic())
        if segment.status == "waiting" and (where := jobs.words(launch)):
            update(0, None, where)
        elif segment.status == "waiting":
            update(0, None, f"starting, {time.monotonic() - seen['since']:.0f} s")
        else:
            rate = f", {segment.rate:.1f} steps/s" if segment.rate else ""
            update(segment.step, segment.max_steps, f"of {segment.max_steps} steps{rate}")

    return watch


def _shown(payload: dict[str, Any]) -> str:
    job = payload.get("job") or {}
    return jobs.shown_state(payload["state"], payload["state"], job.get("id"))


def launch_lines(payload: dict[str, Any]) -> list[str]:
    """Return the lines of a launch, given as `payloads_requests.launch` returns it."""
    fields = [
        ("branch", styled(f"{payload['run']}/{payload['branch']}", bold=True)),
        *([("group", payload["group"])] if payload.get("group") else []),
        ("from node", payload["node"]),
        ("launch", f"{payload['launch']} {state(_shown(payload))}"),
        ("asked", pairs(payload["overrides"]) or "no change"),
    ]
    if payload.get("job"):
        fields.append(("job", f"{payload['launcher']}: {payload['where']}"))
    if payload["compared"]:
        fields.append(
            ("restore", f"{state(payload['compared']['state'])}: {payload['compared']['about']}")
        )
    for name, what in (payload["restored"] or {}).items():
        is_partial = (
            "weights" in name and what != "restored" or "position" in name and "data" in what
        )
        if is_partial or what == "not stored":
            fields.append((name, what))
    if payload["effective"]:
        fields.append(("read back", pairs(payload["effective"])))
    if payload.get("withdrawn"):
        fields.append(("left", "nothing: the branch is gone, and its name is free"))
    if payload.get("remembered"):
        fields.append(("remembered", "the run is started from there from now on"))
    if payload["error"]:
        fields.append(("error", payload["error"]))
    if payload["log"]:
        fields.append(("log", payload["log"]))
    return field_lines(fields)


def _ask_to_stop(worker: Worker, launch: Launch) -> None:
    """Ask for a node and an end; a process that does not train yet is ended by signal."""
    from branchtrack import control
    from branchtrack.errors import NotLive

    echo("Stopping at a node; Ctrl-C again leaves it to continue by itself.", err=True)
    branch = worker.describe(launch).partition(" ")[0]
    try:
        control.submit(
            worker.database, branch, {"kind": "stop"}, actor=control.local_actor(), reason="Ctrl-C"
        )
    except NotLive:
        worker.terminate(launch.id)


def exit_as(payloads: Sequence[dict[str, Any]]) -> None:
    """Exit as the process of a failed launch did, or with 1 if one of several failed."""
    if any(payload["state"] == "failed" for payload in payloads):
        code = (payloads[0]["exit_code"] if len(payloads) == 1 else None) or 1
        raise click.exceptions.Exit(128 - code if code < 0 else code)
