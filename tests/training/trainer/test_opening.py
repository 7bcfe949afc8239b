"""Where a Trainer's training begins is said once: by a node, or by its newest checkpoint."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

from branchtrack.errors import InvalidInput, LaunchFailed
from branchtrack.training.session.opening import LATEST, Resumption
from branchtrack.training.session.unrecorded.passed_over import PassedOver
from branchtrack.training.trainer import checkpoint_pointers, opening


@pytest.fixture
def trainer(tmp_path: Path) -> Any:
    """What is read of a Trainer before it trains."""
    args = SimpleNamespace(
        output_dir=str(tmp_path), run_name=None, load_best_model_at_end=False, push_to_hub=False
    )
    return SimpleNamespace(
        args=args,
        state=SimpleNamespace(global_step=9),
        _bt_branch_folder=None,
        _bt_output_folder=None,
    )


@pytest.fixture
def requested(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Where the session that is opened is asked to continue."""
    resumes: list[Any] = []

    def open_session(name: str | None, resume: Any, *, output: str) -> str:
        resumes.append(resume)
        return "session"

    monkeypatch.setattr(opening.opening, "open_session", open_session)
    return resumes


def checkpoint(folder: Path, step: int, *, pointer: bool = False) -> str:
    path = folder / f"checkpoint-{step}"
    if pointer:
        checkpoint_pointers.write(folder, step, "abcd")
    else:
        path.mkdir()
        (path / "model.safetensors").write_text("")
    return str(path)


def test_two_places_to_continue_from_are_refused(trainer: Any, requested: list[Any]) -> None:
    with pytest.raises(InvalidInput, match="resume_from_node alone"):
        opening.open_session(trainer, "checkpoint-3", Resumption("abcd"))
    assert requested == []


def test_a_new_training_continues_nothing(trainer: Any, requested: list[Any]) -> None:
    assert opening.open_session(trainer, None, None) == ("session", None)
    assert requested == [None]


def test_the_newest_checkpoint_is_the_newest_node(
    trainer: Any, requested: list[Any], tmp_path: Path
) -> None:
    newest = checkpoint(tmp_path, 6)
    for named in (True, newest, Path(newest)):
        assert opening.open_session(trainer, named, None) == ("session", newest)
    assert requested == [Resumption(LATEST)] * 3


def test_an_older_checkpoint_is_transformers_own(
    trainer: Any, requested: list[Any], tmp_path: Path
) -> None:
    older = checkpoint(tmp_path, 3)
    checkpoint(tmp_path, 6)
    assert opening.open_session(trainer, older, None) == ("session", older)
    assert requested == [None]


def test_a_folder_that_only_names_a_node_holds_no_files(
    trainer: Any, requested: list[Any], tmp_path: Path
) -> None:
    pointer = checkpoint(tmp_path, 6, pointer=True)
    assert opening.open_session(trainer, pointer, None) == ("session", None)
    assert requested == [Resumption(LATEST)]


@pytest.mark.parametrize(
    ("argument", "records", "branch", "step", "points"),
    [
        ("", True, None, 9, True),
        ("load_best_model_at_end", True, None, 9, False),
        ("push_to_hub", True, None, 9, False),
        ("", False, None, 9, False),
        ("", True, "cooler", 9, False),
        ("", True, None, 0, False),
    ],
)
def test_the_script_is_pointed_at_the_newest_node_of_a_first_branch_alone(
    trainer: Any,
    tmp_path: Path,
    argument: str,
    records: bool,
    branch: str | None,
    step: int,
    points: bool,
) -> None:
    trainer.state.global_step = step
    if argument:
        setattr(trainer.args, argument, True)
    session: Any = SimpleNamespace(
        records=records, own_branch=lambda: branch, when_durable=lambda job: job("abcd")
    )
    opening.point_at_newest(trainer, session)
    assert checkpoint_pointers.is_pointer(tmp_path / "checkpoint-9") is points


def test_a_repetition_reports_to_no_other_tracker(trainer: Any) -> None:
    removed: list[type] = []
    trainer.args.save_total_limit = 1
    trainer.remove_callback = removed.append
    opening._silence(trainer)
    assert set(removed) == set(INTEGRATION_TO_CALLBACK.values())
    assert trainer.args.save_total_limit is None


def test_a_training_that_is_left_untrained_returns_what_it_is(trainer: Any) -> None:
    closed: list[str] = []
    session = object.__new__(PassedOver)
    session.base, session.close = None, lambda status, *_: closed.append(status)
    output = opening.pass_over(trainer, session)
    assert (output.global_step, output.metrics, closed) == (9, {}, ["finished"])


def test_a_final_state_that_does_not_fit_closes_the_session_as_failed(trainer: Any) -> None:
    closed: list[str] = []

    def refuse(_: Any) -> None:
        raise LaunchFailed("It does not fit.", launch=None, exit_code=None, log=None)

    session = object.__new__(PassedOver)
    session.base = SimpleNamespace()
    session.close = lambda status, *_: closed.append(status)
    session.give_back = refuse
    with pytest.raises(LaunchFailed):
        opening.pass_over(trainer, session)
    assert closed == ["failed"]


def test_a_run_has_the_name_that_the_script_chose(trainer: Any, tmp_path: Path) -> None:
    assert opening._run_name(trainer) is None
    trainer.args.run_name = str(tmp_path)
    assert opening._run_name(trainer) is None, "transformers' own default"
    trainer.args.run_name = "digits"
    assert opening._run_name(trainer) == "digits"
