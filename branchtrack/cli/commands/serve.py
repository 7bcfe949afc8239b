"""The commands that keep running: serve (the web pages, with a worker) and worker (alone)."""

from __future__ import annotations

import secrets
import signal
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from branchtrack import permissions
from branchtrack.cli.commands import trust
from branchtrack.cli.context import CommandLine, pass_command_line
from branchtrack.cli.output import echo
from branchtrack.cli.worker_options import Staff, let_go, say, signals, worker_options
from branchtrack.errors import UntrustedHome

if TYPE_CHECKING:
    from flask import Flask

    from branchtrack.db.engine import Database

PORT = 8642
_INTERRUPTED = 130
_UNTRUSTED = (
    "It is not started: this home is not trusted. `branchtrack trust` shows what would be started, "
    "and asks; then serve again."
)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=PORT,
    show_default=True,
    help="Port to listen on; 0 takes any free one.",
)
@click.option("--token", metavar="TEXT", help="The token that gives a browser access [a new one].")
@click.option("--no-token", is_flag=True, help="Give every process of this machine access.")
@click.option(
    "--trusted-host",
    "hosts",
    metavar="NAME",
    multiple=True,
    help="Another name that requests may call this server by; can be repeated.",
)
@click.option(
    "--proxy",
    "hops",
    metavar="[N]",
    type=click.IntRange(1, 9),
    is_flag=False,
    flag_value=1,
    default=None,
    help="Trust the X-Forwarded-* headers of N proxies in front [1].",
)
@click.option(
    "--url-prefix",
    "prefix",
    metavar="PATH",
    default="",
    help="The path under which a proxy shows the pages, such as /branchtrack.",
)
@click.option(
    "--protocol",
    metavar="RUN[/BRANCH]",
    help="Have /state, /actions and /events speak for this branch, as Interactive Training 2 does.",
)
@click.option("--no-worker", is_flag=True, help="Start no training processes from here.")
@worker_options
@pass_command_line
def serve(
    line: CommandLine,
    /,
    host: str,
    port: int,
    token: str | None,
    no_token: bool,
    hosts: tuple[str, ...],
    hops: int | None,
    prefix: str,
    protocol: str | None,
    no_worker: bool,
    **worker_facts: Any,
) -> None:
    """Serve the pages, and start the training processes that are ordered there.

    The printed address carries the token once; the browser keeps it after that. From a home that is
    not trusted (see `branchtrack trust`) nothing is started, but its pages are served. After Ctrl-C
    or SIGTERM the trainings make a node each and end; again, and they are killed.

    \b
    Example: branchtrack serve --port 0
    """
    if token and no_token:
        raise click.UsageError("--token and --no-token cannot be combined.")
    if no_token and (hosts or hops):
        raise click.UsageError("Without a token everybody who reaches the proxy could steer runs.")
    secret = None if no_token else token or new_token()
    where = {"hosts": hosts, "hops": hops or 0, "prefix": prefix}
    staff = None if no_worker else Staff.of(**worker_facts)
    serve_pages(line, host, port, secret, staff=staff, where=where, protocol=protocol)


def new_token() -> str:
    """Return a token that cannot be guessed."""
    return secrets.token_urlsafe(24)


def serve_pages(
    line: CommandLine,
    host: str,
    port: int,
    token: str | None,
    *,
    staff: Staff | None,
    where: Mapping[str, Any] | None = None,
    protocol: str | None = None,
) -> None:
    """Serve until Ctrl-C (exit code 130) or SIGTERM, with a worker if there is to be ``staff``.

    ``where`` are the arguments of `proxies.mount`, ``protocol`` as in `create_app`.

    Raises:
        PortInUse, InvalidInput: that address cannot be used; nothing was started.
    """
    from branchtrack.control.alerts.background import looking
    from branchtrack.launching.worker import in_background
    from branchtrack.web.serving import proxies
    from branchtrack.web.serving.server import serve

    with line.database(create=not line.read_only) as database, ExitStack() as stack:
        if database.read_only:
            say("This home is read-only: it can be looked at, and nothing is started from here.")
            staff = None
        elif warning := permissions.readers(line.config.home):
            echo(warning, err=True)
        note = "This server starts no processes; `branchtrack worker` does."
        if staff is not None:
            note = _refusal(line, database)
        hired = staff.hired(line, database) if staff is not None and not note else None
        app = _application(line, database, token, note, protocol)
        proxies.mount(app, **(where or {}))

        def ready(address: str) -> None:
            click.echo(f"Serving {address}")
            sys.stdout.flush()
            if hired is not None:
                stack.enter_context(in_background(hired))

        with looking(database, line.config), signals(KeyboardInterrupt) as came:
            # waitress takes the interrupt as a request to close, and returns.
            serve(app, host, port, ready=ready)
            stack.close()
            if hired is not None and staff is not None:
                let_go(hired, staff, came.hurry)
        if signal.SIGINT in came.received:
            raise click.exceptions.Exit(_INTERRUPTED)


