"""The scripted endpoint decides by the figures in the question, and within what is allowed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from branchtrack.agents.llm import questions
from branchtrack.agents.llm.endpoint import Endpoint
from branchtrack.core.agents import decisions
from branchtrack.examples.studies import endpoint
from branchtrack.examples.studies.endpoint import ALLOWED

ALL = "keep, double, halve, branch"
EVEN, STOPPED, RISEN, STUCK = [5.5, 2.2, 2.13], [5.5, 2.2, 2.199], [5.5, 2.0, 2.6], [5.5, 4.0, 4.0]


def question(losses: Sequence[float | str], moves: str = ALL, **more: Any) -> dict[str, Any]:
    """What a prompt says of a run that was evaluated every ten updates."""
    points = [[10 * number, loss] for number, loss in enumerate(losses)]
    nodes = [
        {"id": f"node{step}", "step": step, "kind": "checkpoint", "metrics": {"eval_loss": loss}}
        for step, loss in points
    ]
    return {
        "goal": f"The lowest loss. {ALLOWED} {moves}. Answer shortly.",
        "settings": {"lr": {"value": 0.04}},
        "curves": {"eval_loss": points},
        "nodes": nodes,
        "tried_here": [],
        **more,
    }


def decided(*arguments: Any, **more: Any) -> tuple[str, float | None, str | None]:
    """The action, its rate and its node; every answer is one that an agent takes."""
    answer = endpoint.decide(question(*arguments, **more))
    decisions.read(answer)
    values = answer.get("values") or {}
    return answer["action"], values.get("lr"), answer.get("node")


@pytest.mark.parametrize(
    ("losses", "moves", "expected"),
    [
        ([5.5], ALL, ("nothing", None, None)),
        ([5.5, 3.5, 2.5], ALL, ("nothing", None, None)),
        (EVEN, ALL, ("set", 0.08, None)),
        (EVEN, "keep, restart", ("nothing", None, None)),
        (STOPPED, "keep, double, halve", ("set", 0.02, None)),
        (RISEN, "keep, double, halve", ("set", 0.02, None)),
        (RISEN, ALL, ("rollback", 0.02, "node10")),
        (STUCK, ALL, ("rollback", 0.01, "node0")),
        (STUCK, "keep, restart", ("rollback", 0.01, "node0")),
        (RISEN, "keep, restart", ("rollback", 0.02, "node0")),
        (["NaN", "NaN"], "keep, double, halve", ("set", 0.02, None)),
        (RISEN, "keep", ("nothing", None, None)),
    ],
)
def test_it_decides_by_the_held_out_loss(losses: Any, moves: str, expected: Any) -> None:
    assert decided(losses, moves) == expected


def test_a_rate_that_was_lowered_is_not_raised_again() -> None:
    assert decided(EVEN, tried_here=[{"kind": "set", "state": "verified"}])[0] == "nothing"


def test_it_is_asked_over_http_as_any_model_is() -> None:
    with endpoint.serving() as url:
        messages = [
            {"role": "system", "content": "You steer."},
            {"role": "user", "content": json.dumps(question(STOPPED, "keep, halve"))},
        ]
        answer = questions.ask(Endpoint(url, endpoint.MODEL, 20.0), messages, max_tokens=100)
    assert answer.outcome == "answered" and answer.decision is not None
    assert answer.decision.model_dump()["values"] == {"lr": 0.02}
    assert answer.tokens_in > 50 and answer.tokens_out > 5


def test_what_is_no_question_about_a_run_is_refused() -> None:
    with endpoint.serving() as url:
        messages = [{"role": "user", "content": "hello"}]
        answer = questions.ask(Endpoint(url, endpoint.MODEL, 20.0), messages)
    assert answer.outcome == "failed" and "400" in str(answer.error)
