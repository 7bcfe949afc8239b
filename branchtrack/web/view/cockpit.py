"""What a training does now, as the cockpit shows it: rate, progress, expected end, load.

It works on what was read; it makes no query and writes no markup.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from branchtrack.core import formats, lifecycle, queueing
from branchtrack.core.forks.relative_values import FACTORS, is_rate
from branchtrack.core.formats import as_number
from branchtrack.core.records import Request, Segment
from branchtrack.core.settings import Setting
from branchtrack.db.views.nearby.cockpit import BranchNow

#: Series that scripts log their effective rate as.
_RATES = ("learning_rate", "lr")
_CPU, _MEMORY, _MEMORY_PERCENT = "system/cpu", "system/memory", "system/memory_percent"
_GPU, _GPU_MEMORY = "system/gpu", "system/gpu_memory"
#: Series whose newest values the cockpit shows.
SERIES = (*_RATES, "loss", "eval_loss", _CPU, _MEMORY, _MEMORY_PERCENT, _GPU, _GPU_MEMORY)
#: Requests by which a branch is steered from the first form of the page.
OF_CONTROLS = ("set", "pause", "unpause", "pause-free", "checkpoint", "evaluate")


@dataclass(frozen=True)
class Gauges:
    """The newest values of a training; None for what is not known.

    ``rate`` are updates a second: at present, or on average where that is zero. ``lr`` is the
    effective learning rate with the step that it was seen at. ``share`` is the done part of all
    steps, from 0 to 1. Times are in seconds, ``end`` since the epoch.
    """

    step: int
    max_steps: int | None
    rate: float | None
    lr: tuple[int, float] | None
    loss: tuple[int, float] | None
    held_out: tuple[int, float] | None
    elapsed: float | None
    end: float | None
    heard_at: float | None
    share: float | None
    load: tuple[tuple[str, str], ...]


def gauges(
    branch_now: BranchNow, values: Mapping[str, tuple[int, float]], now: float
) -> Gauges | None:
    """Return the gauges of a branch; None where no process has trained it.

    ``values`` are the newest points of `SERIES`.
    """
    segment = branch_now.segment
    if segment is None or segment.started_at is None:
        return None
    is_live = lifecycle.segment_status(segment, now) in lifecycle.LIVE
    rate = _rate(segment, branch_now.start_step) if is_live else None
    last = segment.heartbeat_at or segment.started_at
    return Gauges(
        step=segment.step,
        max_steps=segment.max_steps,
        rate=rate,
        lr=_effective_rate(values, branch_now.used),
        loss=values.get("loss"),
        held_out=values.get("eval_loss"),
        elapsed=(now if is_live else segment.ended_at or last) - segment.started_at,
        end=queueing.expected_end(segment.step, segment.max_steps, rate, segment.heartbeat_at),
        heard_at=segment.heartbeat_at,
        share=min(1.0, segment.step / segment.max_steps) if segment.max_steps else None,
        load=_load(values) if is_live else (),
    )


def factors(setting: Setting) -> tuple[str, ...]:
    """Return the relative values that a setting has buttons for: those of rates."""
    return FACTORS if is_rate(setting) else ()


def answer_words(request: Request) -> str:
    """Return what came of a request, beside its state: at which step, or why not."""
    if request.error:
        return request.error
    words = [] if request.step is None else [f"at step {formats.steps(request.step)}"]
    used = request.effective or {}
    words += [
        f"{name} {formats.setting((request.before or {}).get(name))} → {formats.setting(value)}"
        + (f", used {formats.setting(used[name])}" if name in used else "")
        for name, value in (request.applied or {}).items()
    ]
    words += [formats.outcome(request.result)] if request.result else []
    return "; ".join(word for word in words if word)


def _rate(segment: Segment, start: int | None) -> float | None:
    """Return updates a second; slow ones are none between two heartbeats, so on average then."""
    if segment.status == "paused":
        return None
    if segment.rate:
        return segment.rate
    began, heard = segment.started_at, segment.heartbeat_at
    if began is None or heard is None or heard <= began or segment.step <= (start or 0):
        return None
    return (segment.step - (start or 0)) / (heard - began)


def _effective_rate(
    values: Mapping[str, tuple[int, float]], used: Mapping[str, Any]
) -> tuple[int, float] | None:
    """Return the newest effective learning rate: as logged, or as the last update was seen to."""
    seen = [values[name] for name in _RATES if name in values]
    read_back = as_number(used.get("lr_now", used.get("lr")))
    if read_back is not None and isinstance(used.get("step"), int):
        seen.append((used["step"], read_back))
    return max(seen, key=lambda pair: pair[0], default=None)


def _load(values: Mapping[str, tuple[int, float]]) -> tuple[tuple[str, str], ...]:
    """Return CPU, memory and GPU in words, as far as they were recorded."""
    at = {name: value for name, (_step, value) in values.items()}
    rows = []
    if _CPU in at:
        rows.append(("CPU", f"{at[_CPU]:.0f} %"))
    if _MEMORY in at:
        of_machine = f", machine {at[_MEMORY_PERCENT]:.0f} %" if _MEMORY_PERCENT in at else ""
        rows.append(("memory", formats.size(int(at[_MEMORY])) + of_machine))
    gpu = [f"{at[_GPU]:.0f} %"] if _GPU in at else []
    gpu += [formats.size(int(at[_GPU_MEMORY]))] if _GPU_MEMORY in at else []
    return (*rows, ("GPU", ", ".join(gpu))) if gpu else tuple(rows)
