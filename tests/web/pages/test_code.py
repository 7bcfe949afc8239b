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


def test_it_shows_what_changed_in_the_code_since_the_process_before(own: Site) -> None:
    main = own.lines["main"]
    assert main.head is not None
    fork = main.grower.fork(main.head, "other", lr=1e-4)
    assert fork.head is not None
    with own.database.transaction() as connection:
        for line, text in ((main, "lr = 1\n"), (fork, "lr = 2\n")):
            sources = {"train.py": texts.put(connection, text)}
            code = {"command": ["python", "train.py"], "sources": sources}
            segments.set_code(connection, line.segment.id, code)
    page = own.get(f"/nodes/{fork.head.id}/code")
    difference = page.one("pre", aria_label="Difference of the code").text
    assert "-lr = 1" in difference and "+lr = 2" in difference
    assert "at which its process began" in page.heading("Changed since").text
    same = own.get(f"/nodes/{main.head.id}/code?against={main.head.id}")
    assert "the script and its own modules are the same" in same.one("main").text
    compared = own.get("/compare?a=digits/main&b=digits/other")
    (link,) = compared.by_role("link", "code of other")
    assert own.get(link["href"]).one("pre", aria_label="Difference of the code").text == difference
    assert [row["fact"] for row in compared.table("Code and environment")] == ["own code"]
