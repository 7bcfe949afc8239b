"""Pages and their fragments from one template."""

from __future__ import annotations

import pytest

from branchtrack.web import rendering
from tests.web.conftest import Site


@pytest.mark.parametrize(
    ("headers", "is_page"),
    [
        ({}, True),
        ({"HX-Request": "true"}, True),
        ({"HX-Request": "true", "HX-Target": "body"}, True),
        ({"HX-Request": "true", "HX-Target": "div#nothing"}, True),
        ({"HX-Request": "true", "HX-Target": "div#list"}, False),
        ({"HX-Target": "div#list"}, True),
        ({"HX-Request": "true", "HX-Target": "main#main"}, True),
    ],
)
def test_a_fragment_is_answered_only_for_a_block_that_there_is(
    empty: Site, headers: dict[str, str], is_page: bool
) -> None:
    text = empty.client.get("/", headers=headers).get_data(as_text=True)
    assert ("<!doctype html>" in text) == is_page


def test_caches_are_told_what_an_answer_depends_on(empty: Site) -> None:
    vary = empty.client.get("/").headers["Vary"]
    assert "HX-Request" in vary and "Cookie" in vary


def test_the_indentation_of_a_template_is_not_sent(empty: Site) -> None:
    template = empty.app.jinja_env.from_string(
        "<ul>\n  {% if 1 %}\n\t  <li>a\n    b</li>\n  {% endif %}\n</ul>"
    )
    assert template.render() == "<ul>\n<li>a\nb</li>\n</ul>"


def test_one_request_has_one_moment(empty: Site) -> None:
    with empty.app.test_request_context("/"):
        assert rendering.now() == rendering.now()
