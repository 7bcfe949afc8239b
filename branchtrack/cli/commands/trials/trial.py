"""The command `trial`: does a change help? Paired forks of one state, with it and without."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from branchtrack.cli import launch_options, origins
from branchtrack.cli.cluster_launches import chosen, job_preview, on_option, print_job
from branchtrack.cli.commands import trust
from branchtrack.cli.context import CommandLine, json_option, pass_command_line
from branchtrack.cli.launch_options import order_asking
from branchtrack.cli.output import echo, emit
from branchtrack.cli.setting_arguments import SettingsCommand, grid_pairs
from branchtrack.cli.trial_lines import trial_lines
from branchtrack.cli.trial_progress import detach_trials, train_trials

if TYPE_CHECKING:
    from branchtrack.control.trials.planning import TrialOrder
    from branchtrack.core.trials.records import Trial
    from branchtrack.db.engine import Database


def trial_options(command: Any) -> Any:
    """Give a command the options that say how long is trained, what is read, and how it starts."""
    for option in (
        click.option("--reason", default="", metavar="TEXT", help="Why; kept in the record."),
        click.option(
            "--allow-code-change",
            is_flag=True,
            help="Train although the script, its modules or packages have changed since.",
        ),
        click.option(
            "--slots",
            type=click.IntRange(1, 64),
            default=2,
            show_default=True,
            help="How many trainings at a time.",
        ),
        click.option("--detach", is_flag=True, help="Return at once and let it train on its own."),
        click.option("--dry-run", is_flag=True, help="Only show what it would train at most."),
        click.option(
            "--margin",
            metavar="X|X%",
            help="The largest effect that does not matter [0.1 % of the controls].",
        ),
        click.option("--metric", metavar="NAME", help="What is compared at the end [eval_loss]."),
        click.option(
            "--steps", type=int, default=100, show_default=True, help="Updates of each training."
        ),
    ):
        command = option(command)
    return command


@click.command(cls=SettingsCommand)
@click.argument("node", required=False, metavar="[NODE]")
@click.option("--at", "nodes", metavar="NODE,NODE...", help="Several nodes of a run, in turn.")
@click.option(
    "--set",
    "values",
    multiple=True,
    metavar="NAME=VALUE...",
    help="The change; a list of values, lr=x0.9,x0.5, is several changes.",
)
@click.option(
    "--grid",
    "grid",
    multiple=True,
    metavar="NAME=VALUES...",
    help="Lists of values: each combination is a change.",
)
@click.option(
    "--intervention", is_flag=True, help="The change is the one that NODE made: did it help?"
)
@click.option("--aa", "same", is_flag=True, help="Change nothing: is a repeat the same bits?")
@click.option(
    "--repeats", type=int, default=8, show_default=True, help="Pairs of each change at most."
)
@trial_options
@click.option("--name", metavar="GROUP", help="Name of the group of its branches.")
@click.option("--script", metavar="PATH", help="The script, if it is another one or has moved.")
@click.option("--cwd", metavar="DIR", help="The folder to start it in, if it has moved.")
@click.option("--priority", type=int, metavar="N", help="Higher ones are started first [0].")
@click.option("--labels", default="", metavar="A,B", help="Labels its worker has to have.")
@on_option
@json_option
@pass_command_line
def trial(
    line: CommandLine,
    /,
    node: str | None,
    nodes: str | None,
    slots: int,
    detach: bool,
    dry_run: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Try whether a change helps: pairs of trainings from NODE, with the change and without it.

    Both sides of a pair begin with the same state and see the same data; the pairs differ by a
    seed, from which the order of the data and dropout are drawn after the node, or by their node
    (--at). The answer is the mean difference with its interval, and a verdict: helps, hurts, no
    effect shown (the interval is within --margin), or inconclusive. Several changes share the
    trainings without a change, and the interval allows for their number.

    It is judged after half, three quarters and all of the repeats, and ends as soon as it is
    settled; the chance of a wrong `helps` or `hurts` is 5 % in all. Its branches are a group, and
    the verdict stays when they are removed.

    \b
    Example: branchtrack trial demo@100 --set lr=x0.9 --steps 50
             branchtrack trial --at demo@60,demo@100 --set lr=x0.5,x3 --repeats 12
             branchtrack trial 3fa9 --intervention
             branchtrack trial demo@100 --aa --repeats 2
    """
    with line.database() as database:
        order, allowed, reason = _order(database, node, nodes, dry_run=dry_run, **options)
        if dry_run:
            _dry_run(line, database, order, reason, as_json)
            return
        trust.require(line, database)
        ordered = _create(line, database, order, reason, allowed, as_json)
        if detach:
            detach_trials(line, [ordered], slots)
        else:
            (ordered,) = train_trials(line, database, [ordered], slots, quiet=as_json)
        show_trial(database, ordered, as_json)


