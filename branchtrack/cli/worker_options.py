"""What the commands with a worker share: its options, its signals, and its end."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from branchtrack.cli.context import CommandLine

if TYPE_CHECKING:
    from branchtrack.db.engine import Database
    from branchtrack.launching.worker import Worker


@dataclass(frozen=True)
class Staff:
    """The worker that a command has, as its options describe it."""

    slots: int = 1
    labels: Sequence[str] = ()
    leave_running: bool = False

    @classmethod
    def of(cls, labels: str, **options: Any) -> Staff:
        """Return the worker of a command with the options of `worker_options`.

        Raises:
            InvalidInput: a label is not a valid name.
        """
        from branchtrack.core.queueing import parse_labels

        return cls(labels=parse_labels(labels), **options)

    def hired(
        self, line: CommandLine, database: Database, job: Mapping[str, str | None] | None = None
    ) -> Worker:
        """Return the worker, which has not begun; ``job`` as of `Worker`."""
        from branchtrack.launching import devices
        from branchtrack.launching.worker import Worker

        # With one slot a training sees what this process sees.
        gpus = devices.visible(os.environ) if self.slots > 1 else []
        return Worker(
            database, line.config, slots=self.slots, labels=self.labels, gpus=gpus, job=job, say=say
        )


def worker_options(command: Any) -> Any:
    """Give a command the options of its worker."""
    for option in (
        click.option(
            "--leave-running",
            is_flag=True,
            help="At the end leave trainings running; the next worker here watches them.",
        ),
        click.option(
            "--labels",
            default="",
            metavar="A,B",
            help="Also start launches that need some of these labels.",
        ),
        click.option(
            "--slots",
            # The name that the option had before.
            "--jobs",
            "slots",
            type=click.IntRange(1, 64),
            default=1,
            show_default=True,
            help="Training processes at a time; several get a GPU each.",
        ),
    ):
        command = option(command)
    return command


def say(text: str) -> None:
    """Print a line about what the worker does."""
    click.echo(text, err=True)


def let_go(hired: Worker, staff: Staff, hurry: threading.Event) -> None:
    """End the trainings of a worker that starts no more, or leave them running."""
    from branchtrack.launching.shutdown import stop_children

    if not staff.leave_running:
        stop_children(hired, hurry)
        return
    for child in hired.still_training():
        say(f"{child} continues by itself.")
    hired.leave()


@dataclass
class Signals:
    """Ctrl-C and SIGTERM: the first sets ``stop``, and every other one ``hurry``."""

    stop: threading.Event = field(default_factory=threading.Event)
    hurry: threading.Event = field(default_factory=threading.Event)
    received: list[int] = field(default_factory=list)


@contextmanager
def signals(error: type[BaseException] | None = None, *, in_job: bool = False) -> Iterator[Signals]:
    """Yield the signals that come while the block runs; the first raises ``error``.

    In a job of a cluster SIGUSR1 is one of them, and none makes it hurry: the same end may be told
    by several, and the cluster itself kills a job that takes too long.
    """
    came = Signals()

    def note(number: int, _frame: object) -> None:
        came.received.append(number)
        if came.stop.is_set():
            if not in_job:
                came.hurry.set()
            return
        came.stop.set()
        if error is not None:
            raise error

    numbers = (signal.SIGINT, signal.SIGTERM, *([signal.SIGUSR1] if in_job else []))
    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
