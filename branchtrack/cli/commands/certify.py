"""The command `certify`: train a stretch of a branch again in a new process, and compare."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from branchtrack.cli.commands import trust
from branchtrack.cli.context import CommandLine, json_option, pass_command_line
from branchtrack.cli.output import ago, echo, emit, field_lines, pairs, styled, visible
from branchtrack.cli.progress import bar
from branchtrack.cli.text_art import CERTIFICATE_COLOURS
from branchtrack.core import exactness, formats

if TYPE_CHECKING:
    from branchtrack.core.records import Certificate, Node
    from branchtrack.db.engine import Database


@click.command()
@click.argument("branch")
@click.option("--steps", type=int, metavar="K", help="Train at least K steps again.")
@click.option("--from", "start", metavar="NODE", help="The node to train from.")
@click.option("--to", "target", metavar="NODE", help="The node to train to.")
@json_option
@pass_command_line
def certify(
    line: CommandLine,
    branch: str,
    steps: int | None,
    start: str | None,
    target: str | None,
    as_json: bool,
) -> None:
    """Train a stretch of a BRANCH again, and compare the result bit by bit.

    Without options the stretch leads to the newest node from the one before it. Changes on the way
    are made again. Only the certificate is recorded. Exits with 1 if anything differs.

    \b
    Example: branchtrack certify demo/cooler --steps 50
    """
    from branchtrack.analysis import payloads
    from branchtrack.launching import certification

    with line.database() as database:
        trust.require(line, database)
        chosen = certification.choose_nodes(
            database, branch, start=start, target=target, steps=steps
        )
        certificate = _try_again(line, database, *chosen)
        with database.read() as connection:
            payload = payloads.certificate(connection, certificate)
    if as_json:
        emit(payload)
    else:
        echo("\n".join(certificate_lines(payload)))
    if not payload["exact"]:
        raise click.exceptions.Exit(1)


def certificate_lines(payload: dict[str, Any]) -> list[str]:
    """Return the lines of a certificate, given as `payloads.certificate` returns it."""
    environment = exactness.facts(payload["environment"])
    colour = CERTIFICATE_COLOURS.get(payload["state"])
    fields = [
        ("branch", styled(f"{payload['run']}/{payload['branch']}", bold=True)),
        ("from", f"node {payload['from'][:8]}, step {formats.steps(payload['from_step'])}"),
        (
            "to",
            f"node {payload['to'][:8]}, step {formats.steps(payload['to_step'])}: "
            f"{formats.plural(payload['steps'], 'step')}",
        ),
        ("result", styled(payload["words"], colour)),
    ]
    if payload["difference"]:
        difference = payload["difference"]
        expected, actual = formats.setting_pair(difference["expected"], difference["found"])
        fields += [("expected", visible(expected)), ("found", visible(actual))]
        if payload["untested"]:
            fields.append(("outside the tests", "; ".join(payload["untested"])))
    fields += [
        ("with", pairs(environment)),
        ("certificate", f"{payload['id']}, {ago(payload['created_at'])}"),
    ]
    return field_lines(fields)


def _try_again(line: CommandLine, database: Database, start: Node, target: Node) -> Certificate:
    from branchtrack import control
    from branchtrack.cli.commands.storage import make_whole
    from branchtrack.cli.launch_progress import interrupts
    from branchtrack.launching import certification

    for node in (start, target):
        make_whole(line, database, node)
        with bar(f"Reading node {node.id[:8]}") as reading:

            def read(done: int, total: int, update: Any = reading) -> None:
                update(done, total, "bytes")

            control.verify_node(database, line.store, node, read)
    with bar("Training again") as update, interrupts() as received:

        def watch(step: int | None) -> None:
            if received:
                raise KeyboardInterrupt
            done = 0 if step is None else step - start.step
            note = "starting" if step is None else f"step {step} of {target.step}"
            update(done, target.step - start.step, note)

        return certification.certify(database, line.config, start, target, watch)
