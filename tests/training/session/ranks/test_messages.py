from __future__ import annotations

import json
import math
from typing import Any

from branchtrack.core.records import Change, Node, StoredCheckpoint, TensorLocation
from branchtrack.training.session.ranks import messages
from branchtrack.training.steer.answers import Answer
from tests.training.requests_for_tests import request


def sent(value: Any) -> Any:
    """A message as it arrives."""
    return json.loads(json.dumps(value))


def test_a_request_arrives_without_its_conditions_which_rank_0_has_judged() -> None:
    asked = request("set", requested={"values": {"lr": 0.1}}, conditions={"at_step": 3})
    there = messages.request_from_json(sent(messages.request_to_json(asked)))
    assert there == request("set", requested={"values": {"lr": 0.1}})


def test_a_node_arrives_with_its_changes_and_odd_numbers() -> None:
    values: dict[str, Any] = dict.fromkeys(Node.__dataclass_fields__)
    values |= {"seq": 1, "id": "n", "created_at": 1.5, "step": 3, "epoch": 0.5}
    texts = ("run_id", "branch_id", "segment_id", "kind", "state_digest", "message", "actor")
    values |= dict.fromkeys(texts, "x") | {"settings": {"lr": 0.1}, "param_groups": []}
    values |= {"metrics": {"loss": math.inf}, "environment": {}}
    node = Node(**{**values, "changes": (Change("lr", 0.1, 0.2),)})
    assert messages.node_from_json(sent(messages.node_to_json(node))) == node


def test_a_checkpoint_arrives_with_the_places_of_its_tensors() -> None:
    place = TensorLocation("d", "p", "n", "F32", (2, 4), 16, 32)
    stored = StoredCheckpoint("s", {"tensors": []}, {"d": place}, 1, 32, 32)
    there = messages.checkpoint_from_json(sent(messages.checkpoint_to_json(stored)))
    assert there == stored


def test_a_reply_says_what_was_done() -> None:
    answer = Answer(request("set"), "failed", "no", applied={"lr": 1})
    assert messages.reply_of(answer) == {"state": "failed", "error": "no", "applied": {"lr": 1}}
