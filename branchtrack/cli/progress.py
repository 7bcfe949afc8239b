"""A progress bar on standard error if that is a terminal; silent everywhere else.

rich is imported only if a bar is drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from branchtrack.cli.output import is_terminal

#: Called with what is done, what is in all or None, and a word on the progress.
Update = Callable[[float, float | None, str], None]


@contextmanager
def bar(label: str, *, stay: bool = False) -> Iterator[Update]:
    """Draw a bar named ``label`` while the block runs; with ``stay`` it remains at the end."""
    if not is_terminal():
        yield _ignore
        return
    with _progress(transient=not stay) as progress:
        task = progress.add_task(label, total=None, note="")

        def update(done: float, total: float | None, note: str = "") -> None:
            progress.update(task, completed=done, total=total, note=note)

        yield update


@contextmanager
def bars(labels: Mapping[str, str]) -> Iterator[dict[str, Update]]:
    """Draw one bar for each label while the block runs; yield how each is moved, by its key."""
    if not is_terminal():
        yield dict.fromkeys(labels, _ignore)
        return
    with _progress(transient=False) as progress:
        tasks = {
            key: progress.add_task(label, total=None, note="") for key, label in labels.items()
        }

        def mover(task: Any) -> Update:
            return lambda done, total, note: progress.update(
                task, completed=done, total=total, note=note
            )

        yield {key: mover(task) for key, task in tasks.items()}


def _progress(transient: bool) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}"),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=transient,
    )


def _ignore(done: float, total: float | None, note: str = "") -> None:
    del done, total, note
