"""What is used of a Hugging Face Trainer, and what `mixin.BranchTrackMixin` adds to it.

transformers leaves most of a Trainer's attributes untyped; here each has the type that it has
during training, so that what reads or assigns them is checked.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Protocol

import torch
from transformers import TrainerCallback, TrainingArguments
from transformers.trainer_callback import CallbackHandler, TrainerControl, TrainerState

from branchtrack.training.attributes.changes import Attributes
from branchtrack.training.session.base import Base
from branchtrack.training.session.protocol import TrainingSession
from branchtrack.training.settings.author import Values
from branchtrack.training.settings.live import LoopSettings
from branchtrack.training.trainer.data import Bounds, TrainerPosition
from branchtrack.training.trainer.schedule_recipe import Made


class TrainerLoopSettings(LoopSettings, Protocol):
    """The settings of a Trainer's loop; see `settings.TrainerSettings`."""

    def fixed(self) -> dict[str, Any]:
        """Return the settings of the loop that cannot be changed while it runs."""


class TrainerObjects(Protocol):
    """What a Trainer trains with; ``optimizer`` may be accelerate's wrapper of one."""

    args: TrainingArguments
    state: TrainerState
    control: TrainerControl
    model: torch.nn.Module
    model_wrapped: Any
    optimizer: Any
    lr_scheduler: Any
    accelerator: Any
    callback_handler: CallbackHandler
    train_dataset: Any
    eval_dataset: Any
    data_collator: Any
    compute_loss_func: Any
    compute_metrics: Any
    label_smoother: Any
    is_in_train: bool
    _train_batch_size: int
    _tr_loss: torch.Tensor
    _total_loss_scalar: float
    _globalstep_last_logged: int
    _created_lr_scheduler: bool

    def create_optimizer(self, model: Any = None) -> Any:
        """Create the optimizer, unless there is one."""

    def store_flos(self) -> None:
        """Add the operations counted so far to the state."""

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write the model's files to a folder."""

    def remove_callback(self, callback: type[TrainerCallback]) -> None:
        """Remove the callback of a class, if there is one."""

    def get_eval_dataloader(self, eval_dataset: Any = None) -> Any:
        """Return the loader of a dataset, or of the one with a name."""

    def get_decay_parameter_names(self, model: Any) -> Collection[str]:
        """Return the names of the parameters that weight decay applies to."""

    def evaluation_loop(self, dataloader: Any, *args: Any, **kwargs: Any) -> Any:
        """Evaluate on the batches of a loader."""


class BranchingTrainer(TrainerObjects, Protocol):
    """A Trainer with the attributes that the mixin adds; see `mixin.BranchTrackMixin`."""

    _bt_session: TrainingSession | None
    _bt_position: TrainerPosition | None
    _bt_script: dict[str, Any]
    _bt_schedule: dict[str, Any] | None
    _bt_made: Made | None
    _bt_bounds: Bounds | None
    _bt_values: Values
    _bt_attributes: Attributes | None
    _bt_registry: list[Any]
    _bt_tracked: dict[str, Any]
    _bt_actions: dict[str, Callable[..., Any]]
    _bt_has_ended: bool
    _bt_first_step: int
    _bt_output_folder: str
    _bt_branch_folder: str | None
    _bt_base_to_finish: Base | None
    _bt_gives_optimizer: bool

    @property
    def _bt_loop_settings(self) -> TrainerLoopSettings:
        """The settings of its loop."""

    def _bt_make_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """Create a scheduler if there is none, along the current recipe."""
