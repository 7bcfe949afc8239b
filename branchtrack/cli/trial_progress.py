"""Trials that a person watches on a terminal: how many pairs are done, and how long it may take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from branchtrack.cli.context import CommandLine
from branchtrack.cli.launch_progress import interrupts
from branchtrack.cli.output import echo
from branchtrack.cli.progress import bar
from branchtrack.core.trials.records import RUNNING, Trial, TrialHead

if TYPE_CHECKING:
    from branchtrack.db.engine import Database


def train_trials(
    line: CommandLine, database: Database, listed: Sequence[TrialHead], slots: int, quiet: bool
) -> list[Trial]:
    """Carry out trials, ``slots`` trainings at a time, and return them as they are then.

    Raises:
        KeyboardInterrupt: Ctrl-C; what trains goes on by itself, and the rest stays queued.
    """
    from branchtrack.launching.trials import run_trials
    from branchtrack.launching.worker import Worker

    def say(text: str) -> None:
        if not quiet:
            echo(text, err=True)

    worker = Worker(database, line.config, slots=slots, say=say)
    with bar("Trial" if len(listed) == 1 else "Trials") as update, interrupts() as received:

        def watch(current: Sequence[Trial]) -> None:
            if received:
                raise KeyboardInterrupt
            # A trial that was settled early has no more to train.
            total = sum(
                trial.spec.most_steps if trial.state == RUNNING else trial.trained_steps
                for trial in current
            )
            pairs = sum(pair.is_over for trial in current for pair in trial.pairs)
            note = f"of at most {total:,} updates, {pairs} pairs"
            update(sum(trial.trained_steps for trial in current), total, note)

        try:
            return run_trials(worker, [trial.id for trial in listed], watch)
        except KeyboardInterrupt:
            for child in worker.still_training():
                echo(f"{child} continues by itself.", err=True)
            ids = " ".join(trial.id for trial in listed)
            echo(f"`branchtrack worker`, or `branchtrack trials {ids} --go-on`, goes on.", err=True)
            raise


def detach_trials(line: CommandLine, listed: Sequence[TrialHead], slots: int) -> None:
    """Hand trials to a worker process of its own, which ends when the queue is empty."""
    from branchtrack.launching import foreground

    running = [trial for trial in listed if trial.state == RUNNING]
    if running:
        foreground.detach_queue(line.config, running[0].id, slots)
