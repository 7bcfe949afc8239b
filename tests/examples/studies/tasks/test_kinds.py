"""The network of two kinds of text: what is held out of each."""

from __future__ import annotations

from pathlib import Path

import torch

from branchtrack.examples.studies.tasks import kinds
from branchtrack.examples.studies.tasks.text import CONTEXT


def test_both_kinds_are_held_out_in_equal_parts() -> None:
    parts = kinds.held_out("validation")
    assert list(parts) == list(kinds.KINDS)
    assert all(part.shape == (128, CONTEXT) for part in parts.values())
    assert not torch.equal(parts["old"], parts["new"])


def test_a_shard_is_the_windows_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(bytes(range(200)))
    assert kinds.read(path).flatten().tolist() == list(range(3 * CONTEXT))
