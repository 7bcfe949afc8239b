"""Bundles that somebody has changed, with or without new digests."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

Members = dict[str, bytes]
Rows = list[dict[str, Any]]


def members_of(path: Path) -> Members:
    """The bytes of every member, in order."""
    with tarfile.open(path, "r:") as tar:
        return {each.name: tar.extractfile(each).read() for each in tar}


def write_members(path: Path, members: Members) -> None:
    """A tar of members in that order."""
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def forge(path: Path, members: Members, **facts: Any) -> None:
    """Write members with a header that is right about their digests, and holds ``facts``."""
    header = {**json.loads(members["bundle.json"]), **facts}
    header["members"] = [
        [name, len(content), hashlib.sha256(content).hexdigest()]
        for name, content in members.items()
        if name.startswith("rows/")
    ]
    header["tensors"] = sum(name.startswith("tensors/") for name in members)
    header.pop("sha256")
    text = json.dumps(header, sort_keys=True, separators=(",", ":"))
    header["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    write_members(path, {**members, "bundle.json": json.dumps(header).encode()})


def forge_rows(path: Path, table: str, change: Callable[[Rows], Any]) -> None:
    """Change the rows of a table, with digests to match."""
    members = members_of(path)
    name = f"rows/{table}.jsonl"
    rows = [json.loads(line) for line in members[name].splitlines()]
    change(rows)
    members[name] = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    forge(path, members)
