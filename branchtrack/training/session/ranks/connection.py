"""Whether this process is one of several of a training, and the channel between them."""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Mapping
from typing import Any

import torch

from branchtrack.core.builtin_settings import WORLD_SIZE
from branchtrack.errors import InvalidInput
from branchtrack.training.ranks.channel import Channel
from branchtrack.training.ranks.models import group_size

#: Every process of a group begins its trainings in the same order.
_trainings = itertools.count(1)


def world_size() -> int:
    """Return how many processes train together, according to the launcher or torch."""
    return group_size() or int(os.environ.get("WORLD_SIZE") or 1)


def settings() -> dict[str, int]:
    """Return the size of torch's process group, which may be 1, as a setting; none without one."""
    size = group_size()
    return {} if size is None else {WORLD_SIZE.name: size}


def check_size(declared: Mapping[str, Any]) -> None:
    """Refuse another number of processes than a resume is for; ``declared`` are its settings.

    Raises:
        InvalidInput: naming how to declare it.
    """
    expected, actual = int(declared.get(WORLD_SIZE.name) or 1), world_size()
    if actual != expected:
        raise InvalidInput(
            WORLD_SIZE.name,
            actual,
            f"{expected}, or `--set {WORLD_SIZE.name}={actual}` with the resume",
            what=f"This node continues with {expected} processes, and {actual} were started.",
        )


def next_group() -> dict[str, str]:
    """Return the variables with which processes that restart find each other once more.

    The launcher's own store still has the keys of the group that ends here.
    """
    with socket.socket() as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    return {"MASTER_PORT": str(port), "TORCHELASTIC_USE_AGENT_STORE": "False"}


def connect() -> Channel | None:
    """Return the channel of the training that begins now; None for a process on its own.

    Raises:
        InvalidInput: a launcher started several processes, and they are no process group yet.
    """
    if world_size() <= 1:
        return None
    if group_size() is None:
        raise InvalidInput(
            "WORLD_SIZE",
            os.environ.get("WORLD_SIZE"),
            "a process group: call torch.distributed.init_process_group() before this",
            what="A launcher has started several processes that do not know each other yet.",
        )
    distributed = torch.distributed
    store = distributed.distributed_c10d._get_default_store()
    with_own_connection = store.clone() if hasattr(store, "clone") else store
    prefix = f"branchtrack/{next(_trainings)}"
    own = distributed.distributed_c10d.PrefixStore(prefix, with_own_connection)
    return Channel(own, distributed.get_rank(), distributed.get_world_size())
