"""The command `resume`: a new process that continues from a node, as a new branch."""

from __future__ import annotations

import signal
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from branchtrack.cli import origins
from branchtrack.cli.commands import trust
from branchtrack.cli.context import CommandLine, json_option, pass_command_line
from branchtrack.cli.output import echo, emit, field_lines, pairs, state, styled
from branchtrack.cli.output import setting as written
from branchtrack.cli.progress import bar
from branchtrack.error_payload import jsonable

if TYPE_CHECKING:
    from branchtrack.core.records import Launch, Segment
    from branchtrack.db.engine import Database
    from branchtrack.launching.worker import Worker


@click.command()
@click.argument("node")
@click.option(
    "--set",
    "values",
    multiple=True,
    metavar="NAME=VALUE",
    help="A setting to change; may be given more than once.",
)
@click.option("--name", metavar="BRANCH", help="Name of the new branch.")
@click.option(
    "--mode",
    default="exact",
    show_default=True,
    help="exact: the whole state; weights: nothing else.",
)
@click.option(
    "--accept",
    "accepted",
    multiple=True,
    metavar="NAME[,NAME]",
    help="A difference of the script that is intended, as its refusal names it.",
)
@click.option(
    "--resize",
    is_flag=True,
    help="With --mode weights: take the common rows of tensors whose size differs.",
)
@click.option("--reason", default="", metavar="TEXT", help="Why; kept in the record.")
@click.option("--script", metavar="PATH", help="The script, if it is another one or has moved.")
@click.option("--cwd", metavar="DIR", help="The folder to start it in, if it has moved.")
@click.option("--detach", is_flag=True, help="Return at once and let it train on its own.")
@click.option(
    "--env",
    "assignments",
    multiple=True,
    metavar="NAME=VALUE",
    help="A variable for the process; may be given more than once.",
)
@click.option(
    "--keep-env", is_flag=True, help="Use the environment of this shell; restore no variables."
)
@click.option(
    "--strict",
    is_flag=True,
    help="End if the first update differs from the node's own continuation.",
)
@click.option(
    "--list", "lists", is_flag=True, help="Only list the settings that a resume of NODE may change."
)
@json_option
@pass_command_line
def resume(
    line: CommandLine, /, node: str, detach: bool, lists: bool, as_json: bool, **order: Any
) -> None:
    """Continue training from a NODE in a new process, as a new branch.

    Settings without --set stay as they are in the node; --list shows what --set accepts. With
    another max_steps, say how the schedule follows: horizon=extend spreads the rest of it over the
    remaining steps, horizon=rescale rebuilds it for the whole length. --mode weights takes only the
    weights, as far as they fit: optimizer, schedule, position and settings begin as the script has
    them, and weights that do not fit are listed.

    --script and --cwd say where the script and its folder are now; the run remembers them once it
    has trained from there. A project that was moved with its home is found without them.

    The exit code is that of the training process. Ctrl-C asks it to stop at a node.

    \b
    Example: branchtrack resume 3fa9 --set lr=1e-4 --name cooler
             branchtrack resume 3fa9 --set max_steps=4000 --set horizon=extend
             branchtrack resume 3fa9 --set lr_scheduler_type=cosine_with_min_lr \\
                                     --set lr_scheduler_kwargs=min_lr_rate=0.1
    """
    from branchtrack.analysis import payloads_requests

    if lists:
        _list(line, node, as_json)
        return
    with line.database() as database:
        trust.require(line, database)
        launch = _order(line, database, node, **order)
        changed = origins.report_script_changes(database, launch, quiet=as_json)
        origins.report_environment(database, launch, quiet=as_json)
        if detach:
            from branchtrack.launching import foreground

            foreground.detach(line.config, launch.id)
        else:
            launch = show_launch(line, database, launch, quiet=as_json)
        remembered = origins.is_remembered(database, launch)
        with database.read() as connection:
            payload = payloads_requests.launch(connection, launch)
    _show(payload | {"script_changed": changed, "remembered": remembered}, as_json)


