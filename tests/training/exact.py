"""Whether resumes end as the training that was never interrupted: its state and its log."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from branchtrack.core.records import Launch
from branchtrack.db import metrics
from tests.training.homes import Home

#: Times, and what is counted anew by each process.
_OWN = ("stall/", "runtime", "per_second", "total_flos")
How = Callable[[], dict[str, Any]]


def logged(home: Home, segment: str, after: int) -> dict[str, dict[int, float]]:
    """What a segment logged behind a step, metric by metric."""
    with home.database.read() as connection:
        names = metrics.names(connection, [segment])
    found = {
        name: {step: value for step, value in home.points(name, segment).items() if step > after}
        for name in names
        if not any(word in name for word in _OWN)
    }
    return {name: points for name, points in found.items() if points}


def agree(home: Home, how: How, steps: Iterable[int] | None = None) -> None:
    """Train, resume from nodes (all, or those of ``steps``), and compare each with the whole.

    ``how`` makes what `tiny.trainer` is given, anew for each process that it stands for.
    """
    home.train(**how())
    whole, final = home.segment().id, home.final()
    assert final.kind == "final"
    wanted = None if steps is None else set(steps)
    nodes = [n for n in home.nodes()[:-1] if wanted is None or n.step in wanted]
    assert nodes
    for node in nodes:
        launch = home.order(node)
        home.train(launch, **how())
        mine, effective = home.final(launch), home.fork(launch).effective
        assert effective is not None and effective["verified"] is True
        assert mine.state_digest == final.state_digest, f"state from {node.step}"
        assert logged(home, launch.segment_id, node.step) == logged(home, whole, node.step), (
            f"what is logged from {node.step}"
        )


def verified(home: Home, launch: Launch) -> dict[str, Any]:
    """What was read back at the first update of a launch, which obeyed."""
    effective = home.fork(launch).effective
    assert effective is not None and effective["obeyed"] is True, effective
    return effective
