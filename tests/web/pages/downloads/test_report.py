"""A run as one file."""

from __future__ import annotations

import re

from tests.web import dom
from tests.web.conftest import Site
from tests.web.tried import make_trial


def report(site: Site, query: str = "") -> tuple[str, dom.Element]:
    answer = site.client.get(f"/runs/gpt2-docs/report.html{query}")
    assert answer.status_code == 200
    assert "attachment; filename=gpt2-docs.html" == answer.headers["Content-Disposition"]
    text = answer.get_data(as_text=True)
    return text, dom.parse(text)


def test_a_report_needs_nothing_but_itself(site: Site) -> None:
    text, page = report(site)
    assert page.all("script") == page.all("link") == page.all("img") == page.all("a") == []
    assert not re.search(r'(href|src)="', text.replace("data-href", ""))


def test_a_report_has_the_tree_its_charts_branches_changes_and_proofs(site: Site) -> None:
    _, page = report(site)
    words = page.text
    for name in site.lines:
        assert name in words
    assert "1.886" in words and "certified exact (steps 800 to 1,400)" in words
    assert "fork of main · lr 1e-3 → 3e-4" in words and "✓ lr 3e-4 used at step 401" in words
    assert "anna · “oscillating”" in words
    picture = page.all("svg")[0]
    assert {"loss", "eval_loss", "lr", "grad_norm"} <= {one.text for one in picture.all("text")}


def test_a_report_can_be_of_some_branches_and_metrics(site: Site) -> None:
    _, page = report(site, "?branch=hot&metric=lr")
    assert "1 of 4 branches" in page.text and "cooler" not in page.all("table")[0].text
    assert site.client.get("/runs/gpt2-docs/report.html?metric=nope").status_code == 404


def test_a_report_has_what_was_tried_and_its_verdicts(own: Site) -> None:
    main = own.lines["main"]
    change = main.commit("intervention", 50, {"lr": 5e-3})
    pairs = [(2.0, 1.99), (2.1, 2.088), (1.9, 1.891), (2.05, 2.04)]
    make_trial(main.grower, change, pairs, subject=change.id)
    page = own.get("/runs/digits/report.html")
    (table,) = [t for t in page.all("table") if "verdict" in t.one("thead").text]
    cells = [cell.text for cell in table.one("tbody").all("td")]
    assert cells[:2] == ["lr=x0.9", "helps"] and cells[2].startswith("−0.0102")
    assert "tried: helps −0.010, 4 pairs" in page.text
