"""A tag travels with its batch through the collate function, and no further."""

from __future__ import annotations

import torch
from accelerate.utils import send_to_device

from branchtrack.training.settings.batch_tags import Samples, Tagged, Tagging


def test_the_tag_of_samples_is_passed_on_to_their_batch() -> None:
    collate = Tagging(sum)
    assert collate(Samples([1, 2], "tag")) == Tagged(3, "tag")


def test_samples_without_a_tag_make_a_plain_batch() -> None:
    batch = Tagging(tuple)([1, 2])
    assert batch == (1, 2) and not isinstance(batch, Tagged)


def test_a_tagged_batch_keeps_its_tag_on_the_way_to_a_device() -> None:
    moved = send_to_device(Tagged({"x": torch.zeros(1)}, "tag"), "meta")
    assert isinstance(moved, Tagged) and moved.tag == "tag"
    assert moved.batch["x"].is_meta
