"""Which training of a script is which: its name, and its number within its process.

A script may train several times: folds, sweeps, one phase after another. A process that is started
to resume one of them runs into the others as well, and distinguishes them by name and number. It
knows neither the record nor what happens to a training.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from branchtrack import redaction, scripts
from branchtrack.core.names import new_id
from branchtrack.environment_variables import (
    ALONE_VARIABLE,
    CERTIFY_VARIABLE,
    LAUNCH_VARIABLE,
    MERGE_VARIABLE,
    REWIND_VARIABLE,
)
from branchtrack.training.record import environment
from branchtrack.training.session import refusal

#: What a script's own arguments may say to continue what the command began.
CONTINUE_FLAG = "--continue"
#: What distinguishes the jobs of an array, which all have the same command.
_ARRAYS = (
    "SLURM_ARRAY_TASK_ID",
    "PBS_ARRAY_INDEX",
    "PBS_ARRAYID",
    "LSB_JOBINDEX",
    "SGE_TASK_ID",
    "JOB_COMPLETION_INDEX",
    "AWS_BATCH_JOB_ARRAY_INDEX",
)


@dataclass(frozen=True)
class Training:
    """One training of a process: ``number`` among all and ``of_name`` for its name count from 1.

    ``process`` is an id that all trainings of one execution of a script share, also if another
    process continues it.
    """

    name: str
    number: int
    of_name: int
    process: str

    def as_dict(self) -> dict[str, Any]:
        """Return the form stored in a run's entry point."""
        return asdict(self)

    def __str__(self) -> str:
        nth = "" if self.of_name == 1 else f" (number {self.of_name} of that name)"
        return f"{self.name!r}{nth}"


@dataclass(frozen=True)
class Order:
    """What a process was started for: a launch, a trial of exactness, or a merge.

    ``rewind`` is the request that it answers once it has begun; ``alone`` says that it is to train
    nothing else after it.
    """

    launch: str | None
    trial: str | None
    rewind: str | None = None
    alone: bool = True
    merge: str | None = None


@dataclass
class Process:
    """The progress of this process. ``order`` is what it was started for, until that begins.

    ``alone`` says that what it was started for has begun, and no other training should;
    ``has_replayed`` that a training has taken the recording that the process was started with.
    """

    pid: int
    id: str = field(default_factory=new_id)
    order: Order | None = None
    alone: bool = False
    trainings: int = 0
    has_replayed: bool = False
    names: Counter[str] = field(default_factory=Counter)

    def next(self, name: str) -> Training:
        """Count and return a training that begins."""
        with _lock:
            self.trainings += 1
            self.names[name] += 1
            return Training(name, self.trainings, self.names[name], self.id)


_lock = threading.Lock()
_process: Process | None = None


def this_process() -> Process:
    """Return the progress of this process; a forked process starts its own.

    What it was started for is removed from the environment: its children are not started for it.
    """
    global _process
    with _lock:
        order = _order()
        if order is not None or _process is None or _process.pid != os.getpid():
            _process = Process(os.getpid(), order=order)
        if order is not None and order.rewind is None:
            refusal.print_messages()
        return _process


def reset() -> None:
    """Forget the progress of this process, as if it had just been started."""
    global _process
    _process = None


def command(training: Training, home: Path) -> str:
    """Return a digest that is equal for the same training of the same command.

    It covers the arguments but `CONTINUE_FLAG`, the folder (if the home lies within it, a project
    may be moved), the job's number in an array, and the training's name and number. A session
    without a script has no arguments, and its trainings of one name are not counted: cells are run
    again.
    """
    argv = [word for word in sys.orig_argv[1:] if word != CONTINUE_FLAG]
    words = ["-"] if environment.is_interactive() else redaction.redacted(argv)
    return _digest([words, *_site(training, home)])


def site(training: Training, home: Path, output: str | None) -> str:
    """Do as `command`, but instead of arguments use the script and its output folder."""
    script = "-" if environment.is_interactive() else os.path.relpath(sys.argv[0])
    return _digest([script, output, *_site(training, home)])


def _site(training: Training, home: Path) -> list[Any]:
    folder = os.getcwd()
    location = scripts.relation(folder, home) if home.is_relative_to(folder) else folder
    array = [os.environ.get(name) for name in _ARRAYS]
    number = 0 if environment.is_interactive() else training.of_name
    return [location, array, training.name, number]


def _digest(values: list[Any]) -> str:
    return hashlib.sha256(json.dumps(values).encode("utf-8", "replace")).hexdigest()


def _order() -> Order | None:
    launch = os.environ.pop(LAUNCH_VARIABLE, None)
    trial = os.environ.pop(CERTIFY_VARIABLE, None)
    merge = os.environ.pop(MERGE_VARIABLE, None)
    rewind = os.environ.pop(REWIND_VARIABLE, None)
    alone = os.environ.pop(ALONE_VARIABLE, None)
    if launch is None and trial is None and merge is None:
        return None
    return Order(launch, trial, rewind, not rewind or alone == "1", merge)
