"""Views of a run, made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from branchtrack.core.agents.views import Curve, SeenBranch, SeenNode, View
from branchtrack.core.builtin_settings import BUILT_IN

SETTINGS = {"lr": 0.1, "weight_decay": 0.0, "max_grad_norm": 1.0}


def curve(values: Sequence[float], first: int = 1) -> Curve:
    """Points at one step after the other."""
    return Curve(list(range(first, first + len(values))), list(values))


def nodes(*steps: int, loss: float | None = 1.0) -> list[SeenNode]:
    """Nodes at some steps, named after them."""
    return [SeenNode(f"node-{step}", step, "checkpoint", {"loss": loss}, {}) for step in steps]


def branch(name: str, **facts: Any) -> SeenBranch:
    """A branch that trains at step 100."""
    return SeenBranch(
        **{
            "name": name,
            "status": "running",
            "step": 100,
            "forked_from": None,
            "forked_at": None,
            "changes": {},
            "settings": SETTINGS,
            "metrics": {"loss": 1.0},
            "head": f"head-of-{name}",
            **facts,
        }
    )


def view(loss: Sequence[float] = (), **facts: Any) -> View:
    """A branch that trains, with its loss from step 1 on."""
    return View(
        **{
            "run": "demo",
            "branch": "main",
            "status": "running",
            "step": len(loss),
            "max_steps": 1000,
            "settings": SETTINGS,
            "declared": {setting.name: setting for setting in BUILT_IN},
            "curves": {"loss": curve(loss)},
            **facts,
        }
    )