def _show(payload: dict[str, Any], as_json: bool) -> None:
    """Show the progress of a launch, and exit as its process did."""
    if as_json:
        emit(payload)
    else:
        echo("\n".join(launch_lines(payload)))
    if payload["state"] == "failed":
        code = payload["exit_code"] or 1
        raise click.exceptions.Exit(128 - code if code < 0 else code)


def _order(
    line: CommandLine,
    database: Database,
    node: str,
    *,
    values: tuple[str, ...],
    accepted: tuple[str, ...],
    resize: bool,
    script: str | None,
    cwd: str | None,
    assignments: tuple[str, ...],
    keep_env: bool,
    **options: Any,
) -> Launch:
    """Queue the launch that the options describe; ``options`` are name, mode, reason and strict."""
    from branchtrack import control
    from branchtrack.cli.commands.storage import make_whole
    from branchtrack.core import variables
    from branchtrack.core.settings import parse_assignments

    settings = parse_assignments([*values, *_declared(accepted, resize)])
    if options["mode"] == "exact":
        make_whole(line, database, node)
    environment = {"given": variables.parse(assignments), "keep": keep_env}
    with bar("Reading the checkpoint"):
        return control.create_launch(
            database,
            line.store,
            node,
            actor=control.local_actor(),
            settings=settings,
            environment=environment,
            entry_point=origins.relocated_command(database, node, script, cwd),
            **options,
        )


def _declared(accepted: tuple[str, ...], resize: bool) -> list[str]:
    """Return the settings that two of the options stand for.

    Raises:
        InvalidInput: a name in ``accepted`` is empty.
    """
    from branchtrack.errors import InvalidInput

    for names in accepted:
        if not all(name.strip() for name in names.split(",")):
            raise InvalidInput("accept", names, "names of differences, separated by commas")
    return [
        *([f"accept={','.join(accepted)}"] if accepted else []),
        *(["resize=true"] if resize else []),
    ]


def offered_settings(database: Database, node_ref: str) -> list[dict[str, Any]]:
    """Return the settings that a resume of a node may change, with current values and bounds.

    Raises:
        NotFound: there is no such node.
    """
    from branchtrack import control
    from branchtrack.db import nodes

    with database.read() as connection:
        node = nodes.find(connection, node_ref)
        settings = control.resume_settings(connection, node)
    return [
        {
            "name": name,
            "value": node.settings.get(name),
            "dtype": setting.dtype,
            "minimum": setting.minimum,
            "maximum": setting.maximum,
            "choices": list(setting.choices),
            "allowed": setting.allowed,
            "unit": setting.unit,
            "about": setting.about,
            "live": setting.live,
        }
        for name, setting in settings.items()
    ]


def _list(line: CommandLine, node: str, as_json: bool) -> None:
    with line.database() as database:
        settings = offered_settings(database, node)
    if as_json:
        emit(jsonable(settings))
        return
    for setting in settings:
        value = setting["value"]
        is_set = value not in (None, "")
        now = f"{written(value)} {setting['unit']}".strip() if is_set else "not set"
        echo(f"{styled(setting['name'], bold=True)}  {now}")
        about = f"{setting['about']}; " if setting["about"] else ""
        text = f"{about}allowed: {setting['allowed']}"
        echo(textwrap.indent("\n".join(textwrap.wrap(text, 92)), "    "))


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
        if segment.status == "waiting":
            update(0, None, f"starting, {time.monotonic() - seen['since']:.0f} s")
        else:
            rate = f", {segment.rate:.1f} steps/s" if segment.rate else ""
            update(segment.step, segment.max_steps, f"of {segment.max_steps} steps{rate}")

    return watch


def launch_lines(payload: dict[str, Any]) -> list[str]:
    """Return the lines of a launch, given as `payloads_requests.launch` returns it."""
    fields = [
        ("branch", styled(f"{payload['run']}/{payload['branch']}", bold=True)),
        ("from node", payload["node"]),
        ("launch", f"{payload['launch']} {state(payload['state'])}"),
        ("asked", pairs(payload["overrides"]) or "no change"),
    ]
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
