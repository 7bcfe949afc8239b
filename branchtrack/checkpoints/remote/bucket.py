"""Packs in a bucket: ``<prefix>/packs/<first two characters>/<id>.safetensors``.

The names are those of a folder, so that a home can be moved by copying. A pack is complete or
absent: an object is there once its request, or the completion of its parts, has succeeded.

- Up to 64 MiB a pack is put on condition that there is none of its name (``If-None-Match: *``).
- Longer ones go in parts. The client cannot complete these on a condition, so it is looked before
  whether the pack is there, and after whether it has its length. Two processes that put one pack at
  the same time replace it by the same bytes: its name is the digest of its header, and this holds
  the digests of all else.

What is there already is read and compared, and replaced only if it differs: it was damaged. It must
not know what the bytes mean, nor any copy of them on this machine.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from functools import cached_property
from io import BufferedReader
from typing import Any

from branchtrack.checkpoints.backend import Chunk, Copies, ListedPack
from branchtrack.checkpoints.remote import bucket_errors, multipart
from branchtrack.checkpoints.remote.range_file import RangeFile
from branchtrack.environment_variables import STORE_VARIABLE
from branchtrack.errors import InvalidInput
from branchtrack.store_address import Address

_SUFFIX = ".safetensors"
_NAME = re.compile(r"packs/[0-9a-f]{2}/([0-9a-f]{32})\.safetensors")
#: Bytes of the longest pack that one request puts, of each part of longer ones, and of a piece that
#: is read to compare.
SINGLE_BYTES = 64 * 1024 * 1024
_PART, _PIECE = 16 * 1024 * 1024, 8 * 1024 * 1024
_PARTS_AT_ONCE = 4
#: The parts that an upload may have.
_MOST_PARTS = 10_000
#: Seconds that a request with many bytes, and one with few, may take.
_TRANSFER_SECONDS, _QUESTION_SECONDS = 300, 5


class Bucket:
    """The backend over a bucket of S3 or of anything that speaks like it.

    Endpoint, region and credentials come from the environment (``AWS_ENDPOINT_URL``,
    ``AWS_REGION``, ``AWS_ACCESS_KEY_ID``...), or from the machine's role; nothing is asked of the
    endpoint before the first pack is.

    Raises:
        InvalidInput: the client is not installed.
    """

    copies: Copies | None = None

    def __init__(self, address: Address) -> None:
        try:
            import obstore
        except ImportError:
            raise InvalidInput(
                STORE_VARIABLE,
                str(address),
                'pip install "branchtrack[s3]"',
                what="Packs in a bucket need a package that is not installed: obstore. "
                'Install it with `pip install "branchtrack[s3]"`.',
            ) from None
        self.address = address
        self._client: Any = obstore

    def put(self, pack: str, chunks: Iterable[Chunk]) -> None:
        """Store a pack; see the module for what is guaranteed."""
        key, pieces = self.key(pack), [piece for piece in chunks if len(piece)]
        nbytes = sum(memoryview(piece).nbytes for piece in pieces)
        if nbytes > SINGLE_BYTES:
            if self._size(key) != nbytes or not self._holds(key, pieces, nbytes):
                self._put_parts(key, pieces, nbytes)
            return
        if not self._create(key, pieces) and not self._holds(key, pieces, nbytes):
            with self._translated(key):
                self._put(key, pieces, mode="overwrite", use_multipart=False)

    def open(self, pack: str) -> BufferedReader:
        """Open a pack for reading; only what is read is transferred."""
        key = self.key(pack)
        size = self.size(pack)
        return BufferedReader(RangeFile(size, lambda start, n: self._range(key, start, n)))

    def size(self, pack: str) -> int:
        """Return the length of a pack in bytes.

        Raises:
            FileNotFoundError: there is none.
        """
        key = self.key(pack)
        size = self._size(key)
        if size is None:
            # The answer to this one says whether there is a bucket at all.
            self._range(key, 0, 1)
            raise FileNotFoundError(2, "there is no such object", key)
        return size

    def range(self, pack: str, start: int, length: int) -> bytes:
        """Return some bytes of a pack."""
        return self._range(self.key(pack), start, length)

    def exists(self, pack: str) -> bool:
        """Return whether a pack is there.

        Raises:
            OSError: the endpoint does not say.
        """
        return self._size(self.key(pack)) is not None

    def list(self) -> Iterator[ListedPack]:
        """Yield every pack; ages are by the clock of the endpoint.

        Raises:
            OSError: the bucket cannot be listed.
        """
        folder, base = self._base + "packs/", self._base
        with self._translated(folder):
            for batch in self._client.list(self._transfers, folder, chunk_size=1000):
                for item in batch:
                    name = _NAME.fullmatch(item["path"].removeprefix(base))
                    if name is not None:
                        age = max(0.0, time.time() - item["last_modified"].timestamp())
                        yield ListedPack(name.group(1), age, int(item["size"]))

    def delete(self, pack: str) -> None:
        """Remove a pack."""
        key = self.key(pack)
        # The endpoint answers the same whether there was one.
        self.size(pack)
        with self._translated(key):
            self._client.delete(self._questions, key)

    def describe(self, pack: str | None = None) -> str:
        """Return the address of a pack or of the store."""
        return str(self.address) if pack is None else f"s3://{self.address.bucket}/{self.key(pack)}"

    def is_present(self) -> bool:
        """Return whether the bucket exists and answers."""
        try:
            with self._translated(self._base):
                next(iter(self._client.list(self._questions, self._base, chunk_size=1)), None)
        except OSError:
            return False
        return True

    def unfinished(self) -> Iterator[ListedPack]:
        """Yield uploads in parts that were begun and not completed.

        None if the credentials are not in the environment: the client cannot list uploads.
        """
        for upload in multipart.begun(self.address.bucket, self._base):
            yield ListedPack(upload.key, upload.age, 0)

    def delete_unfinished(self, is_abandoned: Callable[[str, float], bool]) -> int:
        """Abort such uploads; their process is unknown, so that they have to be old."""
        removed = 0
        for upload in multipart.begun(self.address.bucket, self._base):
            if is_abandoned(upload.key, upload.age):
                removed += multipart.abort(self.address.bucket, upload)
        return removed

    def key(self, pack: str) -> str:
        """Return the name of a pack's object in the bucket."""
        return f"{self._base}packs/{pack[:2]}/{pack}{_SUFFIX}"

    def check(self) -> Sequence[tuple[str, str]]:
        """Try what a store needs, and return (what was tried, what was wrong or "") of each."""
        key, content = f"{self._base}check/{os.urandom(8).hex()}", b"branchtrack"
        steps: list[tuple[str, Callable[[], None]]] = [
            ("write an object", lambda: self._must(self._create(key, [content]), "refused")),
            (
                "refuse to write it again (If-None-Match)",
                lambda: self._must(not self._create(key, [content]), "it was replaced"),
            ),
            (
                "read it",
                lambda: self._must(self._range(key, 6, 5) == content[6:], "other bytes came"),
            ),
            ("list it", self._list_some),
            ("delete it", lambda: self._remove(key)),
        ]
        results = []
        for name, step in steps:
            try:
                step()
                results.append((name, ""))
            except OSError as error:
                fix = getattr(error, "fix", "")
                results.append((name, f"{error.strerror or error}. {fix}".strip()))
        return results

    def _must(self, condition: bool, otherwise: str) -> None:
        if not condition:
            raise OSError(5, otherwise)

    def _list_some(self) -> None:
        with self._translated(self._base):
            next(iter(self._client.list(self._questions, self._base, chunk_size=1)), None)

    def _remove(self, key: str) -> None:
        with self._translated(key):
            self._client.delete(self._questions, key)

    @property
    def _base(self) -> str:
        return f"{self.address.prefix}/" if self.address.prefix else ""

    @cached_property
    def _transfers(self) -> Any:
        return self._connection(_TRANSFER_SECONDS, retries=3)

    @cached_property
    def _questions(self) -> Any:
        """The same bucket for what is asked within transactions, which must not take long."""
        return self._connection(_QUESTION_SECONDS, retries=1)

    def _connection(self, seconds: float, *, retries: int) -> Any:
        from obstore.store import S3Store

        endpoint = multipart.endpoint_variable()
        options: dict[str, Any] = {"connect_timeout": "5s", "timeout": f"{seconds:g}s"}
        if endpoint.startswith("http://"):
            options["allow_http"] = True
        waits = {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=1)}
        retry: Any = {
            "max_retries": retries,
            "retry_timeout": timedelta(seconds=2 * seconds),
            "backoff": {**waits, "base": 2},
        }
        return S3Store(
            self.address.bucket,
            client_options=options,  # type: ignore[arg-type]
            retry_config=retry,
            disable_bulk_delete=True,
        )

    def _translated(self, key: str) -> Any:
        return bucket_errors.translated(self.address.bucket, key)

    def _size(self, key: str) -> int | None:
        try:
            with self._translated(key):
                return int(self._client.head(self._questions, key)["size"])
        except FileNotFoundError:
            return None

    def _range(self, key: str, start: int, length: int) -> bytes:
        with self._translated(key):
            return bytes(self._client.get_range(self._transfers, key, start=start, length=length))

    def _put(self, key: str, pieces: Sequence[Chunk], **options: Any) -> None:
        self._client.put(self._transfers, key, pieces, **options)

    def _create(self, key: str, pieces: Sequence[Chunk]) -> bool:
        """Put an object in one request; return False if there is one of that name."""
        from obstore.exceptions import AlreadyExistsError

        try:
            with self._translated(key):
                self._put(key, pieces, mode="create", use_multipart=False)
        except AlreadyExistsError:
            return False
        return True

    def _put_parts(self, key: str, pieces: Sequence[Chunk], nbytes: int) -> None:
        part = max(_PART, -(-nbytes // _MOST_PARTS))
        with self._translated(key):
            self._put(
                key,
                list(_cut(pieces, part)),
                use_multipart=True,
                chunk_size=part,
                max_concurrency=_PARTS_AT_ONCE,
            )
        if (size := self._size(key)) != nbytes:
            raise OSError(5, f"{size} bytes of {nbytes} arrived")

    def _holds(self, key: str, pieces: Sequence[Chunk], nbytes: int) -> bool:
        """Return whether an object has exactly these bytes."""
        if self._size(key) != nbytes:
            return False
        there, wanted = hashlib.sha256(), hashlib.sha256()
        for start in range(0, nbytes, _PIECE):
            there.update(self._range(key, start, min(_PIECE, nbytes - start)))
        for piece in pieces:
            wanted.update(piece)
        return there.digest() == wanted.digest()


def _cut(pieces: Sequence[Chunk], most: int) -> Iterator[memoryview]:
    """Yield the pieces in views of at most ``most`` bytes: each is copied when it is its turn."""
    for piece in pieces:
        view = memoryview(piece)
        for start in range(0, len(view), most):
            yield view[start : start + most]