def show_trial(database: Database, record: Trial, as_json: bool) -> None:
    """Print a trial, and exit with 1 if it failed."""
    from branchtrack.analysis.trials import payloads

    with database.read() as connection:
        payload = payloads.trial(connection, record)
    if as_json:
        emit(payload)
    else:
        echo("\n".join(trial_lines(payload)))
    if record.state == "failed":
        raise click.exceptions.Exit(1)


def _order(
    database: Database,
    node: str | None,
    nodes: str | None,
    *,
    values: tuple[str, ...],
    grid: tuple[str, ...],
    reason: str,
    script: str | None,
    cwd: str | None,
    priority: int | None,
    labels: str,
    on: str | None,
    dry_run: bool,
    allow_code_change: bool,
    **options: Any,
) -> tuple[TrialOrder, bool, str]:
    """Return the order that the options describe, whether other code may train, and why."""
    from branchtrack.control.trials.planning import TrialOrder
    from branchtrack.core.settings import parse_assignments

    if (node is None) == (nodes is None):
        raise click.UsageError("Give either a NODE or --at NODE,NODE...")
    refs = [ref.strip() for ref in (node or nodes or "").split(",")]
    turn = launch_options.turn(priority, labels, 0, allow_code_change)
    order = TrialOrder(
        refs,
        parse_assignments(values),
        grid_pairs(grid),
        command=origins.relocated_command(database, refs[0], script, cwd),
        priority=turn["priority"],
        labels=turn["labels"],
        launcher=chosen(database, on, dry_run=dry_run),
        **options,
    )
    return order, allow_code_change, reason


def _dry_run(
    line: CommandLine, database: Database, order: TrialOrder, reason: str, as_json: bool
) -> None:
    from branchtrack import control
    from branchtrack.analysis.trials import payloads
    from branchtrack.control.trials.ordering import preview_trial

    actor = control.local_actor()
    planned = preview_trial(database, line.store, order, actor=actor, reason=reason)
    spec, preview = planned.spec, payloads.preview(planned.spec)
    preview |= job_preview(line, order.launcher)
    if as_json:
        emit(preview)
        return
    echo(f"would try {'; '.join(preview['changes'])} by {spec.metric}")
    trainings = f"{preview['launches']} trainings of {spec.steps:,} updates"
    echo(f"  {trainings} at most: {preview['most_steps']:,} updates")
    echo(f"  judged after {', '.join(map(str, spec.at))} pairs, and over as soon as it is settled")
    print_job(preview)
    echo("Nothing was created: this was a dry run.")


def _create(
    line: CommandLine,
    database: Database,
    order: TrialOrder,
    reason: str,
    allow_code_change: bool,
    quiet: bool,
) -> Trial:
    from functools import partial

    from branchtrack import control
    from branchtrack.cli.commands.storage import make_whole
    from branchtrack.control.trials.ordering import create_trial

    for ref in order.nodes:
        make_whole(line, database, ref, order.command)
    create = partial(
        create_trial, database, line.store, order, actor=control.local_actor(), reason=reason
    )
    return order_asking(create, allow_code_change, quiet)
