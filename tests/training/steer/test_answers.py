"""What several requests at one control point come to, from values alone."""

from __future__ import annotations

from typing import Any

from branchtrack.core.records import Change, Request
from branchtrack.training.steer import answers
from branchtrack.training.steer.answers import Answer


def answer(kind: str = "set", state: str = "applied", reason: str = "", **values: Any) -> Answer:
    """An answer to a request that set ``values`` from 0."""
    request = Request(
        seq=1,
        id="0" * 16,
        run_id="r",
        branch_id="b",
        segment_id="s",
        kind=kind,
        payload={},
        requested={"values": values},
        actor="ann",
        reason=reason,
        state="accepted",
        error=None,
        before=None,
        applied=None,
        effective=None,
        result=None,
        step=None,
        node_id=None,
        created_at=0.0,
        updated_at=0.0,
    )
    before = {name: 0 for name in values}
    return Answer(request, state, before=before, applied=values or None, settings=dict(values))


def test_a_change_goes_from_the_first_before_to_the_last_after() -> None:
    first, second = answer(lr=1, decay=5), answer(lr=2)
    second.before = {"lr": 1}
    assert answers.changes([first, second]) == (Change("lr", 0, 2), Change("decay", 0, 5))


def test_what_comes_back_to_where_it_was_is_no_change() -> None:
    assert answers.changes([answer(lr=1), answer(lr=0)]) == ()
    assert answers.changes([answer("evaluate", "done")]) == ()


def test_the_earlier_of_two_requests_for_one_setting_is_superseded() -> None:
    found = [answer(lr=1), answer(lr=2, decay=1), answer(lr=3)]
    answers.supersede(found)
    assert [one.state for one in found] == ["superseded", "applied", "applied"]
    assert [one.settings for one in found] == [{}, {"decay": 1}, {"lr": 3}]


def shards(**requested: Any) -> Answer:
    """An answer to a change of shards."""
    one = answer("data")
    one.request.requested.clear()
    one.request.requested.update(requested)
    one.settings = {"data.shards": str(requested)}
    return one


def test_a_change_of_shards_of_which_nothing_is_left_is_superseded() -> None:
    replies = [
        shards(weights={"a": 4.0}),
        shards(add={"c": "c.txt"}, weights={"c": 2.0}),
        shards(add={"d": "d.txt"}),
        shards(remove=["a", "d"], weights={"c": 3.0}),
        shards(weights={"b": 1.0}),
        shards(weights={"b": 2.0}),
    ]
    answers.supersede(replies)
    assert [one.state for one in replies] == [
        "superseded",
        "applied",
        "superseded",
        "applied",
        "superseded",
        "applied",
    ]
    expected = {"data.shards": str({"weights": {"b": 2.0}})}
    assert [one.settings for one in replies if one.state == "applied"] == [expected] * 3


def test_actions_and_failures_supersede_nothing() -> None:
    found = [answer(lr=1), answer("stop", "done"), answer(state="failed", lr=2)]
    answers.supersede(found)
    assert [one.state for one in found] == ["applied", "done", "failed"]


def test_a_node_says_all_the_reasons() -> None:
    found = [answer(reason="too hot", lr=1), answer(lr=2), answer("checkpoint", reason="keep")]
    found[2].request.requested["message"] = "before the storm"
    assert answers.message(found) == "too hot; keep; before the storm"
    assert answers.message([]) == ""
