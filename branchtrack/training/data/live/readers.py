"""The items of a file or folder, by its suffix."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, cast

import numpy as np
from torch.utils.data import ConcatDataset, Dataset

from branchtrack.errors import InvalidInput

#: A function from the path of a file to its items; of a folder, where the script passes its own.
Reader = Callable[[Path], Any]


def read(path: Path) -> Sequence[Any]:
    """Return the items of a file: its rows, lines or entries. Nothing is unpickled.

    Raises:
        InvalidInput: there is no reader for its suffix, or it cannot be read as that.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        allowed = f"files that end in {', '.join(READERS)}, or LiveDataset(read=...) for others"
        raise unusable(path, "there is no reader for such files", allowed)
    try:
        items: Sequence[Any] = reader(path)
        return items
    except (ValueError, KeyError, ImportError) as error:
        raise unusable(path, str(error), f"a readable {path.suffix} file") from error


def unusable(path: Path, why: str, allowed: str) -> InvalidInput:
    """Return the error for a source of a shard that cannot be used; it names the whole path."""
    return InvalidInput("shard", str(path), allowed, what=f"{path} cannot be used: {why}.")


def files_of(folder: Path) -> list[Path]:
    """Return the files in a folder and below, in the order of their relative paths; none hidden."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    visible = [p for p in paths if not any(n.startswith(".") for n in p.relative_to(folder).parts)]
    return sorted(visible, key=lambda path: path.relative_to(folder).as_posix())


def joined(parts: Sequence[Sequence[Any]]) -> Sequence[Any]:
    """Return the items of several files, one after another."""
    if len(parts) == 1:
        return parts[0]
    if all(isinstance(part, list) for part in parts):
        return list(chain.from_iterable(parts))
    datasets: list[Any] = [part for part in parts if len(part)]
    items: Any = ConcatDataset(datasets)
    return cast(Sequence[Any], items)


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text("utf-8").splitlines() if line.strip()]


def _json_lines(path: Path) -> list[Any]:
    # Split at line ends alone: texts may have other separators of lines in them (U+2028).
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]


def _json(path: Path) -> list[Any]:
    items = json.loads(path.read_text("utf-8"))
    if not isinstance(items, list):
        raise ValueError("not a list of items")
    return items


def _table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _array(path: Path) -> Any:
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _tensors(path: Path) -> Any:
    from safetensors.torch import load_file

    return _Columns(load_file(path))


def _parquet(path: Path) -> Any:
    import datasets
    from pyarrow import parquet

    return datasets.Dataset(parquet.read_table(path))


class _Columns(Dataset[Any]):
    """Tensors of one length by name; an item is a dict of their rows."""

    def __init__(self, columns: dict[str, Any]) -> None:
        if len({len(column) for column in columns.values()}) != 1:
            raise ValueError("its tensors are not all of one length")
        self.columns = columns

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {name: column[index] for name, column in self.columns.items()}


READERS: dict[str, Callable[[Path], Any]] = {
    ".txt": _lines,
    ".jsonl": _json_lines,
    ".json": _json,
    ".csv": _table,
    ".npy": _array,
    ".safetensors": _tensors,
    ".parquet": _parquet,
}
