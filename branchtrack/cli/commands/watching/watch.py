"""The command `watch`: what a run is watched for, shown and changed."""

from __future__ import annotations

from typing import Any

import click

from branchtrack.cli.context import CommandLine, json_option, pass_command_line
from branchtrack.cli.output import emit, print_table
from branchtrack.core import formats

#: The options that are rules of one value, with what they are about.
_ABOUT = {
    "nan": "A loss or gradient norm that is not finite: on or off.",
    "spike": "How many median absolute deviations above the median a spike is; or off.",
    "floor": "How many times the median a spike is at least.",
    "window": "The points that a value is compared with.",
    "plateau": "Evaluations without a better eval_loss; or off.",
    "plateau_loss": "Logged points without a better smoothed loss, without evaluations; or off.",
    "min_delta": "The fraction by which a value has to be better.",
    "stall": "Seconds without an update; or off.",
    "disk": "What has to be free on the disk of the store, as in 20GB; or off.",
    "crash": "A training process that fails or is gone: on or off.",
}
_LISTS = {"metrics": "The metrics watched for NaN and spikes.", "targets": "Targets to reach."}


def _options(command: Any) -> Any:
    for name, about in reversed(_ABOUT.items()):
        flag = f"--{name.replace('_', '-')}"
        command = click.option(flag, name, metavar="VALUE", help=about)(command)
    return command


@click.command()
@click.argument("run")
@click.option(
    "--target",
    "targets",
    multiple=True,
    metavar="METRIC<VALUE",
    help="Say when a metric gets there, as in 'eval_loss<2.5'; may be repeated; off for none.",
)
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="NAME",
    help="A metric to watch for NaN and spikes, in place of loss and eval_loss; may be repeated.",
)
@_options
@click.option("--reset", is_flag=True, help="Begin with the defaults again.")
@click.option("--reason", default="", metavar="TEXT", help="Why; kept in the record.")
@json_option
@pass_command_line
def watch(
    line: CommandLine,
    /,
    run: str,
    targets: tuple[str, ...],
    metrics: tuple[str, ...],
    reset: bool,
    reason: str,
    as_json: bool,
    **values: str | None,
) -> None:
    """Show what the trainings of a RUN are watched for, and change it with options.

    VALUE is a number, off, or on for the default. A training that runs takes a change over within
    seconds. What is noticed is listed by `branchtrack alerts`.

    \b
    Example: branchtrack watch demo
             branchtrack watch demo --target 'eval_loss<2.5' --spike off --stall 600
    """
    from branchtrack import control
    from branchtrack.analysis import payloads_alerts
    from branchtrack.control.alerts import rules as control_rules
    from branchtrack.core.health import rules
    from branchtrack.db.runs import find_run

    changes: dict[str, Any] = {
        name: rules.from_text(name, text) for name, text in values.items() if text is not None
    }
    if targets:
        changes["targets"] = [] if targets == ("off",) else list(targets)
    if metrics:
        changes["metrics"] = list(metrics)
    with line.database() as database:
        if changes or reset:
            shown, chosen = control_rules.change_rules(
                database,
                run,
                changes,
                actor=control.local_actor(),
                reason=reason,
                reset=reset,
            )
        else:
            with database.read() as connection:
                shown = find_run(connection, run)
            chosen = rules.readable(shown.watch)
    payload = payloads_alerts.rules_of(shown, chosen)
    if as_json:
        emit(payload)
        return
    about = {**_LISTS, **_ABOUT}
    rows = [(name, _words(name, value), about[name]) for name, value in payload["rules"].items()]
    print_table(("RULE", "VALUE", "WHAT"), rows)


def _words(name: str, value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(value) or "off"
    if value is None or value is False:
        return "off"
    if value is True:
        return "on"
    return formats.size(value) if name == "disk" else f"{value:g}"