def _application(
    line: CommandLine, database: Database, token: str | None, note: str, protocol: str | None
) -> Flask:
    """Return the application; the branch that ``protocol`` names must be there."""
    from branchtrack.db.runs import find_branch
    from branchtrack.web.app import create_app

    if protocol is not None:
        with database.read() as connection:
            find_branch(connection, protocol)
    return create_app(
        line.config, database, line.store, token=token, worker_note=note, protocol=protocol
    )


def _refusal(line: CommandLine, database: Database) -> str:
    """Return why this home's launches are not started, as pages show it; else an empty text."""
    try:
        trust.require(line, database)
    except UntrustedHome as error:
        echo(str(error), err=True)
        say("Its pages are served, and what is ordered on them stays queued.")
        return _UNTRUSTED
    return ""


@click.command()
@click.option(
    "--once", is_flag=True, help="End when the queue is empty and all launches have ended."
)
@click.option("--launch", metavar="ID", help="Carry out this one launch, then end.")
@click.option("--job", metavar="JOB", hidden=True, help="The cluster's job that this worker is in.")
@worker_options
@pass_command_line
def worker(
    line: CommandLine, /, once: bool, launch: str | None, job: str | None, **worker_facts: Any
) -> None:
    """Start the training processes that were ordered, here or in the browser.

    After Ctrl-C or SIGTERM it starts no more; processes that train make a node each and end, and
    what had not begun to train is queued again. Again, and they are killed. From a home that is not
    trusted nothing is started, and it exits with 2. It also submits the launches
    that are for clusters which can be reached from here, and looks after their jobs.

    \b
    Example: branchtrack worker --slots 2 --labels gpu
    """
    from branchtrack.control.alerts.background import looking
    from branchtrack.db.orders import launches

    staff = Staff.of(**worker_facts)
    with line.database() as database:
        database.check_writable()
        trust.require(line, database)
        if launch is not None:
            with database.read() as connection:
                launch = launches.find(connection, launch).id
        if job is not None and launch is not None:
            _work_in_job(line, database, staff, launch, job)
        hired = staff.hired(line, database)
        with looking(database, line.config), signals() as came:
            hired.run(came.stop, once=once, only=launch)
            let_go(hired, staff, came.hurry)
        received = came.received
        if received[:1] == [signal.SIGINT]:
            raise click.exceptions.Exit(_INTERRUPTED)
        if launch is not None and not received:
            with database.read() as connection:
                ended = launches.get(connection, launch)
            if ended.state == "failed":
                raise click.exceptions.Exit(1)


def _work_in_job(
    line: CommandLine, database: Database, staff: Staff, launch_id: str, job: str
) -> None:
    """Carry out the launch of a cluster's job, and exit as the job is to."""
    from branchtrack.launching.clusters import job_process

    with signals(in_job=True) as came:
        job_process.end_with_parent()
        launch = job_process.launch_of_job(database, launch_id, job, came.stop)
        if launch is None:
            echo(f"Nothing is left to be done for launch {launch_id} in job {job}.", err=True)
            raise click.exceptions.Exit(0)
        hired = staff.hired(line, database, job_process.columns(job))
        hired.run(came.stop, only=launch.id)
        if came.received and hired.children:
            job_process.note_signal(database, launch.id, signal.Signals(came.received[0]))
        let_go(hired, staff, came.hurry)
        was_signalled = bool(came.received)
    code = job_process.exit_code(database, launch_id, was_signalled=was_signalled)
    raise click.exceptions.Exit(code)
