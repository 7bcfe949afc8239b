"""Pages take the parameters that they know, and all that their own links and forms send."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import parse_qsl, urlsplit

import pytest

from branchtrack.web.input import parameters
from tests.web import dom
from tests.web.conftest import Site

RUN, BRANCH = "/runs/gpt2-docs", "/runs/gpt2-docs/branches/more-decay"
ADDRESSES = ("href", "hx-get", "data-url", "data-charts", "src", "data-href")
#: Not pages: programs read them, or browsers alone.
OTHERS = ("static", "theme.icon", "it.show_state", "it.list_events")


def pages(site: Site) -> list[str]:
    node, pair = site.node("main"), "a=gpt2-docs/main&b=gpt2-docs/hot"
    several = f"{pair}&with=gpt2-docs/cooler"
    return [
        *("/runs", "/runs?by=status&q=gpt2", "/launches", "/alerts", "/agents", "/storage"),
        *("/trash", "/tokens", "/me", "/help", f"/nodes/{node}", f"/nodes/{node}/code"),
        *(RUN, f"{RUN}?q=lr&metric=lr&from=10&branch=main&fold=off", f"{RUN}?path=cooler"),
        *(f"{RUN}/{name}" for name in ("alerts", "audit", "manage", "chart/table")),
        *(f"{BRANCH}/{name}" for name in ("steer", "stop", "continue", "data", "manage")),
        *(f"/compare?{pair}", f"/compare?{several}", f"/compare?{pair}&from=10&at=20"),
        *(f"/compare/nodes?a={node}&b=gpt2-docs/hot", f"/compare/weights?{pair}"),
        f"/nodes/{node}/resume",
    ]


def sent(page: dom.Element) -> Iterator[tuple[str, list[str]]]:
    """The addresses that a page leads to by GET, each with the names of its parameters."""
    for attribute in ADDRESSES:
        for element in page.all():
            if address := element.attributes.get(attribute):
                yield address, [name for name, _text in parse_qsl(urlsplit(address).query, True)]
    for form in page.all("form"):
        outside = page.all(form=form["id"]) if "id" in form.attributes else []
        names = [one["name"] for one in (*form.walk(), *outside) if "name" in one.attributes]
        if form.get("method") == "get":
            yield form["action"], names
        for button in form.all("button", formmethod="get"):
            yield button["formaction"], names


def test_every_page_says_what_it_takes(site: Site) -> None:
    rules = [rule for rule in site.app.url_map.iter_rules() if "GET" in (rule.methods or ())]
    endpoints = {rule.endpoint for rule in rules if not rule.endpoint.startswith("api")}
    assert endpoints - {*OTHERS} == parameters.TAKEN.keys()


def test_what_pages_link_to_and_send_is_taken(site: Site) -> None:
    adapter = site.app.url_map.bind("localhost")
    checked = 0
    for path in pages(site):
        for address, names in sent(site.get(path)):
            if not address.startswith("/"):
                continue
            endpoint, _values = adapter.match(urlsplit(address).path, method="GET")
            taken = parameters.TAKEN.get(endpoint, ())
            assert all(parameters.is_taken(name, taken) for name in names), (path, address, names)
            checked += len(names)
    assert checked > 500


@pytest.mark.parametrize("name", ["sotr", "", "\x00", "set.lr", "Sort"])
def test_a_parameter_that_a_page_does_not_take_is_refused_with_those_it_does(
    site: Site, name: str
) -> None:
    for path in ("/runs", RUN, "/help", f"/nodes/{site.node('main')}", "/compare"):
        answer = site.client.get(path, query_string={name: "loss"})
        assert answer.status_code == 422 and "takes no parameter" in answer.text
    listed = site.get("/runs?sotr=loss", 422).one("main").text
    assert "'sotr'" in listed and "q, sort, columns, by, page" in listed


def test_a_setting_is_taken_where_it_fills_in_a_form(site: Site) -> None:
    form = site.get(f"/nodes/{site.node('main')}/resume?set.lr=1e-5&name=calm")
    assert form.one("input", name="name")["value"] == "calm"
    assert site.client.get(f"{BRANCH}/steer?set.lr=1e-5&token=x").status_code != 422
