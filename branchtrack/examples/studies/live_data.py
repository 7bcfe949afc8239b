"""The study `live-data`: a model of one kind of text, and users who bring another."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from branchtrack.core.records import Run
from branchtrack.db import metrics, runs, segments
from branchtrack.examples.studies import corpora, recorded
from branchtrack.examples.studies.laboratory import Laboratory
from branchtrack.examples.studies.outcome import Outcome, Plan
from branchtrack.examples.studies.recorded import Training
from branchtrack.examples.studies.study import ANY_CASE, Arm, Study, Train

_TASK = "kinds"
#: What is measured of each training, by the name of its case: the end of its metrics' names.
_KINDS = {"documentation, the old kind": "old", "code, the new kind": "new"}
_LOOK = 0.1


def plan(quick: bool, seeds: int | None = None) -> Plan:
    """Return the size of the study."""
    steps = 60 if quick else 600
    return Plan(
        cases=_KINDS,
        seeds=range(seeds or (2 if quick else 3)),
        steps=steps,
        every=10 if quick else 25,
        quick=quick,
        options={"arrivals": [steps // 3, steps // 2]},
    )


def _train(arm: str, *, begins: bool = False, arrives: bool = False, leaves: bool = False) -> Train:
    """Return how an arm trains: with all from the beginning, with what arrives, or without it."""

    def train(laboratory: Laboratory, _case: str, seed: int) -> Outcome:
        size, name = laboratory.plan, f"{arm}-s{seed}".replace(" ", "_")
        folder = laboratory.folder / "data" / name
        arrivals = size.options["arrivals"]
        files = _write(folder, len(arrivals), begins)
        options: dict[str, Any] = {"folder": folder / "present"}
        if arrives:
            options |= {"incoming": folder / "incoming", "arrivals": ",".join(map(str, arrivals))}
        arriving = dict(zip(arrivals, files, strict=False)) if arrives else {}
        users = Users(laboratory, name, arriving, corpora.DOCUMENTATION if leaves else None)
        with users:
            training = laboratory.train(
                _TASK, name, seed=seed, steps=size.steps, every=size.every, **options
            )
        outcome = recorded.outcome(arm, ANY_CASE, seed, [training])
        return replace(outcome, facts={"kinds": _measured(laboratory, training)})

    return train


class Users:
    """Those who bring files, each once a training has reached its update, from a thread.

    The files are moved into the watched folder, or asked for in place of the shard that ``leaves``.
    """

    def __init__(
        self, laboratory: Laboratory, name: str, files: dict[int, Path], leaves: str | None
    ) -> None:
        self._laboratory, self._name, self._files = laboratory, name, files
        self._leaves = leaves
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._bring, daemon=True)

    def __enter__(self) -> Users:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self._thread.join()

    def _bring(self) -> None:
        for step, path in self._files.items():
            while self._step() < step:
                if self._over.wait(_LOOK):
                    return
            if self._leaves is None:
                # Moved, so that it is whole when it is seen.
                path.rename(path.parent.parent / "incoming" / path.name)
            else:
                self._replace(path, remove=[self._leaves] if step == min(self._files) else [])

    def _replace(self, path: Path, remove: Sequence[str]) -> None:
        """Ask for a file in place of shards, as a person does in a shell."""
        run = self._newest()
        assert run is not None
        words = ["data", run.name, "--add", f"{path.stem}={path}", "--no-wait"]
        words += [word for name in remove for word in ("--remove", name)]
        with self._laboratory.command(*words, log=f"{run.name}-data") as command:
            self._laboratory.wait(command, f"{run.name}-data")

    def _step(self) -> int:
        run = self._newest()
        with self._laboratory.database.read() as connection:
            rows = [] if run is None else segments.list_of_run(connection, run.id)
            return max((row.step for row in rows), default=-1)

    def _newest(self) -> Run | None:
        """Return the run, once it has begun; one that was interrupted has left its name behind."""
        with self._laboratory.database.read() as connection:
            names = [n for n in runs.names(connection) if f"{n}-".startswith(f"{self._name}-")]
            records = [runs.find_run(connection, name) for name in names]
        return max(records, key=lambda run: run.created_at, default=None)


def _write(folder: Path, arrivals: int, is_all: bool) -> list[Path]:
    """Write the shards: present at the beginning, or waiting to be brought; return the latter."""
    shutil.rmtree(folder, ignore_errors=True)
    for part in ("present", "waiting", "incoming"):
        (folder / part).mkdir(parents=True)
    waiting = []
    for name, text in corpora.shards(arrivals):
        is_present = is_all or name == corpora.DOCUMENTATION
        path = folder / ("present" if is_present else "waiting") / f"{name}.txt"
        path.write_text(text, encoding="utf-8")
        waiting += [] if is_present else [path]
    return waiting


def _measured(laboratory: Laboratory, training: Training) -> dict[str, Any]:
    """Return the held-out loss of each kind at the end, and its curve."""
    with laboratory.database.read() as connection:
        run = runs.find_run(connection, training.run)
        spans = segments.list_of_run(connection, run.id)
        last = metrics.last_values(connection, [spans[-1].id])[spans[-1].id]
        return {
            case: {
                "loss": last[f"test_{kind}"],
                "curve": recorded.curve(connection, spans, f"eval_{kind}"),
            }
            for case, kind in _KINDS.items()
        }


def _views(outcome: Outcome) -> Sequence[Outcome]:
    """Return the outcome of each kind of text."""
    return [
        replace(outcome, case=case, loss=float(kind["loss"]), curve=kind["curve"], facts={})
        for case, kind in outcome.facts["kinds"].items()
    ]


ARMS: tuple[Arm, ...] = (
    Arm("never", "the new kind never comes", _train("never"), per_case=False),
    Arm(
        "arrives",
        "two files of the new kind arrive in the watched folder, after a third and after half of "
        "the updates; all is drawn by its size from then on",
        _train("arrives", arrives=True),
        per_case=False,
    ),
    Arm(
        "replaced",
        "the same files at the same updates, the first in place of the old kind",
        _train("replaced", arrives=True, leaves=True),
        per_case=False,
    ),
    Arm(
        "from the start",
        "all files are there at the beginning",
        _train("from the start", begins=True),
        per_case=False,
    ),
)

STUDY = Study(
    name="live-data",
    title="Live data",
    question=(
        "A network learns one kind of text, Python's documentation, when users bring another: code "
        "of its standard library. Does the loss on the new kind fall while the old one is kept?"
    ),
    arms=ARMS,
    plan=plan,
    expected=(2, 6),
    views=_views,
    axes=("updates", "held-out loss"),
    is_lowest=False,
)
