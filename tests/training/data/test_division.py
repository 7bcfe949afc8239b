from __future__ import annotations

import pytest
import torch
from accelerate.data_loader import BatchSamplerShard
from torch.utils.data import BatchSampler, SequentialSampler
from torch.utils.data.distributed import DistributedSampler

from branchtrack.training.data import division

DATA = torch.utils.data.TensorDataset(torch.arange(48))


def test_the_number_of_processes_is_that_of_the_sampler() -> None:
    of_samples = DistributedSampler(DATA, num_replicas=2, rank=0)
    of_batches = BatchSampler(SequentialSampler(DATA), 4, drop_last=False)
    assert division.size(BatchSampler(of_samples, 4, drop_last=False)) == 2
    assert division.size(BatchSamplerShard(of_batches, num_processes=3, process_index=1)) == 3
    assert division.size(of_batches) == 1
    assert division.size(None) == 1


def test_what_is_divided_is_found_within_a_divider_of_batches_only() -> None:
    of_batches = BatchSampler(SequentialSampler(DATA), 4, drop_last=False)
    divided = BatchSamplerShard(of_batches, num_processes=3, process_index=1)
    assert division.undivided(divided) is of_batches
    assert division.undivided(of_batches) is of_batches
    assert division.undivided(None) is None


@pytest.mark.parametrize("now", [1, 4, 3])
def test_others_continue_where_the_order_was_left(now: int) -> None:
    taken = 12
    stored = {"samples": taken, "batches": 3, division.KEY: 2}

    def order(count: int, rank: int) -> list[int]:
        return list(DistributedSampler(DATA, num_replicas=count, rank=rank, shuffle=True))

    seen = {index for rank in range(2) for index in order(2, rank)[:taken]}
    after = division.again(stored, now)
    rest = [index for rank in range(now) for index in order(now, rank)[after["samples"] :]]
    assert not seen & set(rest)
    assert len(rest) == len(set(rest))
    assert len(DATA) - len(seen) - len(rest) < now


def test_a_position_divided_as_before_stays_what_it_is() -> None:
    stored = {"samples": 12, "batches": 3, division.KEY: 2}
    assert division.again(stored, 2) == stored
    assert division.words(stored, 2) is None


def test_what_is_left_out_is_said() -> None:
    stored = {"samples": 12, "batches": 3, division.KEY: 2}
    assert division.words(stored, 1) == "divided anew among 1, before 2"
    said = division.words(stored, 4)
    assert said == "divided anew among 4, before 2, 2 batches of this epoch left out"
    assert division.words({"samples": 8, "batches": 2}, 2) == "divided anew among 2, before 1"
