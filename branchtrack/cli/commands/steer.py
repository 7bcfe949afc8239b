"""Commands that send a request to a live run; their common parts are in `request_options`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from branchtrack.cli.commands import trust
from branchtrack.cli.context import CommandLine
from branchtrack.cli.request_options import request_options, send_request
from branchtrack.cli.setting_arguments import SettingsCommand

if TYPE_CHECKING:
    from branchtrack.core.records import Request
    from branchtrack.db.engine import Database


@click.command("set")
@click.argument("run")
@click.argument("values", nargs=-1, metavar="NAME=VALUE...")
@click.option("--clamp", is_flag=True, help="Use the nearest allowed value for one out of bounds.")
@request_options
def set_settings(
    line: CommandLine, run: str, values: tuple[str, ...], clamp: bool, **options: Any
) -> None:
    """Change settings of a RUN (or RUN/BRANCH) while it trains; `settings RUN` lists them.

    \b
    Example: branchtrack set demo lr=3e-4 --reason "loss spikes"
             branchtrack set demo lr=3e-4 --only-if lr=1e-3 --not-after-step 5000
    """
    from branchtrack.core.settings import parse_assignments

    payload: dict[str, Any] = {"kind": "set", "values": parse_assignments(values)}
    send_request(line, run, {**payload, "clamp": True} if clamp else payload, **options)


@click.command()
@click.argument("run")
@click.option("--free", is_flag=True, help="End the process, too; unpause starts a new one.")
@click.option("--for", "seconds", type=float, metavar="SECONDS", help="Continue by itself after.")
@request_options
def pause(line: CommandLine, run: str, free: bool, seconds: float | None, **options: Any) -> None:
    """Ask a RUN (or RUN/BRANCH) to commit a node and hold, still answering.

    With --free its process ends, so that the machine is free; the branch stays paused.

    \b
    Example: branchtrack pause demo --reason "let me look"
             branchtrack pause demo --for 600
             branchtrack pause demo --free
    """
    fields = {"kind": "pause", "free": free or None, "seconds": seconds}
    payload = {name: value for name, value in fields.items() if value is not None}
    send_request(line, run, payload, **options)


@click.command()
@click.argument("run")
@click.option("--pause", metavar="REQUEST", help="End this pause alone, by its id.")
@request_options
def unpause(line: CommandLine, run: str, pause: str | None, **options: Any) -> None:
    """Ask a paused RUN (or RUN/BRANCH) to continue, in a new process if its own has ended.

    \b
    Example: branchtrack unpause demo
    """
    payload = {"kind": "unpause"} if pause is None else {"kind": "unpause", "pause": pause}
    send_request(line, run, payload, follow_up=partial(_start, line), **options)


def _start(line: CommandLine, database: Database, request: Request) -> None:
    """Start the process that an unpaused branch continues in, unless a worker does."""
    launch = (request.result or {}).get("launch")
    if launch is None:
        return
    from branchtrack.db.orders import workers
    from branchtrack.launching import foreground

    trust.require(line, database)
    with database.read() as connection:
        staff = workers.heard_of(connection, within=workers.SILENT_AFTER)
        # One without slots carries out a single launch.
        has_worker = any(worker.slots for worker in staff)
    if not has_worker:
        foreground.detach(line.config, launch)


@click.command()
@click.argument("run")
@click.option(
    "--when",
    default="now",
    show_default=True,
    help="now, epoch (at its end) or checkpoint (after the script's next).",
)
@request_options
def stop(line: CommandLine, run: str, when: str, **options: Any) -> None:
    """Ask a RUN (or RUN/BRANCH) to commit a node and end its process.

    With --when epoch or checkpoint it returns at once: `branchtrack requests RUN` shows the
    outcome, `branchtrack cancel REQUEST` cancels it.

    \b
    Example: branchtrack stop demo --reason "converged"
    """
    payload = {"kind": "stop"} if when == "now" else {"kind": "stop", "when": when}
    send_request(line, run, payload, wait=when == "now", **options)


@click.command()
@click.argument("run")
@click.option("--message", default="", metavar="TEXT", help="Kept with the node.")
@request_options
def checkpoint(line: CommandLine, run: str, message: str, **options: Any) -> None:
    """Ask a RUN (or RUN/BRANCH) to commit a node now.

    \b
    Example: branchtrack checkpoint demo --message "before the change"
    """
    send_request(line, run, {"kind": "checkpoint", "message": message}, **options)


@click.command()
@click.argument("run")
@request_options
def evaluate(line: CommandLine, run: str, **options: Any) -> None:
    """Ask a RUN (or RUN/BRANCH) to evaluate now, and print the metrics.

    \b
    Example: branchtrack evaluate demo/cooler
    """
    send_request(line, run, {"kind": "evaluate"}, **options)


@click.command(cls=SettingsCommand)
@click.argument("run")
@click.argument("node")
@click.option("--name", metavar="BRANCH", help="Name of the new branch.")
@click.option(
    "--set",
    "values",
    multiple=True,
    metavar="NAME=VALUE",
    help="A setting to change from there on; may be repeated.",
)
@request_options
def rewind(
    line: CommandLine,
    run: str,
    node: str,
    name: str | None,
    values: tuple[str, ...],
    **options: Any,
) -> None:
    """Ask a RUN (or RUN/BRANCH) to go back to a NODE and continue from there as a new branch.

    The process stays the same; what it trained since the node is kept as the branch that it leaves.

    \b
    Example: branchtrack rewind demo 3fa9 --set lr=1e-4 --name cooler
    """
    from branchtrack.core.settings import parse_assignments

    payload: dict[str, Any] = {"kind": "rewind", "node": node}
    if name is not None:
        payload["name"] = name
    if values:
        payload["values"] = parse_assignments(values)
    send_request(line, run, payload, **options)


def _of_modules(kind: str, about: str, example: str) -> click.Command:
    @click.command(kind, help=f"{about}\n\n\b\nExample: branchtrack {kind} {example}")
    @click.argument("run")
    @click.argument("modules", nargs=-1)
    @request_options
    def command(line: CommandLine, run: str, modules: tuple[str, ...], **options: Any) -> None:
        send_request(line, run, {"kind": kind, "modules": ", ".join(modules)}, **options)

    return command


freeze = _of_modules(
    "freeze",
    "Freeze MODULES (paths or patterns) of a RUN, in addition to those already frozen.",
    "demo encoder 'head.*.bias'",
)
unfreeze = _of_modules(
    "unfreeze", "Unfreeze MODULES of a RUN, so that they train again.", "demo encoder"
)
reset = _of_modules(
    "reset",
    "Reinitialize MODULES of a RUN, and clear the optimizer's state for them.",
    'demo head --reason "new labels"',
)


@click.command()
@click.argument("run")
@click.argument("text")
@request_options
def note(line: CommandLine, run: str, text: str, **options: Any) -> None:
    """Add a note about a RUN (or RUN/BRANCH) to its record; the run may have ended.

    \b
    Example: branchtrack note demo "the spike is the new data"
    """
    send_request(line, run, {"kind": "note", "text": text}, **options)


@click.command()
@click.argument("run")
@click.argument("action")
@click.argument("arguments", nargs=-1, metavar="NAME=VALUE...")
@request_options
def act(
    line: CommandLine, run: str, action: str, arguments: tuple[str, ...], **options: Any
) -> None:
    """Call an ACTION that the script of a RUN registered; `settings RUN` lists them.

    \b
    Example: branchtrack act demo relabel threshold=0.9
    """
    from branchtrack.core.settings import parse_assignments

    payload = {"kind": "act", "action": action, "arguments": parse_assignments(arguments)}
    send_request(line, run, payload, **options)
