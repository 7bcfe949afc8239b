"""A resumed Trainer goes on with its node's settings and position, and in a folder of its own."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from branchtrack.errors import CheckpointMismatch, InvalidInput
from branchtrack.training.settings.live import Live
from branchtrack.training.trainer import resumption
from tests.training.settings.two_groups import two_groups


def base(mode: str = "exact", loop: Any = None, **overrides: Any) -> Any:
    """A node at step 9 of 20, with what was declared to change."""
    settings = {"max_steps": 20, "lr_scheduler_type": "linear", "warmup_steps": 2}
    fork = SimpleNamespace(step=9, settings={**settings, **overrides})
    return SimpleNamespace(
        fork=fork,
        mode=mode,
        overrides=overrides,
        seed=overrides.get("seed"),
        reshuffles=(),
        origin=SimpleNamespace(settings=settings),
        script={"learning_rate": 0.1},
        snapshot=SimpleNamespace(
            state={"scheduler": {"class": "LambdaLR", "state": {"last_epoch": 9}}, "loop": loop},
            param_groups=[{"lr": 0.05, "initial_lr": 0.1}],
            tensors={},
        ),
        parts={},
    )


def test_a_branch_writes_into_a_folder_of_its_own(tmp_path: Path) -> None:
    trainer: Any = SimpleNamespace(
        args=SimpleNamespace(output_dir=str(tmp_path)), _bt_branch_folder=None
    )
    for branch, folder in (("cooler", tmp_path / "branches" / "cooler"), (None, tmp_path)):
        resumption.own_folder(trainer, branch)
        assert trainer.args.output_dir == str(folder)
        assert resumption.script_folder(trainer) == str(tmp_path)
    trainer.args.output_dir = "elsewhere"
    assert resumption.script_folder(trainer) == "elsewhere"


@pytest.mark.parametrize(
    ("mode", "overrides", "natural", "last"),
    [
        ("exact", {}, 40, 20),
        ("exact", {"max_steps": 30}, 40, 30),
        ("weights", {}, 40, 49),
        ("weights", {"max_steps": 30}, 40, 30),
    ],
)
def test_training_ends_where_the_node_or_the_script_says(
    mode: str, overrides: dict[str, int], natural: int, last: int
) -> None:
    assert resumption.last_step(base(mode, **overrides), natural) == last


def test_an_end_that_is_reached_already_is_refused() -> None:
    with pytest.raises(InvalidInput, match="more than the node's step 9"):
        resumption.last_step(base(max_steps=9), 40)


def test_a_training_that_a_callback_ended_has_ended_until_something_is_declared() -> None:
    assert resumption.has_ended(base(loop={"ended": True}))
    assert not resumption.has_ended(base(loop={}))
    assert not resumption.has_ended(base(loop={"ended": True}, max_steps=30))
    assert not resumption.has_ended(base("weights", loop={"ended": True}))


def test_a_node_of_an_earlier_version_knows_no_position() -> None:
    assert resumption.knows_position(base(loop={"data": {"epoch": 1}}))
    assert not resumption.knows_position(base(loop={"data": {}}))
    assert resumption.knows_position(base("weights", loop={"data": {}}))


def test_a_batch_size_that_the_scripts_loader_does_not_follow_is_refused() -> None:
    trainer: Any = SimpleNamespace(_bt_position=SimpleNamespace(batch_size=4))
    with pytest.raises(InvalidInput, match="own loader has: 4"):
        resumption.resume_position(trainer, base(loop={"data": {}}, batch_size=8))
    trainer._bt_position.batch_size = None
    with pytest.raises(InvalidInput, match="own loader has\\."):
        resumption.resume_position(trainer, base(loop={"data": {}}, batch_size=8))


def test_the_position_is_resumed_where_the_node_was() -> None:
    resumed: list[Any] = []
    position = SimpleNamespace(
        batch_size=4, divided=1, resume=lambda *arguments: resumed.append(arguments[0])
    )
    trainer: Any = SimpleNamespace(_bt_position=position, _bt_script={})
    stored = {"epoch": 1, "batches": 2}
    node = base(loop={"data": stored})
    node.snapshot.state["rng"] = {}
    resumption.resume_position(trainer, node)
    assert resumed == [stored]
    assert node.parts == {}
    position.divided = 2
    resumption.resume_position(trainer, node)
    assert node.parts == {"data position": "divided anew among 2, before 1"}
    del resumed[1:]
    resumption.resume_position(trainer, base("weights", loop={"data": stored}))
    assert len(resumed) == 1


def test_a_schedule_that_the_script_makes_by_itself_has_no_recipe() -> None:
    assert resumption._recipe(base(), 0.1) is None
    rescaled = base(max_steps=30, horizon="rescale")
    assert resumption._recipe(rescaled, 0.1) is None
    extended = resumption._recipe(base(max_steps=30, horizon="extend"), 0.1)
    assert extended == {"steps": 20, "path": [[9, 9], [30, 20]]}


def test_a_schedule_that_was_made_for_another_rate_keeps_that() -> None:
    assert resumption._recipe(base(), 0.5) == {"steps": 20, "path": [], "lr": 0.1}


def test_updates_are_counted_as_the_schedule_counts_them() -> None:
    node = base()
    node.snapshot.state["scheduler"]["state"]["last_epoch"] = 4
    assert resumption._updates(node) == 4
    node.snapshot.state["scheduler"]["class"] = "ReduceLROnPlateau"
    assert resumption._updates(node) == 9
    node.snapshot.state["scheduler"] = None
    assert resumption._updates(node) == 9


def test_without_a_recorded_script_the_node_itself_is_compared() -> None:
    live: Live = two_groups()
    live.fixed = {"seed": 1, "batch_size": 4}
    resumption._check_settings(live, {"seed": 1})
    with pytest.raises(CheckpointMismatch, match="batch_size is 4 in the script and 8"):
        resumption._check_settings(live, {"seed": 1, "batch_size": 8})


def test_attributes_are_restored_once_and_of_a_whole_state_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    restored: list[Any] = []
    monkeypatch.setattr(resumption, "live_objects", lambda _: None)
    monkeypatch.setattr(resumption.snapshots, "attributes", lambda _: {"a": 1})
    session = SimpleNamespace(restore_attributes=lambda live, stored: restored.append(stored))
    trainer: Any = SimpleNamespace(_bt_session=session, _bt_base_to_finish=base("weights"))
    resumption.restore_attributes(trainer)
    trainer._bt_base_to_finish = base()
    resumption.restore_attributes(trainer)
    resumption.restore_attributes(trainer)
    assert restored == [{"a": 1}] and trainer._bt_base_to_finish is None
