from __future__ import annotations

import torch
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from branchtrack.training.ranks import models
from branchtrack.training.state import model_repr
from tests.training.groups import group_of_one


def test_a_process_on_its_own_has_rank_0_and_no_group() -> None:
    assert (models.group_rank(), models.group_size()) == (0, None)


def test_a_replicated_model_is_the_model_within() -> None:
    model = torch.nn.Linear(2, 2)
    with group_of_one():
        assert models.unwrapped(DistributedDataParallel(model)) is model
        assert models.group_size() == 1
    assert models.unwrapped(model) is model


def test_a_sharded_model_has_the_name_and_the_text_of_its_own_class() -> None:
    plain, model = torch.nn.Sequential(torch.nn.Linear(2, 2)), torch.nn.Linear(2, 2)
    with group_of_one():
        sharded = fully_shard(torch.nn.Sequential(fully_shard(model)))
        assert models.is_sharded(sharded)
        assert (type(sharded).__name__, models.class_name(sharded)) == (
            "FSDPSequential",
            "Sequential",
        )
        assert model_repr.of(sharded) == model_repr.of(plain)
        assert model_repr.summary(sharded) == "Sequential, 6 parameters"
    assert models.class_name(plain) == "Sequential"
