"""The common part of commands that send a request to a live run: options, waiting, the answer.

Each command stores a request and waits for the training process's own answer. It must not report
anything that the process has not confirmed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from branchtrack.cli.context import CommandLine, json_option, pass_command_line
from branchtrack.cli.output import (
    echo,
    emit,
    field_lines,
    pairs,
    print_fields,
    setting,
    state,
    styled,
)
from branchtrack.cli.progress import bar
from branchtrack.core import formats
from branchtrack.core.preconditions import awaited_words

if TYPE_CHECKING:
    from pathlib import Path

    from branchtrack.core.records import Request
    from branchtrack.db.engine import Database

#: The states in which the request has taken effect.
SUCCESS = frozenset(("verified", "done"))
_LONGEST = 7 * 24 * 3600


@dataclass(frozen=True)
class RequestOptions:
    """Options of a command that sends a request; ``wait`` is false if the answer may take long."""

    reason: str
    preview: bool
    no_wait: bool
    timeout: float
    only_if: tuple[str, ...]
    not_after_step: str | None
    expires_in: str | None
    at_step: str | None
    once: str | None
    key: str | None
    as_json: bool
    wait: bool = True

    @property
    def when(self) -> dict[str, Any]:
        """Return the conditions, as typed."""
        from branchtrack.core.settings import parse_assignments

        names = ("not_after_step", "expires_in", "at_step", "once")
        options = {name: getattr(self, name) for name in names}
        only_if = parse_assignments(self.only_if, "only_if")
        conditions: dict[str, Any] = {
            name: text for name, text in options.items() if text is not None
        }
        return {**conditions, "only_if": only_if} if only_if else conditions

    @property
    def waits(self) -> bool:
        """Whether the answer is waited for: a scheduled request may have to wait for hours."""
        is_scheduled = self.at_step is not None or self.once is not None
        return self.wait and not self.no_wait and not is_scheduled


def request_options(command: Any) -> Any:
    """Give a command the options that every command which sends a request has."""
    for option in (
        json_option,
        click.option("--key", metavar="KEY", help="A repeated key stands for the same request."),
        click.option("--expires-in", metavar="SECONDS", help="Drop the request after that time."),
        click.option("--not-after-step", metavar="STEP", help="Drop the request after that step."),
        click.option("--at-step", metavar="STEP", help="At exactly that step; implies --no-wait."),
        click.option(
            "--once",
            metavar="CONDITION",
            help="Once that holds, as eval_loss<2.5; implies --no-wait.",
        ),
        click.option(
            "--only-if",
            multiple=True,
            metavar="NAME=VALUE",
            help="Only while that setting has that value; may be repeated.",
        ),
        click.option(
            "--timeout",
            type=float,
            default=60.0,
            show_default=True,
            metavar="SECONDS",
            help="How long to wait for the answer.",
        ),
        click.option(
            "--no-wait", is_flag=True, help="Send the request without waiting for the answer."
        ),
        click.option(
            "--preview", is_flag=True, help="Only show what would change and whether it is valid."
        ),
        click.option("--reason", default="", metavar="TEXT", help="Why; kept in the record."),
    ):
        command = option(command)
    return pass_command_line(command)


def send_request(
    line: CommandLine,
    branch: str,
    payload: dict[str, Any],
    *,
    follow_up: Callable[[Database, Request], None] | None = None,
    **values: Any,
) -> None:
    """Submit a request, wait for its end unless told not to, and print the outcome.

    ``follow_up`` is called with the request once it has been waited for.

    Exits with 1 if the request did not take effect, and with 2 if a preview shows an invalid one.
    """
    options = RequestOptions(**values)
    check_timeout(options.timeout)
    with line.database() as database:
        if options.preview:
            _preview(database, line.config.home, branch, payload, options)
            return
        request, waited = _submit(database, line.config.home, branch, payload, options)
        if follow_up is not None:
            follow_up(database, request)
    show_answer(request, options.as_json)
    if waited and not came_true(request):
        raise click.exceptions.Exit(1)


def check_timeout(timeout: float) -> None:
    """Refuse a waiting time of zero or less."""
    from branchtrack.errors import InvalidInput

    if not 0 < timeout <= _LONGEST:
        raise InvalidInput("timeout", timeout, f"seconds above 0 and up to {_LONGEST}")


def wait_for(database: Database, request_id: str, timeout: float) -> Request:
    """Wait until a request has ended, with a bar if standard error is a terminal."""
    from branchtrack import control

    with bar("Waiting for the training process") as update:
        return control.wait(
            database, request_id, timeout, lambda request: update(0, None, request.state)
        )


def show_answer(request: Request, as_json: bool) -> None:
    """Print a request in its current state."""
    from branchtrack.analysis import payloads_requests

    answer = payloads_requests.request(request)
    if as_json:
        emit(answer)
    else:
        echo("\n".join(answer_lines(answer)))


def answer_lines(answer: dict[str, Any]) -> list[str]:
    """Return what was requested, what was applied, and what the next update was seen to use."""
    fields = [("request", f"{answer['id']} {state(answer['state'])}")]
    for title, key in (
        ("asked", "requested"),
        ("before", "before"),
        ("applied", "applied"),
        ("read back", "effective"),
        ("result", "result"),
    ):
        if answer[key]:
            fields.append((title, _values(answer[key])))
    if answer["step"] is not None:
        fields.append(("at step", formats.steps(answer["step"])))
    waits = awaited_words(answer["conditions"]) if answer["state"] == "accepted" else ""
    if waits:
        fields.append(("note", f"it {waits}"))
    if answer["node"]:
        fields.append(("node", styled(answer["node"], bold=True)))
    if answer["error"]:
        fields.append(("error", answer["error"]))
    if _is_held(answer["kind"], answer["state"]):
        fields.append(("note", "the run is paused: its next update proves the change"))
    return field_lines(fields)


def _values(values: dict[str, Any]) -> str:
    """Return a part of an answer in words; of data, the first sample that a change is used for."""
    rest = {name: value for name, value in values.items() if name != formats.FROM_SAMPLE}
    samples = formats.from_samples(values.get(formats.FROM_SAMPLE) or {})
    words = [f"{name} {first}" for name, first in samples.items()]
    return ", ".join([*([pairs(rest)] if rest else []), *words])


def _submit(
    database: Database,
    home: Path,
    branch: str,
    payload: dict[str, Any],
    options: RequestOptions,
) -> tuple[Request, bool]:
    """Return the request, and whether its answer was waited for."""
    from branchtrack import control
    from branchtrack.core.actors import Actor

    request = control.submit(
        database,
        branch,
        payload,
        actor=Actor(control.local_actor()),
        reason=options.reason,
        when=options.when,
        key=options.key,
        home=home,
    )
    if not options.waits:
        return request, False
    return wait_for(database, request.id, options.timeout), True


def _preview(
    database: Database,
    home: Path,
    branch: str,
    payload: dict[str, Any],
    options: RequestOptions,
) -> None:
    from branchtrack import control
    from branchtrack.core.actors import Actor

    preview = control.preview(
        database,
        branch,
        payload,
        actor=Actor(control.local_actor()),
        reason=options.reason,
        when=options.when,
        home=home,
    )
    if options.as_json:
        emit(preview)
    elif preview["valid"]:
        print_fields(_preview_fields(preview))
    else:
        error = preview["error"]
        echo(f"error: {error['what']}\n       {error['fix']}", err=True)
    if not preview["valid"]:
        raise click.exceptions.Exit(2)


def _preview_fields(preview: dict[str, Any]) -> list[tuple[str, str]]:
    fields = [("would request", preview["describe"]), ("step now", formats.steps(preview["step"]))]
    for change in preview["changes"]:
        to = "stays" if change["same"] else f"{setting(change['before'])} →"
        held = f", {change['effect']}" if change["effect"] else ""
        fields.append((change["name"], f"{to} {setting(change['after'])}{held}"))
    if preview["unmet"]:
        fields.append(("would not be done", preview["unmet"]))
    return [*fields, ("asked", "nothing: this was a preview")]


def came_true(request: Request) -> bool:
    """Return whether a request took effect, as far as can be seen."""
    return request.state in SUCCESS or _is_held(request.kind, request.state)


def _is_held(kind: str, state: str) -> bool:
    """Return whether a change was made on a paused run, where no update can prove it yet."""
    from branchtrack.core.interventions import awaited_by

    return state == "applied" and awaited_by(kind, {}) == "update"
