"""How the other ranks begin: rank 0 says what it resumes, and each reads its part of the state."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from branchtrack import config as configuration
from branchtrack.checkpoints.location import open_store
from branchtrack.checkpoints.packs import Store
from branchtrack.db import nodes
from branchtrack.db.engine import Database
from branchtrack.errors import InvalidInput
from branchtrack.training.ranks.channel import Channel
from branchtrack.training.record import commits
from branchtrack.training.session import ordinals
from branchtrack.training.session.base import Base
from branchtrack.training.session.protocol import TrainingSession
from branchtrack.training.session.ranks import messages
from branchtrack.training.session.ranks.follower import FollowerSession
from branchtrack.training.session.session import Session
from branchtrack.training.session.unrecorded.passed_over import PassedOver

#: Seconds that rank 0 waits for every rank to begin: they may build their models one by one.
BEGIN_SECONDS = 120.0


def tell(channel: Channel, session: TrainingSession) -> None:
    """Tell the other ranks what this training resumes.

    Raises:
        InvalidInput: it is one that several processes cannot make together.
    """
    base = session.base
    told: dict[str, Any] = {"database": None, "base": None, "passed_over": None}
    if isinstance(session, PassedOver):
        told["passed_over"] = session.about
    elif isinstance(session, Session):
        told["database"] = session.database_name
    else:
        raise InvalidInput(
            "WORLD_SIZE",
            channel.size,
            "1",
            what="What this process was started for is made by one process alone.",
        )
    if base is not None:
        need = "weights" if base.mode == "weights" else "all"
        stored = session.read(partial(nodes.checkpoint, need=need), base.fork.state_digest)
        told["base"] = {
            "fork": messages.node_to_json(base.fork),
            "origin": messages.node_to_json(base.origin),
            "checkpoint": messages.checkpoint_to_json(stored),
            "mode": base.mode,
            "overrides": dict(base.overrides),
            "script": base.script,
            "reshuffles": list(base.reshuffles),
        }
    channel.post("opening", told)


def follow(channel: Channel, name: str) -> TrainingSession:
    """Return the session of a rank that follows; ``name`` is the requested name of the run.

    Raises:
        RankLost: rank 0 has refused to begin, and says why.
    """
    ordinals.this_process().next(name)
    settings = configuration.load()
    told = channel.wait("opening", 0)
    store = open_store(settings.store)
    base = None if told["base"] is None else _base(store, told["base"], channel.rank)
    database = Database(settings.database_url)
    if told["passed_over"] is not None:
        return PassedOver(database, store, base, told["passed_over"])
    return FollowerSession(channel, database, store, base, told["database"])


def _base(store: Store, told: Mapping[str, Any], rank: int) -> Base:
    fork = messages.node_from_json(told["fork"])
    stored = messages.checkpoint_from_json(told["checkpoint"])
    return Base(
        fork,
        commits.load(store, stored, fork, rank),
        messages.node_from_json(told["origin"]),
        told["mode"],
        told["overrides"],
        told["script"],
        reshuffles=told["reshuffles"],
    )
