"""The factory: errors become pages and JSON of one shape, and answers are cached and compressed."""

from __future__ import annotations

import gzip
import inspect
from typing import Any

import pytest

from branchtrack import errors
from branchtrack.errors import BranchtrackError
from branchtrack.web.app import STATUS, status_of
from tests.web import dom
from tests.web.conftest import Site

FAMILY = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, BranchtrackError)
]


@pytest.mark.parametrize("kind", FAMILY)
def test_every_error_of_the_family_has_a_status(kind: type[BranchtrackError]) -> None:
    found = next(STATUS[one] for one in kind.__mro__ if one in STATUS)
    assert 400 <= found < 600
    assert (
        found < 500
        or kind is BranchtrackError
        or issubclass(
            kind,
            (
                errors.SchemaError,
                errors.StorageError,
                errors.HomeError,
                errors.NotAnswered,
                errors.Unreachable,
                errors.ClusterUnreachable,
            ),
        )
    )


def test_the_nearest_class_decides() -> None:
    assert status_of(errors.NameTaken("run", "a", "b")) == 422
    assert status_of(errors.Ambiguous("node", "ab", ["abc", "abd"])) == 404
    assert status_of(errors.CheckpointMissing("gone")) == 409


def test_an_unknown_run_offers_names_that_come_close(site: Site) -> None:
    page = site.get("/runs/gpt2-dosc", 404)
    assert "gpt2-dosc" in page.one("h1").text
    assert page.by_role("link", "gpt2-docs")[0]["href"] == "/runs/gpt2-docs"


def test_an_error_page_says_what_is_safe_and_what_to_do(site: Site) -> None:
    text = site.get("/compare?a=gpt2-docs/main", 422).one("main").text
    assert "Two branches are needed" in text
    assert "What is safe. Nothing was changed." in text
    assert "What to do." in text


def test_a_page_that_is_not_there_leads_back_to_the_runs(site: Site) -> None:
    page = site.get("/nowhere", 404)
    assert page.by_role("link", "All runs")[0]["href"] == "/"


def test_a_slip_in_an_address_leads_back_to_the_page_without_it(site: Site) -> None:
    page = site.get("/runs/gpt2-docs?metric=loss&from=abc&to=900", 422)
    back = page.by_role("link", "Without from")[0]["href"]
    assert back == "/runs/gpt2-docs?metric=loss&to=900"
    assert site.get(back).one("h1").text == "gpt2-docs"


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/runs/gone?metric=loss&each_row=0a&charts=1", "/runs/gone?metric=loss"),
        (
            "/runs/gpt2-docs/branches/gone/steer?part=requests",
            "/runs/gpt2-docs/branches/gone/steer",
        ),
    ],
)
def test_a_live_part_of_what_is_gone_leads_to_the_page_that_says_so(
    site: Site, path: str, target: str
) -> None:
    headers = {"HX-Request": "true", "HX-Target": "div#live"}
    answer = site.client.get(path, headers=headers)
    assert answer.status_code == 404
    assert answer.headers["HX-Redirect"] == target
    assert "HX-Redirect" not in site.client.get(path).headers
    refused = site.client.get("/runs/gpt2-docs?from=x", headers=headers)
    assert refused.status_code == 422 and "HX-Redirect" not in refused.headers


def test_a_method_that_a_page_does_not_have_is_refused(site: Site) -> None:
    assert site.client.post("/runs/gpt2-docs").status_code == 405


@pytest.mark.parametrize(
    ("path", "status", "kind"),
    [
        ("/api/v1/runs/nope/tree", 404, "NotFound"),
        ("/api/v1/nodes/ffff", 404, "NotFound"),
        ("/api/v1/curve?branch=gpt2-docs/main&points=x", 422, "InvalidInput"),
        ("/api/v1/curve", 422, "InvalidInput"),
        ("/api/v1/nothing", 404, "NotFound"),
    ],
)
def test_the_api_tells_errors_in_one_shape(site: Site, path: str, status: int, kind: str) -> None:
    answer = site.client.get(path)
    assert answer.status_code == status
    assert answer.json is not None and answer.json.keys() == {"error"}
    error: dict[str, Any] = answer.json["error"]
    assert error.keys() == {"type", "status", "what", "safe", "fix", "field", "facts"}
    assert (error["type"], error["status"]) == (kind, status)


def test_a_database_that_fails_is_told_as_such(empty: Site) -> None:
    with empty.database.transaction() as connection:
        connection.exec_driver_sql("DROP TABLE events")
    page = empty.get("/runs", 200)
    assert page.one("h1").text == "Runs"
    with empty.database.transaction() as connection:
        connection.exec_driver_sql("DROP TABLE branches")
    page = empty.get("/runs", 503)
    assert "The database failed" in page.one("h1").text


def test_a_surprise_is_logged_and_told_without_its_details(
    empty: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("secret details")

    monkeypatch.setattr("branchtrack.web.pages.runs.respond", fail)
    page = empty.get("/", 500)
    assert "RuntimeError" in page.one("h1").text
    assert "secret details" not in page.text
    assert "secret details" in caplog.text


def test_vendored_files_are_kept_for_a_year_and_our_own_asked_for_again(site: Site) -> None:
    vendored = site.client.get("/static/vendor/htmx-4.0.1.min.js")
    assert "immutable" in vendored.headers["Cache-Control"]
    own = site.client.get("/static/app.css")
    assert own.headers["Cache-Control"] == "no-cache"
    again = site.client.get("/static/app.css", headers={"If-None-Match": own.headers["ETag"]})
    assert again.status_code == 304


@pytest.mark.parametrize(
    "path", ["/runs/gpt2-docs", "/static/app.css", "/api/v1/runs/gpt2-docs/tree"]
)
def test_text_is_compressed_for_those_who_can_read_it(site: Site, path: str) -> None:
    plain = site.client.get(path)
    packed = site.client.get(path, headers={"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in packed.headers["Vary"]
    assert len(packed.data) == int(packed.headers["Content-Length"]) < len(plain.data)
    assert len(gzip.decompress(packed.data)) == pytest.approx(len(plain.data), rel=0.02)


def test_a_compressed_file_is_still_recognised_by_its_tag(site: Site) -> None:
    ask = {"Accept-Encoding": "gzip"}
    tag = site.client.get("/static/app.css", headers=ask).headers["ETag"]
    again = site.client.get("/static/app.css", headers={**ask, "If-None-Match": tag})
    assert again.status_code == 304


def test_every_page_has_the_landmarks_and_one_heading(site: Site) -> None:
    for path in ("/", "/runs/gpt2-docs", "/compare?a=gpt2-docs/main&b=gpt2-docs/hot", "/nowhere"):
        page = dom.parse(site.client.get(path).get_data(as_text=True))
        assert len(page.all("h1")) == 1
        assert page.one("html")["lang"] == "en"
        assert page.one("a", class_="skip")["href"] == "#" + page.one("main")["id"]
        ids = [one["id"] for one in page.walk() if one.get("id")]
        assert len(ids) == len(set(ids))
