"""A backend without any file: what a store needs of the place of its packs, and no more."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from io import BufferedReader, BytesIO

from branchtrack.checkpoints.backend import Chunk, Copies, ListedPack


class Memory:
    """Packs in a dict, by id; ``written_at`` may be changed by tests."""

    copies: Copies | None = None

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}
        self.written_at: dict[str, float] = {}
        #: Names of the processes of writes that did not end, and when these began.
        self.unfinished_since: dict[str, float] = {}
        self.is_full = False

    def put(self, pack: str, chunks: Iterable[Chunk]) -> None:
        if self.is_full:
            raise OSError(28, "No space left on device")
        self.contents[pack] = b"".join(chunks)
        self.written_at[pack] = time.time()

    def open(self, pack: str) -> BufferedReader:
        if pack not in self.contents:
            raise FileNotFoundError(2, "No such pack", pack)
        return BufferedReader(BytesIO(self.contents[pack]))

    def exists(self, pack: str) -> bool:
        return pack in self.contents

    def list(self) -> Iterator[ListedPack]:
        for pack in list(self.contents):
            age = time.time() - self.written_at[pack]
            yield ListedPack(pack, age, len(self.contents[pack]))

    def delete(self, pack: str) -> None:
        if self.contents.pop(pack, None) is None:
            raise FileNotFoundError(2, "No such pack", pack)

    def describe(self, pack: str | None = None) -> str:
        return "memory://packs" if pack is None else f"memory://packs/{pack[:2]}/{pack}.safetensors"

    def is_present(self) -> bool:
        return True

    def unfinished(self) -> Iterator[ListedPack]:
        for name, began in self.unfinished_since.items():
            yield ListedPack(name, time.time() - began, 0)

    def delete_unfinished(self, is_abandoned: Callable[[str, float], bool]) -> int:
        now = time.time()
        abandoned = [
            n for n, began in self.unfinished_since.items() if is_abandoned(n, now - began)
        ]
        for name in abandoned:
            del self.unfinished_since[name]
        return len(abandoned)
