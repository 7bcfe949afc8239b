"""Commands that ask a live run to change or to do something: set, stop, checkpoint, evaluate.

Each stores a request and waits for the training process's own answer. It must not report what
that process has not seen.
"""

from __future__ import annotations

from typing import Any

import click

from branchtrack.cli.context import CommandLine, json_option, pass_command_line
from branchtrack.cli.output import emit, field_lines, pairs, state, styled
from branchtrack.cli.progress import bar

#: The states in which what was asked for has come true.
SUCCESS = frozenset(("verified", "done"))
_LONGEST = 7 * 24 * 3600


def asking(command: Any) -> Any:
    """The options that every command which asks for something has."""
    for option in (
        json_option,
        click.option("--timeout", type=float, default=60.0, show_default=True, metavar="SECONDS",
                     help="How long to wait for the answer."),
        click.option("--no-wait", is_flag=True, help="Ask, and do not wait for the answer."),
        click.option("--reason", default="", metavar="TEXT", help="Why; kept in the record."),
    ):  # fmt: skip
        command = option(command)
    return pass_command_line(command)


@click.command("set")
@click.argument("run")
@click.argument("values", nargs=-1, required=True, metavar="NAME=VALUE...")
@asking
def set_settings(line: CommandLine, run: str, values: tuple[str, ...], **how: Any) -> None:
    """Change settings of a RUN (or RUN/BRANCH) while it trains.

    \b
    Example: branchtrack set demo lr=3e-4 --reason "loss spikes"
    """
    from branchtrack.core.settings import parse_assignments

    ask(line, run, {"kind": "set", "values": parse_assignments(values)}, **how)


@click.command()
@click.argument("run")
@asking
def stop(line: CommandLine, run: str, **how: Any) -> None:
    """Ask a RUN (or RUN/BRANCH) to commit a node and end its process.

    \b
    Example: branchtrack stop demo --reason "converged"
    """
    ask(line, run, {"kind": "stop"}, **how)


@click.command()
@click.argument("run")
@click.option("--message", default="", metavar="TEXT", help="Kept with the node.")
@asking
def checkpoint(line: CommandLine, run: str, message: str, **how: Any) -> None:
    """Ask a RUN (or RUN/BRANCH) to commit a node now.

    \b
    Example: branchtrack checkpoint demo --message "before the change"
    """
    ask(line, run, {"kind": "checkpoint", "message": message}, **how)


@click.command()
@click.argument("run")
@asking
def evaluate(line: CommandLine, run: str, **how: Any) -> None:
    """Ask a RUN (or RUN/BRANCH) to evaluate now, and print the metrics.

    \b
    Example: branchtrack evaluate demo/cooler
    """
    ask(line, run, {"kind": "evaluate"}, **how)


def ask(
    line: CommandLine,
    branch: str,
    payload: dict[str, Any],
    *,
    reason: str,
    no_wait: bool,
    timeout: float,
    as_json: bool,
) -> None:
    """Submit a request, wait for its end unless told not to, and print what came of it.

    Exits with 1 where the answer is that it did not come true.
    """
    from branchtrack import control
    from branchtrack.analysis import report
    from branchtrack.errors import InvalidInput

    if not 0 < timeout <= _LONGEST:
        raise InvalidInput("timeout", timeout, f"seconds above 0 and up to {_LONGEST}")
    with line.database() as database:
        request = control.submit(
            database, branch, payload, actor=control.local_actor(), reason=reason
        )
        if not no_wait:
            with bar("Waiting for the training process") as update:
                request = control.wait(
                    database, request.id, timeout, lambda found: update(0, None, found.state)
                )
    answer = report.request(request)
    if as_json:
        emit(answer)
    else:
        click.echo("\n".join(answer_lines(answer)))
    if not no_wait and request.state not in SUCCESS:
        raise click.exceptions.Exit(1)


def answer_lines(answer: dict[str, Any]) -> list[str]:
    """What was asked, what was applied, and what the maths was seen to use."""
    fields = [("request", f"{answer['id']} {state(answer['state'])}")]
    for title, key in (
        ("asked", "requested"), ("before", "before"), ("applied", "applied"),
        ("read back", "effective"), ("result", "result"),
    ):  # fmt: skip
        if answer[key]:
            fields.append((title, pairs(answer[key])))
    if answer["step"] is not None:
        fields.append(("at step", str(answer["step"])))
    if answer["node"]:
        fields.append(("node", styled(answer["node"], bold=True)))
    if answer["error"]:
        fields.append(("error", answer["error"]))
    return field_lines(fields)
