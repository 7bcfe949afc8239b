"""What an export needs beside the weights is kept once, and never holds up a training."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from branchtrack.training.export import requirements


class Processor:
    """A tokenizer that writes a file and counts how often."""

    saves = 0

    def save_pretrained(self, folder: str) -> None:
        self.saves += 1
        (Path(folder) / "vocab.txt").write_text("a b")
        (Path(folder) / "empty.txt").write_text("")
        (Path(folder) / "model.safetensors").write_text("weights")


class Adapted(torch.nn.Linear):
    """A model that calls itself one with adapters, and is none."""

    peft_config = {"default": object()}

    def get_base_model(self) -> Any:
        raise RuntimeError("no base")


def net() -> torch.nn.Module:
    return torch.nn.Linear(2, 1)


def test_a_plain_model_needs_nothing() -> None:
    assert requirements.of(net()) == requirements.of(net(), object()) == ({}, {})


def test_the_files_of_a_processor_are_kept_once_and_without_weights() -> None:
    model, processor = net(), Processor()
    for _ in range(2):
        what, files = requirements.of(model, processor)
    assert what == {} and list(files) == ["files/vocab.txt"]
    assert bytes(files["files/vocab.txt"].tolist()) == b"a b" and processor.saves == 1


def test_a_model_that_cannot_be_described_trains_all_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = Adapted(2, 1)
    with caplog.at_level(logging.WARNING):
        assert requirements.of(model) == requirements.of(model) == ({"unknown": "Adapted"}, {})
    assert [record.getMessage().count("cannot be exported") for record in caplog.records] == [1]


def test_a_restored_model_keeps_what_its_node_had() -> None:
    model, file = net(), torch.zeros(1, dtype=torch.uint8)
    requirements.adopt(model, {"export": {"a": 1}}, {"files/x": file, "model/weight": file})
    assert requirements.of(model, Processor()) == ({"a": 1}, {"files/x": file})
    other = net()
    requirements.adopt(other, {}, {"model/weight": file})
    assert list(requirements.of(other, Processor())[1]) == ["files/vocab.txt"]


def test_buffers_that_no_checkpoint_holds_are_named() -> None:
    model = torch.nn.BatchNorm1d(2)
    model.register_buffer("noise", torch.zeros(1), persistent=False)
    assert requirements.transient(model, model.state_dict()) == ["noise"]


def test_while_a_pipeline_is_saved_its_modules_write_no_weights(tmp_path: Path) -> None:
    class Module(torch.nn.Linear):
        def save_torch_weights(self, folder: str) -> None:
            raise AssertionError("weights")

    pipeline = torch.nn.Sequential(Module(2, 1))
    with requirements._without_weights(pipeline):
        pipeline[0].save_torch_weights(str(tmp_path))
    assert "save_torch_weights" not in pipeline[0].__dict__
    with pytest.raises(AssertionError):
        pipeline[0].save_torch_weights(str(tmp_path))
