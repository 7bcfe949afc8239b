"""The page that says what ran."""

from __future__ import annotations

from branchtrack.db import segments
from branchtrack.db.storage import texts
from tests.web.conftest import Site


def test_it_shows_the_command_the_commit_and_the_difference_as_text(own: Site) -> None:
    path = f"/nodes/{own.node('main')}/code"
    assert "recorded nothing" in own.get(path).one("main").text
    with own.database.transaction() as connection:
        code = {
            "command": ["python", "train.py"],
            "commit": "c" * 40,
            "branch": "trunk",
            "diff": texts.put(connection, "-<b>\n+x\n"),
            "diff_bytes": 8,
            "imported": {"torch": "2.13.0"},
            "untracked": ["new.py"],
            "untracked_count": 3,
        }
        segments.set_code(connection, own.lines["main"].segment.id, code)
    page = own.get(path)
    assert page.one("pre").text.strip() == "-<b> +x"
    text = page.one("main").text
    assert "python train.py" in text and "new.py and 2 more" in text and "torch 2.13.0" in text
    assert page.by_role("link", own.node("main")[:8])
