"""The comparison of two nodes."""

from __future__ import annotations

from tests.web.conftest import Site
from tests.web.test_budgets import MOST, statements


def test_two_ticked_nodes_are_compared_as_nodes(site: Site) -> None:
    main, cooler = site.node("main"), site.node("cooler")
    answer = site.client.get(f"/compare?pick={main}&pick={cooler}&metric=loss&run=gpt2-docs")
    assert (answer.status_code, answer.location) == (303, f"/compare/nodes?a={main}&b={cooler}")
    page = site.get(answer.location)
    assert page.one("h1").text == f"Nodes {main[:8]} and {cooler[:8]}"
    assert page.table("Settings that differ") == [
        {"setting": "lr", main[:8]: "1e-3", cooler[:8]: "3e-4"},
        {"setting": "max_grad_norm", main[:8]: "1", cooler[:8]: "0.5"},
    ]
    metrics = page.table("Metrics at both")
    assert metrics[1] == {
        "metric": "loss",
        f"{main[:8]}, step 1,400": "2.214",
        f"{cooler[:8]}, step 2,000": "2.043",
        "difference": "−0.171",
    }
    changes = [(row["step"], row["what changed"]) for row in page.table("Changes")]
    assert changes == [("400", "lr 1e-3 → 3e-4"), ("800", "max_grad_norm 1 → 0.5")]
    link = page.by_role("link", "Curves of both branches")[0]["href"]
    assert link == "/compare?a=gpt2-docs/main&b=gpt2-docs/cooler&at=1400&at=2000"
    assert len(site.get(link).all("line", class_="guide")) == 4


def test_two_nodes_of_one_branch_lead_to_its_curve(own: Site) -> None:
    main = own.lines["main"]
    first = own.node("main")
    main.commit("intervention", 60, {"lr": 1e-4}, "flat", loss=0.4)
    page = own.get(f"/compare/nodes?a={first}&b={own.node('main')}")
    link = page.by_role("link", "Both on the curve of main")[0]["href"]
    assert link == "/runs/digits?branch=main&at=40&at=60"
    assert page.table("Changes")[0]["what changed"] == "lr 5e-3 → 1e-4"
    assert f"{first[:8]} is above the other" in page.one("main").text


def test_a_branch_ticked_beside_a_node_stands_for_its_last_node(site: Site) -> None:
    node = site.node("main")
    answer = site.client.get(f"/compare?pick=gpt2-docs/hot&pick={node}")
    assert answer.location == f"/compare/nodes?a=gpt2-docs/hot&b={node}"
    assert site.node("hot")[:8] in site.get(answer.location).one("h1").text


def test_what_cannot_be_compared_is_refused(site: Site) -> None:
    node = site.node("main")
    assert "with itself" in site.get(f"/compare/nodes?a={node}&b={node}", 422).one("h1").text
    site.get(f"/compare/nodes?a={node}", 422)
    site.get(f"/compare/nodes?a={node}&b=0000000000000000", 404)


def test_the_page_of_an_error_leads_back_to_the_run(site: Site) -> None:
    page = site.get(f"/compare?pick={site.node('main')}&run=gpt2-docs", 422)
    assert "One was ticked" in page.one("h1").text
    assert page.by_role("link", "Back to gpt2-docs")[0]["href"] == "/runs/gpt2-docs"


def test_it_stays_in_its_budget(site: Site) -> None:
    with statements(site) as seen:
        site.get(f"/compare/nodes?a={site.node('main')}&b={site.node('cooler')}")
    assert len(seen) <= MOST, seen
