"""The command `trials`: what was tried, and what is to become of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from branchtrack.cli.commands import trust
from branchtrack.cli.commands.trials.trial import show_trial
from branchtrack.cli.context import CommandLine, json_option, pass_command_line
from branchtrack.cli.output import ago, echo, emit, print_table, state, styled
from branchtrack.cli.text_art import VERDICT_COLOURS
from branchtrack.cli.trial_lines import effect_words
from branchtrack.cli.trial_progress import train_trials

if TYPE_CHECKING:
    from branchtrack.core.trials.records import Trial, TrialHead
    from branchtrack.db.engine import Database


@click.command()
@click.argument("refs", nargs=-1, required=True, metavar="RUN|TRIAL...")
@click.option("--go-on", is_flag=True, help="Train what is left of these trials.")
@click.option("--cancel", is_flag=True, help="End them; what is not judged stays inconclusive.")
@click.option("--remove", is_flag=True, help="Move their branches to the trash; verdicts stay.")
@click.option("--reason", default="", metavar="TEXT", help="Why; kept in the record.")
@click.option(
    "--slots",
    type=click.IntRange(1, 64),
    default=2,
    show_default=True,
    help="With --go-on: how many trainings at a time.",
)
@json_option
@pass_command_line
def trials(
    line: CommandLine,
    refs: tuple[str, ...],
    go_on: bool,
    cancel: bool,
    remove: bool,
    reason: str,
    slots: int,
    as_json: bool,
) -> None:
    """List the trials of a RUN, or show a TRIAL by its id with its pairs.

    With a RUN, --go-on and --cancel are of all its trials that are not over.

    \b
    Example: branchtrack trials demo
             branchtrack trials 3fa9
             branchtrack trials 3fa9 --go-on
             branchtrack trials 3fa9 --remove
    """
    if sum((go_on, cancel, remove)) > 1:
        raise click.UsageError("--go-on, --cancel and --remove cannot be combined.")
    with line.database() as database:
        heads = _of_run(database, refs)
        if heads is not None and remove:
            raise click.UsageError("Name the trials to remove by their ids, not by a run.")
        if heads is not None and not (go_on or cancel):
            _list(database, heads, as_json)
            return
        chosen = _trials(database, refs) if heads is None else [*_open(heads)]
        if remove:
            _remove(database, chosen, reason, as_json)
            return
        if cancel:
            chosen = _cancelled(database, chosen, reason)
        if go_on and chosen:
            trust.require(line, database)
            chosen = train_trials(line, database, chosen, slots, quiet=as_json)
        if heads is not None or len(chosen) > 1:
            _list(database, chosen, as_json)
        else:
            show_trial(database, chosen[0], as_json)


def _of_run(database: Database, refs: tuple[str, ...]) -> list[TrialHead] | None:
    """Return the trials of a run, oldest first; None if the words do not name one."""
    from branchtrack.db import runs
    from branchtrack.db.orders import trials as rows
    from branchtrack.errors import NotFound

    if len(refs) > 1:
        return None
    with database.read() as connection:
        try:
            return rows.of_run(connection, runs.find_run(connection, refs[0]).id)
        except NotFound:
            return None


def _open(heads: Sequence[TrialHead]) -> Iterator[Trial]:
    """Yield the trials that are not over."""
    from branchtrack.core.trials.records import Trial

    for head in heads:
        if isinstance(head, Trial):
            yield head


def _trials(database: Database, refs: tuple[str, ...]) -> list[Trial]:
    from branchtrack.db.orders import trials as rows
    from branchtrack.errors import Ambiguous, NotFound

    with database.read() as connection:
        try:
            return [rows.find(connection, ref) for ref in refs]
        except Ambiguous:
            raise
        except NotFound as error:
            raise NotFound("run or trial", error.facts["ref"]) from None


def _cancelled(database: Database, chosen: list[Trial], reason: str) -> list[Trial]:
    from branchtrack import control
    from branchtrack.control.trials.cancelling import cancel_trial

    actor = control.local_actor()
    return [cancel_trial(database, trial.id, actor=actor, reason=reason) for trial in chosen]


def _remove(database: Database, chosen: list[Trial], reason: str, as_json: bool) -> None:
    from branchtrack import control
    from branchtrack.control.trials.removal import remove_branches

    removed: list[dict[str, Any]] = []
    for trial in chosen:
        planned = remove_branches(database, trial.id, actor=control.local_actor(), reason=reason)
        names = [branch.name for branch in planned.branches]
        removed.append({"trial": trial.id, "branches": names, "nodes": planned.nodes})
        if not as_json:
            echo(f"{len(names)} branches of trial {trial.id} are in the trash; its verdict stays.")
    if as_json:
        emit(removed)


def _list(database: Database, chosen: Sequence[TrialHead], as_json: bool) -> None:
    from branchtrack.analysis.trials import payloads

    with database.read() as connection:
        listed = payloads.heads(connection, chosen)
    if as_json:
        emit(listed)
        return
    if not listed:
        echo("No trial yet: `branchtrack trial NODE --set lr=x0.5` makes one.")
        return
    rows = [
        (
            payload["id"][:8],
            change["label"],
            payload["metric"],
            effect_words(change),
            styled(change["words"], VERDICT_COLOURS.get(change["verdict"])),
            str(change["pairs"]),
            state(payload["state"]),
            payload["actor"],
            ago(payload["created_at"]),
        )
        for payload in listed
        for change in payload["changes"]
    ]
    headers = ("trial", "change", "metric", "effect", "verdict", "pairs", "state", "by", "made")
    print_table(headers, rows)
