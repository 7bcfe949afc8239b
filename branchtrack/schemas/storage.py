"""What runs take up, and sweeps."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from branchtrack.schemas.bases import Answer, Body, Values

_LARGEST = 10**9


class SweepBody(Body):
    """A policy, which stays with the run; without one its own applies."""

    keep: Literal["all", "thin", "heads"] | None = None
    last: int | None = Field(None, ge=1, le=_LARGEST)
    best_metric: str | None = Field(None, description="A metric, or METRIC:min, METRIC:max.")
    best_count: int | None = Field(None, ge=1, le=_LARGEST)
    every: int | None = Field(None, ge=1, le=_LARGEST)
    drop_optimizer_after: int | None = Field(None, ge=1, le=_LARGEST)
    dry_run: bool = Field(False, description="Only say what would be thinned and freed.")


class Usage(Answer):
    """What nodes take up, and the bytes that nothing else needs."""

    name: str
    nodes: int
    logical_bytes: int
    stored_bytes: int
    thinned: int
    frees: int
    trashed: bool


class RunUsage(Usage):
    """What a run takes up, and each branch of it."""

    policy: Values | None
    branches: list[Usage]


class Storage(Answer):
    """What everything takes up, in bytes."""

    runs: list[RunUsage]
    stored_bytes: int
    unused_bytes: int
    free_bytes: int
    leftover_bytes: int


class SweptBranch(Answer):
    """A branch: its nodes by what is left of their checkpoints."""

    name: str
    nodes: int
    whole: int
    weights: int
    recipe: int
    frees: int


class Sweep(Answer):
    """What a sweep thinned and freed, or with ``dry_run`` would."""

    run: str
    policy: Values | None
    recipe: int
    weights: int
    freed_bytes: int
    branches: list[SweptBranch]
    dry_run: bool
