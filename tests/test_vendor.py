"""Files copied from others are those that their list says, to the byte."""

from __future__ import annotations

import hashlib
import re

from branchtrack.paths import asset_dir

VENDOR = asset_dir("static") / "vendor"


def listed() -> dict[str, list[str]]:
    """The other cells of each file's row, by file."""
    rows = re.findall(r"^\| (\S+\.(?:js|css)) \|(.+)\|$", (VENDOR / "README.md").read_text(), re.M)
    return {name: [cell.strip() for cell in cells.split("|")] for name, cells in rows}


def test_every_file_has_the_digest_that_its_row_says() -> None:
    digests = {name: cells[-1] for name, cells in listed().items()}
    found = {name: hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() for name in digests}
    assert len(found) >= 2
    assert found == digests


def test_every_file_is_listed() -> None:
    present = {path.name for path in VENDOR.iterdir() if path.name != "README.md"}
    assert present == listed().keys()


def test_every_file_bears_its_version_and_has_a_licence() -> None:
    for name, cells in listed().items():
        _, version, _, _, licence, _ = cells
        assert f"-{version}." in name
        assert licence in {"0BSD", "MIT", "BSD-3-Clause", "Apache-2.0"}
