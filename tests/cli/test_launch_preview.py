"""A preview in lines of text."""

from __future__ import annotations

from typing import Any

import pytest

from branchtrack.cli.launch_preview import print_preview

ERROR = {"what": "lr: -1 is not accepted.", "fix": "Allowed: more."}
CHANGE = {"name": "lr", "before": 0.01, "after": 0.005}


def line(branch: str = "cool", **facts: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "run": "demo",
        "branch": branch,
        "node": "3fa9" * 4,
        "step": 1000,
        "mode": "exact",
        "changes": [CHANGE],
        "relative": {},
        "restored": {"weights": "restored", "rng": "restored", "lr": "replaced"},
        "steps": 200,
        "max_steps": 1200,
        "warnings": [],
        "error": None,
    }
    return {**values, **facts}


def printed(capsys: pytest.CaptureFixture[str], *lines: dict[str, Any], **facts: Any) -> str:
    preview = {"branches": list(lines), "group": None, "steps": 200, **facts}
    print_preview(preview, "would create")
    return capsys.readouterr().out


def test_one_branch_is_told_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, line(relative={"lr": "x0.5"}, warnings=["hot trained the same"]))
    assert "demo/cool" in out and "3fa93fa9 at step 1,000" in out
    assert "lr 0.01 → 5e-3 (lr x0.5)" in out
    assert "weights, rng" in out and "200 steps, to step 1,200" in out
    assert "note: cool: hot trained the same" in out


def test_what_is_not_known_is_not_guessed(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, line(steps=None, max_steps=None, changes=[]))
    assert "as many steps as the script says" in out and "none" in out


def test_several_are_a_table_with_their_cost(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, line("a"), line("b", steps=100), group="lr", steps=300)
    assert "2 branches" in out and "300 steps in all" in out
    assert [row.split()[0] for row in out.splitlines()[-2:]] == ["a", "b"]


def test_a_reason_is_told_once_for_all_that_it_refuses(capsys: pytest.CaptureFixture[str]) -> None:
    refused = {"error": ERROR, "changes": [], "restored": {}, "steps": None}
    out = printed(capsys, line("a", **refused), line("b", **refused), line("c"), group="lr")
    assert "refused: a, b: lr: -1 is not accepted. Allowed: more." in out
    alone = printed(capsys, line("a", **refused))
    assert "trains" not in alone and "refused: a:" in alone
