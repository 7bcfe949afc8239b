"""The command `resume`: a new process that trains on from a node, as a new branch."""

from __future__ import annotations

import signal
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from branchtrack.cli.context import CommandLine, json_option, pass_command_line
from branchtrack.cli.output import echo, emit, field_lines, jsonable, number, pairs, state, styled
from branchtrack.cli.progress import bar

if TYPE_CHECKING:
    from branchtrack.core.records import Launch, Segment
    from branchtrack.db.engine import Database
    from branchtrack.launching.worker import Worker


@click.command()
@click.argument("node")
@click.option("--set", "values", multiple=True, metavar="NAME=VALUE",
              help="A setting to change; may be given more than once.")  # fmt: skip
@click.option("--name", metavar="BRANCH", help="Name of the new branch.")
@click.option(
    "--mode",
    default="exact",
    show_default=True,
    help="exact: the whole state; weights: nothing else.",
)
@click.option("--reason", default="", metavar="TEXT", help="Why; kept in the record.")
@click.option("--script", metavar="PATH", help="The script, where it is another or elsewhere now.")
@click.option("--cwd", metavar="DIR", help="The folder to start it in, where that was moved.")
@click.option("--detach", is_flag=True, help="Return at once and let it train on its own.")
@click.option("--list", "lists", is_flag=True,
              help="Only list the settings that a resume of NODE may change.")  # fmt: skip
@json_option
@pass_command_line
def resume(
    line: CommandLine,
    node: str,
    values: tuple[str, ...],
    name: str | None,
    mode: str,
    reason: str,
    script: str | None,
    cwd: str | None,
    detach: bool,
    lists: bool,
    as_json: bool,
) -> None:
    """Train on from a NODE in a new process, as a new branch.

    What --set does not name stays as it is in the node; --list shows what it may name. With
    another max_steps say what becomes of the schedule: horizon=extend spreads what is left of it
    over the steps that are left, horizon=rescale makes it anew for the whole length. --mode
    weights takes nothing but the weights: optimizer, schedule, position and settings begin as the
    script has them.

    --script and --cwd say where the script and its folder are now; once it has trained from there
    the run remembers them. A project that was moved with its home is found without.

    The exit code is that of the training process. Ctrl-C asks it to stop at a node.

    \b
    Example: branchtrack resume 3fa9 --set lr=1e-4 --name cooler
             branchtrack resume 3fa9 --set max_steps=4000 --set horizon=extend
             branchtrack resume 3fa9 --set lr_scheduler_type=cosine_with_min_lr \\
                                     --set lr_scheduler_kwargs=min_lr_rate=0.1
    """
    from branchtrack import control
    from branchtrack.analysis import report
    from branchtrack.core.settings import parse_assignments

    if lists:
        _list(line, node, as_json)
        return
    with line.database() as database:
        with bar("Reading the checkpoint"):
            launch = control.order_launch(
                database, line.store, node, actor=control.local_actor(), name=name,
                settings=parse_assignments(values), mode=mode, reason=reason,
                entry_point=_placed(database, node, script, cwd),
            )  # fmt: skip
        changed = _tell_of_script(database, launch, quiet=as_json)
        if detach:
            from branchtrack.launching import foreground

            foreground.detach(line.config, launch.id)
        else:
            launch = carry_out(line, database, launch, quiet=as_json)
        remembered = _is_remembered(database, launch)
        with database.read() as connection:
            told = report.launch(connection, launch)
    _show(told | {"script_changed": changed, "remembered": remembered}, as_json)


def _show(told: dict[str, Any], as_json: bool) -> None:
    """Print how a launch has come along, and exit as its process did."""
    if as_json:
        emit(told)
    else:
        echo("\n".join(launch_lines(told)))
    if told["state"] == "failed":
        code = told["exit_code"] or 1
        raise click.exceptions.Exit(128 - code if code < 0 else code)


