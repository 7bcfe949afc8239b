"""The distance between weights, which a page asks for after it is shown."""

from __future__ import annotations

import pytest

from branchtrack.web.pages import compare
from tests.web import dom
from tests.web.conftest import Site

BOTH = "a=gpt2-docs/main&b=gpt2-docs/cooler"
_PART = {"HX-Request": "true", "HX-Target": "div#weights"}


def test_both_comparisons_lead_to_the_weights(site: Site) -> None:
    node = site.node("main")
    for address in (f"/compare?{BOTH}", f"/compare/nodes?a={node}&b={site.node('cooler')}"):
        page = site.get(address)
        asked = page.one(id="weights")["hx-get"]
        assert asked.endswith("&most=page")
        link = page.by_role("link", "Measure the distance between the weights")[0]["href"]
        assert asked == link + "&most=page"
        assert site.get(link).one("h1").text.startswith("Weights of ")


def test_each_module_has_a_bar_and_numbers(site: Site) -> None:
    page = site.get(f"/compare/weights?{BOTH}")
    rows = {row["module"]: row for row in page.table("Weights")}
    assert list(rows) == ["frozen", "head", "all"]
    assert rows["frozen"]["distance"] == "0.000" and rows["frozen"]["cosine"] == "–"
    bars = page.one("main").all("meter")
    assert bars[0]["value"] == "0.0" and bars[1]["value"] == bars[1]["max"]
    assert bars[1]["aria-label"].startswith("head: distance ")


def test_htmx_gets_the_part_alone(site: Site) -> None:
    answer = site.client.get(f"/compare/weights?{BOTH}&most=page", headers=_PART)
    text = answer.get_data(as_text=True)
    assert answer.status_code == 200 and "<h1" not in text and "<meter" in text


def test_large_weights_are_read_when_somebody_asks(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare, "_UNASKED_BYTES", 10)
    answer = site.client.get(f"/compare/weights?{BOTH}&most=page", headers=_PART)
    assert "Measure the distance: reads " in answer.get_data(as_text=True)
    assert site.get(f"/compare/weights?{BOTH}").one("main").all("meter")


@pytest.mark.parametrize(
    ("query", "status"), [("a=gpt2-docs/main", 422), (f"{BOTH}&most=x", 422), ("a=x/y&b=x/z", 404)]
)
def test_what_cannot_be_compared_is_refused(site: Site, query: str, status: int) -> None:
    assert isinstance(site.get(f"/compare/weights?{query}", status), dom.Element)


def test_a_node_is_not_compared_with_itself(own: Site) -> None:
    main = own.lines["main"]
    head = main.commit("checkpoint", 40)
    for pair in (f"a={head.id}&b={head.id}", "a=digits/main&b=digits@40"):
        assert "with itself" in own.get(f"/compare/weights?{pair}", 422).one("h1").text
