"""branchtrack: an experiment tracker whose runs are trees you can steer.

    import branchtrack
    from transformers import Trainer

    BranchingTrainer = branchtrack.make_branching(Trainer)  # then use it exactly as Trainer

or, in a loop of your own, ``run = branchtrack.start(...)``: see `branchtrack.training.loop.run`.
``branchtrack.Client(url, token)`` reads and steers runs through a server.
Public names are resolved on first use, so that the import itself loads nothing heavy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from branchtrack.agents.in_script import start_agent as start_agent
    from branchtrack.client.client import Client as Client
    from branchtrack.errors import BranchtrackError as BranchtrackError
    from branchtrack.training.data.live.dataset import LiveDataset as LiveDataset
    from branchtrack.training.data.mixture import mixture as mixture
    from branchtrack.training.loop.loader import track_loader as track_loader
    from branchtrack.training.loop.run import start as start
    from branchtrack.training.settings.author import setting as setting
    from branchtrack.training.settings.dataset_settings import declare as declare
    from branchtrack.training.trainer.mixin import make_branching as make_branching

__version__ = "0.1.0"

_PUBLIC = {
    "BranchtrackError": "branchtrack.errors",
    "Client": "branchtrack.client.client",
    "LiveDataset": "branchtrack.training.data.live.dataset",
    "declare": "branchtrack.training.settings.dataset_settings",
    "make_branching": "branchtrack.training.trainer.mixin",
    "mixture": "branchtrack.training.data.mixture",
    "setting": "branchtrack.training.settings.author",
    "start": "branchtrack.training.loop.run",
    "start_agent": "branchtrack.agents.in_script",
    "track_loader": "branchtrack.training.loop.loader",
}
__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
