"""The end of a launch's log."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from branchtrack.core.records import Launch
from branchtrack.web.view import log_tail
from tests.web.conftest import Site


@pytest.fixture
def launch(own: Site) -> Launch:
    """A launch without a log."""
    main = own.lines["main"]
    assert main.head is not None
    return main.grower.order(main.head, "side")[1]


def test_the_last_lines_are_read(own: Site, launch: Launch) -> None:
    own.config.make_home()
    (own.config.logs / f"{launch.id}.log").write_text("\n".join(f"line {n}" for n in range(5000)))
    assert log_tail.tail(own.config, launch).splitlines() == [
        f"line {n}" for n in range(4985, 5000)
    ]


def test_bytes_that_are_no_text_are_shown_somehow(own: Site, launch: Launch) -> None:
    own.config.make_home()
    (own.config.logs / f"{launch.id}.log").write_bytes(b"\xff\xfe broken")
    assert log_tail.tail(own.config, launch).endswith("broken")


def test_a_log_that_is_not_there_is_empty(own: Site, launch: Launch) -> None:
    assert log_tail.tail(own.config, launch) == ""


def test_no_other_file_is_ever_read(own: Site, launch: Launch, tmp_path: Path) -> None:
    own.config.make_home()
    secret = tmp_path / "secret"
    secret.write_text("secret")
    (own.config.logs / "link.log").symlink_to(secret)
    for path in (str(secret), f"{own.config.logs}/../../secret", f"{own.config.logs}/link.log"):
        assert log_tail.tail(own.config, replace(launch, log=path)) == ""
