"""The shards that a branch has trained from."""

from __future__ import annotations

from branchtrack.schemas.bases import Answer


class Shard(Answer):
    """A shard, and how many of its samples were trained on."""

    name: str
    fingerprint: str
    source: str | None
    count: int
    weight: float | None
    share: float | None
    in_use: bool
    samples: int
    own_samples: int
    passes: float


class ShardsChange(Answer):
    """The value of `data.shards` from a node on."""

    step: int
    node: str
    value: str


class BranchData(Answer):
    """The shards of a branch as of its newest node."""

    branch: str
    node: str | None
    step: int | None
    value: str | None
    samples: int
    shards: list[Shard]
    changes: list[ShardsChange]
