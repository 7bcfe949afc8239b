"""Buffers are used again, and tell of unchanged tensors only where the bytes prove it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from branchtrack.training.state import buffers as module
from branchtrack.training.state import memcpy
from branchtrack.training.state.buffers import Buffers, Forms

Change = Callable[[torch.Tensor], object]


def some() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(5, 4, generator=generator) for name in ("a", "b")}


def test_what_nobody_wrote_to_keeps_its_writing() -> None:
    buffers, tensors = Buffers(), some()
    buffers.copy(tensors)
    first = buffers.writings
    tensors["b"].add_(1)
    copied = buffers.copy(tensors)
    assert buffers.writings["a"] == first["a"] and buffers.writings["b"] != first["b"]
    assert all(torch.equal(copied[name], tensors[name]) for name in tensors)


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.data.add_(1),
        lambda t: t.numpy().__iadd__(1),
        lambda t: t.detach().mul_(2),
        lambda t: t.view(-1)[3].zero_(),
        lambda t: t.data.view(-1)[-1:].view(torch.uint8)[:1].bitwise_xor_(1),
        lambda t: t.set_(torch.ones(5, 4)),
    ],
    ids=["data", "numpy", "detached", "view", "one bit", "other storage"],
)
def test_whoever_writes_in_whatever_way_is_noticed(change: Change) -> None:
    buffers, tensors = Buffers(), some()
    for _ in range(3 * module._REST):
        buffers.copy(tensors)
        before = buffers.writings
        change(tensors["a"])
        copied = buffers.copy(tensors)
        assert torch.equal(copied["a"], tensors["a"])
        assert buffers.writings["a"] != before["a"] and buffers.writings["b"] == before["b"]


def test_zeros_that_change_their_sign_are_noticed() -> None:
    buffers, tensors = Buffers(), {"a": torch.zeros(3)}
    buffers.copy(tensors)
    before = buffers.writings
    tensors["a"].data.neg_()
    assert torch.signbit(buffers.copy(tensors)["a"]).all() and buffers.writings != before


def test_a_fused_optimizer_moves_no_counter_and_is_not_compared_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parameter = torch.nn.Parameter(torch.ones(8))
    optimizer = torch.optim.AdamW([parameter], fused=True)
    parameter.grad = torch.ones(8)
    compared: list[int] = []
    equal = memcpy.equal
    monkeypatch.setattr(memcpy, "equal", lambda p: compared.append(len(p)) or equal(p))
    buffers = Buffers()
    for _ in range(module._REST + 1):
        optimizer.step()
        assert torch.equal(buffers.copy({"p": parameter})["p"], parameter)
    assert sum(compared) <= 2


def test_a_tensor_without_a_version_counter_is_copied_each_time() -> None:
    with torch.inference_mode():
        tensors = {"a": torch.ones(3)}
    buffers = Buffers()
    buffers.copy(tensors)
    before = buffers.writings
    assert torch.equal(buffers.copy(tensors)["a"], torch.ones(3)) and buffers.writings != before


def test_a_copy_that_fails_does_not_pass_for_what_was_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    buffers, tensors = Buffers(), some()
    buffers.copy(tensors)
    before = buffers.writings

    def fail(_team: object, pairs: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
        pairs[0][0].zero_()
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(memcpy.Copy, "add", fail)
        tensors["a"].add_(1)
        with pytest.raises(MemoryError):
            buffers.copy(tensors)
    copied = buffers.copy(tensors)
    assert torch.equal(copied["a"], tensors["a"]) and buffers.writings["a"] != before["a"]


def test_what_is_gathered_while_copying_goes_on_is_copied_too() -> None:
    buffers, tensors = Buffers(), some()
    tied = {"c": tensors["a"], "d": torch.ones(2), "e": tensors["b"].t()}
    copied = buffers.copy(tensors, lambda: tied)
    assert list(copied) == ["a", "b", "c", "d", "e"] and buffers.aliases == {"c": "a"}
    assert all(torch.equal(copied[name], one) for name, one in {**tensors, **tied}.items())
    assert copied["c"] is copied["a"] and buffers.writings["c"] == buffers.writings["a"]


def test_where_gathering_fails_the_next_snapshot_is_whole() -> None:
    buffers, tensors = Buffers(), some()
    buffers.copy(tensors)

    def fail() -> dict[str, torch.Tensor]:
        raise MemoryError

    tensors["a"].add_(1)
    with pytest.raises(MemoryError):
        buffers.copy(tensors, fail)
    copied = buffers.copy(tensors)
    assert all(torch.equal(copied[name], tensors[name]) for name in tensors)


def test_tensors_that_are_tied_no_more_have_a_buffer_each() -> None:
    buffers, one = Buffers(), torch.ones(3)
    buffers.copy({"a": one, "b": one})
    copied = buffers.copy({"a": one, "b": torch.zeros(3)})
    assert copied["a"].tolist() == [1, 1, 1] and copied["b"].tolist() == [0, 0, 0]
    assert buffers.aliases == {}


def test_a_tensor_of_another_form_gets_another_buffer() -> None:
    buffers = Buffers()
    buffers.copy({"a": torch.ones(4)})
    for other in (torch.ones(5), torch.ones(2, 2), torch.ones(4, dtype=torch.int32)):
        found = buffers.copy({"a": other})["a"]
        assert found.dtype == other.dtype and torch.equal(found, other)


def test_what_a_snapshot_does_not_use_is_given_back() -> None:
    buffers = Buffers()
    buffers.copy(some())
    buffers.copy({"a": torch.ones(5, 4)})
    assert list(buffers._held) == ["a"]


def test_memory_made_ahead_is_what_the_next_snapshot_uses() -> None:
    tensors = {**some(), "empty": torch.empty(0), "half": torch.ones(3, dtype=torch.bfloat16)}
    tensors["tied"] = tensors["a"]
    forms = Forms()
    assert forms.copy(tensors) == {}
    buffers = Buffers()
    buffers.reserve(forms.found)
    ahead = {name: held.tensor.data_ptr() for name, held in buffers._held.items()}
    assert ahead.keys() == {"a", "b", "empty", "half"}
    copied = buffers.copy(tensors)
    assert {name: copied[name].data_ptr() for name in ahead} == ahead
    assert copied["tied"] is copied["a"]
    assert all(torch.equal(copied[name], tensors[name]) for name in tensors)


def test_memory_that_is_held_is_not_made_again() -> None:
    buffers, tensors = Buffers(), some()
    copied = buffers.copy(tensors)
    buffers.reserve({"a": (torch.float32, torch.Size([5, 4]))})
    assert buffers._held["a"].tensor is copied["a"] and torch.equal(copied["a"], tensors["a"])
