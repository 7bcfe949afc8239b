"""A study carried out: what is missing is trained, two at a time, and kept as it comes in."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from branchtrack.examples.studies.laboratory import Laboratory
from branchtrack.examples.studies.outcome import Outcome, Plan
from branchtrack.examples.studies.study import Cell, Study

_AT_ONCE = 2
_OUTCOMES = "outcomes"


@dataclass(frozen=True)
class Progress:
    """What is done of a study; ``newest`` is the last result, ``left`` the seconds to expect."""

    done: int
    total: int
    newest: Outcome | None
    left: float | None


def conduct(
    study: Study, plan: Plan, folder: Path, say: Callable[[Progress], None], again: bool = False
) -> list[Outcome]:
    """Train what a study's folder does not have yet, and return the outcomes of all cells.

    Raises:
        LaunchFailed: a training failed; what was trained before stays.
    """
    if again:
        for part in ("home", _OUTCOMES):
            shutil.rmtree(folder / part, ignore_errors=True)
    cells = list(study.cells(plan))
    results = Results(folder / _OUTCOMES, plan)
    outcomes = {cell.name: results.read(cell) for cell in cells}
    missing = [cell for cell in cells if outcomes[cell.name] is None]
    say(Progress(len(cells) - len(missing), len(cells), None, None))
    laboratory = Laboratory(folder, plan)
    try:
        with study.services(laboratory):
            for cell, outcome in _trained(laboratory, missing):
                results.write(cell, outcome)
                outcomes[cell.name] = outcome
                say(_progress(outcomes, outcome, laboratory.began, len(missing)))
    finally:
        laboratory.close()
        laboratory.database.close()
    complete = [result for cell in cells if (result := outcomes[cell.name]) is not None]
    return [view for outcome in complete for view in study.views(outcome)]


class Results:
    """The outcomes in a folder, one file each; those of another plan are none."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self._folder, self._plan = folder, digest(plan)

    def read(self, cell: Cell) -> Outcome | None:
        """Return the outcome of a cell if there is one."""
        try:
            stored = json.loads(self._path(cell).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return Outcome.read(stored["outcome"]) if stored.get("plan") == self._plan else None

    def write(self, cell: Cell, outcome: Outcome) -> None:
        """Store the outcome of a cell: all of it or nothing."""
        path = self._path(cell)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".new")
        content = {"plan": self._plan, "outcome": outcome.as_dict()}
        draft.write_text(json.dumps(content, allow_nan=False), encoding="utf-8")
        os.replace(draft, path)

    def _path(self, cell: Cell) -> Path:
        return self._folder / f"{cell.name}.json"


def digest(plan: Plan) -> str:
    """Return what distinguishes the trainings of a plan from those of another one.

    More seeds or cases are no other plan: what was trained stays.
    """
    words: dict[str, Any] = {**asdict(plan), "seeds": None, "cases": None}
    return hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest()[:16]


def _trained(laboratory: Laboratory, cells: list[Cell]) -> Iterator[tuple[Cell, Outcome]]:
    """Train cells, and yield each with its outcome once it has one."""

    def train(cell: Cell) -> Outcome:
        laboratory.forget(cell.name)
        return cell.arm.train(laboratory, cell.case, cell.seed)

    pool = ThreadPoolExecutor(_AT_ONCE)
    waiting: dict[Future[Outcome], Cell] = {pool.submit(train, cell): cell for cell in cells}
    try:
        while waiting:
            done, _ = wait(waiting, return_when=FIRST_COMPLETED)
            # What succeeded is kept before a failure ends the study.
            for future in sorted(done, key=lambda future: future.exception() is not None):
                yield waiting.pop(future), future.result()
    finally:
        # What has not begun never does; what runs is ended, or the pool would wait for it.
        pool.shutdown(wait=False, cancel_futures=True)
        if waiting:
            laboratory.close()
        pool.shutdown()


def _progress(
    outcomes: dict[str, Outcome | None], newest: Outcome, began: float, missing: int
) -> Progress:
    done = sum(outcome is not None for outcome in outcomes.values())
    trained = missing - (len(outcomes) - done)
    left = (time.monotonic() - began) / trained * (missing - trained)
    return Progress(done, len(outcomes), newest, left)
