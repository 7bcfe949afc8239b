"""What ships with the package is there, from a checkout as from a wheel."""

from __future__ import annotations

from pathlib import Path

import pytest

from branchtrack import paths


@pytest.mark.parametrize(
    ("folder", "file"),
    [
        ("templates", "base.html"),
        ("static", "app.css"),
        ("migrations", "env.py"),
    ],
)
def test_every_folder_that_ships_is_there(folder: str, file: str) -> None:
    assert (paths.asset_dir(folder) / file).exists()


def test_the_assets_of_a_wheel_come_before_those_of_a_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "branchtrack"
    monkeypatch.setattr(paths, "_PACKAGE", package)
    assert paths.asset_dir("static") == tmp_path / "static"
    (package / "_assets" / "static").mkdir(parents=True)
    assert paths.asset_dir("static") == package / "_assets" / "static"