def offered(database: Database, node_ref: str) -> list[dict[str, Any]]:
    """The settings that a resume of a node may change, each with its value in force and bounds.

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
            "name": name, "value": node.settings.get(name), "dtype": one.dtype,
            "minimum": one.minimum, "maximum": one.maximum, "choices": list(one.choices),
            "allowed": one.allowed, "unit": one.unit, "about": one.about, "live": one.live,
        }
        for name, one in settings.items()
    ]  # fmt: skip


def _list(line: CommandLine, node: str, as_json: bool) -> None:
    with line.database() as database:
        found = offered(database, node)
    if as_json:
        emit(jsonable(found))
        return
    for one in found:
        value = number(one["value"]) if isinstance(one["value"], float) else one["value"]
        now = "not set" if value in (None, "") else f"{value} {one['unit']}".strip()
        echo(f"{styled(one['name'], bold=True)}  {now}")
        about = f"{one['about']}; " if one["about"] else ""
        text = f"{about}allowed: {one['allowed']}"
        echo(textwrap.indent("\n".join(textwrap.wrap(text, 92)), "    "))


def _placed(
    database: Database, node_ref: str, script: str | None, folder: str | None
) -> dict[str, Any] | None:
    """The command of a node's run with its script or folder elsewhere; None where it is not."""
    if script is None and folder is None:
        return None
    from branchtrack import scripts
    from branchtrack.db import nodes, runs

    with database.read() as connection:
        node = nodes.find(connection, node_ref)
        return scripts.placed(runs.get_run(connection, node.run_id).entry_point, script, folder)


def _is_remembered(database: Database, launch: Launch) -> bool:
    """Whether the run is started from where this launch was, from now on."""
    from branchtrack.db import runs

    if launch.entry_point is None:
        return False
    with database.read() as connection:
        now = runs.get_run(connection, launch.run_id).entry_point or {}
    return all(now.get(name) == launch.entry_point.get(name) for name in ("argv", "cwd"))


def _tell_of_script(database: Database, launch: Launch, quiet: bool) -> bool:
    """Whether the script has changed since the node was made; said in a line unless ``quiet``."""
    from branchtrack import scripts
    from branchtrack.db import nodes, runs

    with database.read() as connection:
        entry_point = launch.entry_point or runs.get_run(connection, launch.run_id).entry_point
        environment = nodes.get(connection, launch.node_id).environment
    changed = scripts.has_changed(entry_point, environment)
    if launch.entry_point is not None and not quiet:
        echo(f"Starting {scripts.words(launch.entry_point)}, not where it was trained.", err=True)
    if changed and not quiet:
        path = scripts.script_of(entry_point)
        echo(f"The script {path} has changed since node {launch.node_id} was made.", err=True)
    return changed


def carry_out(line: CommandLine, database: Database, launch: Launch, quiet: bool) -> Launch:
    """Start a launch's process and show how it comes along, until it has ended.

    Raises:
        KeyboardInterrupt: it was stopped by Ctrl-C, or goes on alone after a second.
    """
    from branchtrack.launching.foreground import carry_out as carry_out_launch
    from branchtrack.launching.worker import Worker

    def say(text: str) -> None:
        if not quiet:
            echo(text, err=True)

    worker = Worker(database, line.config, say=say)
    with bar(worker.describe(launch)) as update, interrupts() as received:
        watch = progress_of(update, received)
        try:
            return carry_out_launch(worker, launch.id, watch)
        except KeyboardInterrupt:
            try:
                _ask_to_stop(worker, launch)
                carry_out_launch(worker, launch.id, watch)
            except KeyboardInterrupt:
                for child in worker.still_training():
                    echo(f"{child} trains on by itself.", err=True)
            raise


@contextmanager
def interrupts() -> Iterator[list[int]]:
    """Ctrl-C while the block runs is put into a list, to be looked at where nothing is half done.

    Raised anywhere, it would be lost where Python cannot pass it on, as in a finalizer.
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
    """A watcher of a launch that moves a progress bar, and raises what was ``received``."""
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


def launch_lines(told: dict[str, Any]) -> list[str]:
    """A launch as `report.launch` tells it, with what its process read back."""
    fields = [
        ("branch", styled(f"{told['run']}/{told['branch']}", bold=True)),
        ("from node", told["node"]),
        ("launch", f"{told['launch']} {state(told['state'])}"),
        ("asked", pairs(told["overrides"]) or "no change"),
    ]
    if told["effective"]:
        fields.append(("read back", pairs(told["effective"])))
    if told.get("withdrawn"):
        fields.append(("left", "nothing: the branch is gone, and its name is free"))
    if told.get("remembered"):
        fields.append(("remembered", "the run is started from there from now on"))
    if told["error"]:
        fields.append(("error", told["error"]))
    if told["log"]:
        fields.append(("log", told["log"]))
    return field_lines(fields)


def _ask_to_stop(worker: Worker, launch: Launch) -> None:
    """Ask for a node and an end; a process that does not train yet is ended by signal."""
    from branchtrack import control
    from branchtrack.errors import NotLive

    echo("Stopping at a node; Ctrl-C again leaves it to train on by itself.", err=True)
    branch = worker.describe(launch).partition(" ")[0]
    try:
        control.submit(
            worker.database, branch, {"kind": "stop"}, actor=control.local_actor(), reason="Ctrl-C"
        )
    except NotLive:
        worker.terminate(launch.id)
