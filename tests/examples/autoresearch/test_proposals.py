"""What agents propose, and how it is read and applied."""

from __future__ import annotations

import json

import pytest

from branchtrack.examples.autoresearch.loop import TRAIN
from branchtrack.examples.autoresearch.proposals import (
    IDEAS,
    Edit,
    ModelAgent,
    Proposal,
    ScriptedAgent,
    read_proposal,
)


@pytest.mark.parametrize("idea", IDEAS, ids=lambda idea: idea.idea)
def test_every_idea_fits_the_script(idea: Proposal) -> None:
    script = TRAIN.read_text(encoding="utf-8")
    changed = idea.applied(script)
    assert changed != script
    compile(changed, "train.py", "exec")


def test_an_edit_has_to_be_clear() -> None:
    for search in ("b", "x", ""):
        with pytest.raises(ValueError, match="exactly once"):
            Proposal("idea", [Edit(search, "c")]).applied("a b b")


def test_a_proposal_is_read_from_what_a_model_says() -> None:
    body = {"idea": "two\nlines", "edits": [{"search": "a", "replace": "b"}]}
    proposal = read_proposal(f"Here it is:\n```json\n{json.dumps(body)}\n```")
    assert proposal == Proposal("two lines", [Edit("a", "b")])


@pytest.mark.parametrize("text", ["", "no", "{}", '{"idea": "x", "edits": [1]}', "{"])
def test_what_is_no_proposal_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no proposal"):
        read_proposal(text)


def test_the_scripted_agent_ends() -> None:
    agent = ScriptedAgent()
    assert [agent.propose("", "") for _idea in IDEAS] == list(IDEAS)
    assert agent.propose("", "") is None


def test_an_endpoint_that_is_not_there_is_an_error_of_the_system() -> None:
    with pytest.raises(OSError):
        ModelAgent("http://127.0.0.1:9/v1", "any").propose("", "")
