"""Drawings as files of their own."""

from __future__ import annotations

from xml.etree import ElementTree

from branchtrack.web.svg import standalone
from branchtrack.web.svg.marks import el
from tests.web import dom
from tests.web.conftest import Site


def test_classes_become_attributes() -> None:
    drawing = el("g", el("path", d="M0,0", class_="curve"), class_="b1 d2")
    text = standalone.inlined(drawing)
    assert "class=" not in text
    assert 'color="#b04a00" stroke-dasharray="2 3"' in text and 'stroke="currentColor"' in text


def test_text_of_a_drawing_is_left_as_it_is() -> None:
    drawing = el("text", 'a class="b1" <b>')
    assert standalone.inlined(drawing) == drawing


def test_drawings_stand_below_each_other() -> None:
    part = el("svg", width="100%", height=50)
    root = ElementTree.fromstring(standalone.stack([("a", part, part, 50), ("b", part, part, 60)]))
    assert root.get("height") == "110"
    titles = [each.text for each in root if each.tag.endswith("text")]
    assert titles == ["a", "b"]


def test_every_class_of_a_chart_says_something_in_a_file(site: Site) -> None:
    answer = site.client.get("/runs/gpt2-docs/chart.svg?y=log&at=500")
    assert answer.mimetype == "image/svg+xml"
    assert "attachment" not in answer.headers["Content-Disposition"]
    text = answer.get_data(as_text=True)
    ElementTree.fromstring(text)
    assert "class=" not in text and "var(" not in text
    page = site.get("/compare?a=gpt2-docs/main&b=gpt2-docs/hot&y=log&at=500")
    used = {
        name for each in page.all(class_="plot") for part in walk(each) for name in part.classes
    }
    assert used - standalone.ATTRIBUTES.keys() <= {"d0", "minor"}


def walk(element: dom.Element) -> list[dom.Element]:
    return [element, *(part for child in element.children for part in walk(child))]


def test_a_title_stands_above_the_axis_and_a_long_one_is_cut_but_kept() -> None:
    part = el("svg", width="100%", height=50)
    root = ElementTree.fromstring(standalone.stack([("m" * 300, part, part, 50)]))
    (title,) = [each for each in root if each.tag.endswith("text")]
    assert float(title.get("y", "99")) <= 20 and len(title.text or "") == 120
    assert [each.text for each in title] == ["m" * 300]


def test_a_picture_in_the_dark_has_no_colour_of_the_light_theme(site: Site) -> None:
    path = "/runs/gpt2-docs/chart.svg?at=500"
    light, dark = (
        site.client.get(f"{path}&theme={theme}").get_data(as_text=True)
        for theme in ("light", "dark")
    )
    assert light == site.client.get(path).get_data(as_text=True)
    known = {light_colour for light_colour in standalone._DARK if light_colour in light}
    assert len(known) >= 8 and not any(each in dark for each in known)
    assert site.client.get(f"{path}&theme=blue").status_code == 422
