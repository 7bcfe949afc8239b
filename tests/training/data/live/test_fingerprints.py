"""Fingerprints: of the content alone, whatever it is kept in."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch.utils.data import TensorDataset

from branchtrack.training.data.live import fingerprints


def test_a_file_has_the_digest_that_other_tools_print(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"x" * 100_000)
    assert fingerprints.of_path(path) == hashlib.sha256(b"x" * 100_000).hexdigest()


def test_a_folder_has_that_of_its_paths_and_contents(tmp_path: Path) -> None:
    seen = []
    for name, text in (("a/x.txt", "1"), ("a/x.txt", "2"), ("a/y.txt", "2"), ("b/x.txt", "1")):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        seen.append(fingerprints.of_path(tmp_path / name[0]))
    assert len({*seen[:3]}) == 3 and seen[3] == seen[0]
    (tmp_path / "b" / ".hidden").write_text("no matter")
    assert fingerprints.of_path(tmp_path / "b") == seen[3]


def test_a_stamp_changes_when_a_file_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("1")
    before = fingerprints.stamp_of(path)
    assert fingerprints.stamp_of(path) == before
    path.write_text("22")
    assert fingerprints.stamp_of(path) != before


def test_objects_have_that_of_their_items() -> None:
    def of(items: Any) -> str:
        return fingerprints.of_items(items)

    assert of([1, "x", {"y": torch.ones(2)}]) == of([1, "x", {"y": torch.ones(2)}])
    objects: list[Any] = [
        [1, 2],
        [2, 1],
        np.arange(3),
        torch.arange(3),
        TensorDataset(torch.arange(3)),
        Dataset.from_dict({"x": [1, 2]}),
        Dataset.from_dict({"x": [1, 3]}),
        Dataset.from_dict({"y": [1, 2]}),
    ]
    assert len({of(items) for items in objects}) == len(objects)


def test_a_table_has_that_of_its_rows_however_it_was_made() -> None:
    rows = Dataset.from_dict({"x": [3, 1, 2], "t": ["c", "a", "b"]})
    chosen = rows.select([1, 2, 0])
    made = Dataset.from_dict({"x": [1, 2, 3], "t": ["a", "b", "c"]})
    assert fingerprints.of_items(chosen) == fingerprints.of_items(made)
    assert fingerprints.of_items(rows) != fingerprints.of_items(made)
