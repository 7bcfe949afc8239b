"""The items of files, by their suffix, and of folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from safetensors.torch import save_file

from branchtrack.errors import InvalidInput
from branchtrack.training.data.live import readers


def test_text_files_have_lines_entries_and_rows(tmp_path: Path) -> None:
    contents = {
        "a.txt": ("one\n\ntwo\n", ["one", "two"]),
        "a.jsonl": ('{"x": 1}\n\n[2]\n', [{"x": 1}, [2]]),
        "a.json": ("[1, 2]", [1, 2]),
        "a.CSV": ("x,y\n1,2\n", [{"x": "1", "y": "2"}]),
    }
    for name, (text, items) in contents.items():
        (tmp_path / name).write_text(text)
        assert list(readers.read(tmp_path / name)) == items


def test_json_lines_end_at_line_ends_alone(tmp_path: Path) -> None:
    texts = ["a\u2028b", "a\u0085b", "a\x0cb"]
    lines = "\r\n".join(json.dumps(text, ensure_ascii=False) for text in texts)
    (tmp_path / "a.jsonl").write_bytes(lines.encode())
    assert list(readers.read(tmp_path / "a.jsonl")) == texts


def test_files_of_numbers_have_rows(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(6).reshape(3, 2))
    save_file({"x": torch.arange(3), "y": torch.ones(3, 2)}, tmp_path / "a.safetensors")
    Dataset.from_dict({"x": [1, 2, 3]}).to_parquet(str(tmp_path / "a.parquet"))
    assert readers.read(tmp_path / "a.npy")[1].tolist() == [2, 3]
    row = readers.read(tmp_path / "a.safetensors")[2]
    assert (int(row["x"]), row["y"].tolist()) == (2, [1.0, 1.0])
    table = readers.read(tmp_path / "a.parquet")
    assert len(table) == 3 and table[1] == {"x": 2}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.pt", b"x"),
        ("a", b"x"),
        ("a.json", b'{"x": 1}'),
        ("a.jsonl", b"{"),
        ("a.txt", b"\xff\xfe"),
        ("a.npy", b"no array"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidInput, match=name) as refusal:
        readers.read(tmp_path / name)
    assert refusal.value.allowed


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([object()]), allow_pickle=True)
    with pytest.raises(InvalidInput, match="a.npy"):
        readers.read(tmp_path / "a.npy")


def test_tensors_of_several_lengths_are_no_rows(tmp_path: Path) -> None:
    save_file({"x": torch.arange(3), "y": torch.ones(2)}, tmp_path / "a.safetensors")
    with pytest.raises(InvalidInput, match="one length"):
        readers.read(tmp_path / "a.safetensors")


def test_a_folder_has_its_files_in_order_and_none_that_are_hidden(tmp_path: Path) -> None:
    for name in ("b.txt", "a/z.txt", ".hidden.txt", ".git/x.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(name))
    assert [path.name for path in readers.files_of(tmp_path)] == ["z.txt", "b.txt"]


def test_items_of_several_files_come_one_after_another() -> None:
    assert readers.joined([[1, 2], [3]]) == [1, 2, 3]
    mixed: Any = readers.joined([np.arange(2), [], [7]])
    assert [int(mixed[index]) for index in range(len(mixed))] == [0, 1, 7]
