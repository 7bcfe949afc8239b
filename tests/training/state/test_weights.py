"""Of a node's weights all that fits is loaded, and the rest is named."""

from __future__ import annotations

import pytest
import torch

from branchtrack.errors import CheckpointMismatch
from branchtrack.training.state import weights


def tensors(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {f"model/{name}": tensor.clone() for name, tensor in model.state_dict().items()}


def net(width: int = 2) -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(2, width), torch.nn.Linear(width, 1))


def test_weights_that_fit_are_all_restored() -> None:
    model, other = net(), net()
    stored = tensors(other) | {"optimizer/x": torch.zeros(1)}
    assert weights.take(model, stored, {}) == {"weights": "restored"}
    assert torch.equal(model[0].weight, other[0].weight)


def test_what_does_not_fit_stays_as_the_script_made_it_and_is_named() -> None:
    model, other = net(3), net(2)
    before = model[0].weight.clone()
    outcome = weights.take(model, tensors(other) | {"model/gone": torch.zeros(1)}, {})
    assert outcome["weights"] == "1 of 4 restored"
    assert "0.weight (3×2, in the node 2×2)" in outcome["weights as the script made them"]
    assert outcome["weights that the script has no place for"] == "gone"
    assert torch.equal(model[0].weight, before)


@pytest.mark.parametrize("width", [1, 3])
def test_the_rows_that_both_have_are_copied_on_request(width: int) -> None:
    model, other = net(width), net(2)
    before = model[0].weight.clone()
    outcome = weights.take(model, tensors(other), {"resize": True})
    rows = min(width, 2)
    assert torch.equal(model[0].weight[:rows], other[0].weight[:rows])
    assert torch.equal(model[0].weight[rows:], before[rows:])
    assert "0.bias" in outcome["weights resized"]


def test_a_tensor_of_other_dimensions_is_never_resized() -> None:
    model = torch.nn.Linear(2, 2)
    stored = {"model/weight": torch.zeros(4), "model/bias": torch.ones(2)}
    outcome = weights.take(model, stored, {"resize": True})
    assert outcome["weights"] == "1 of 2 restored" and "weights resized" not in outcome


def test_weights_of_another_model_are_refused_with_the_way_that_helps() -> None:
    with pytest.raises(CheckpointMismatch, match="--resize") as caught:
        weights.take(torch.nn.Linear(2, 2), tensors(torch.nn.Linear(3, 3)), {})
    assert caught.value.safe == "No training was done."
    with pytest.raises(CheckpointMismatch) as caught:
        weights.take(torch.nn.Linear(2, 2), {}, {})
    assert "--resize" not in caught.value.fix and "nothing" in caught.value.what


def test_of_very_many_names_the_first_are_listed() -> None:
    stored = {f"model/x{number}": torch.zeros(1) for number in range(60)}
    outcome = weights.take(net(), tensors(net()) | stored, {})
    assert outcome["weights that the script has no place for"].endswith("and 20 more")
