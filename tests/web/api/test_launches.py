"""The queue and its launches as JSON."""

from __future__ import annotations

import pytest

from branchtrack.core.records import Launch
from branchtrack.db.orders import launches, queue
from tests.web.conftest import Site

API = "/api/v1/launches"


@pytest.fixture
def launch(own: Site) -> Launch:
    main = own.lines["main"]
    assert main.head is not None
    return main.grower.order(main.head, "side", "to see")[1]


def start(own: Site, launch: Launch) -> None:
    with own.database.transaction() as connection:
        queue.claim(connection, "w", launch.id)
        launches.move(connection, launch.id, "running", "w", pid=77)


def test_the_queue_is_listed_with_places_and_workers(own: Site, launch: Launch) -> None:
    listed = own.client.get(API).get_json()
    assert (listed["total"], listed["workers"]) == (1, [])
    (line,) = [one for one in listed["launches"] if one["launch"] == launch.id]
    assert (line["state"], line["position"], line["branch"]) == ("queued", 1, "side")
    assert (line["priority"], line["labels"]) == (0, [])


def test_one_launch_is_told_with_its_place_and_its_effect(own: Site, launch: Launch) -> None:
    told = own.client.get(f"{API}/{launch.id[:8]}").get_json()
    assert (told["launch"], told["position"], told["mode"]) == (launch.id, 1, "exact")
    assert own.client.get(f"{API}/0000").status_code == 404


def test_the_end_of_its_output_is_told(own: Site, launch: Launch) -> None:
    path = f"{API}/{launch.id}/log"
    assert own.client.get(path).get_json()["text"] == ""
    own.config.make_home()
    (own.config.logs / f"{launch.id}.log").write_text("one\ntwo\nthree\n")
    told = own.client.get(f"{path}?lines=2").get_json()
    assert told == {"launch": launch.id, "state": "queued", "text": "two\nthree"}
    for wrong in ("0", "401", "x"):
        assert own.client.get(f"{path}?lines={wrong}").status_code == 422


def test_a_waiting_launch_is_cancelled_at_once(own: Site, launch: Launch) -> None:
    answer = own.client.post(f"{API}/{launch.id}/cancel")
    assert answer.status_code == 200
    told = answer.get_json()
    assert (told["state"], told["withdrawn"]) == ("cancelled", True)
    assert own.client.post(f"{API}/{launch.id}/cancel").status_code == 422


def test_one_with_a_process_is_asked_to_end(own: Site, launch: Launch) -> None:
    start(own, launch)
    answer = own.client.post(f"{API}/{launch.id}/cancel")
    assert answer.status_code == 202
    assert (answer.get_json()["state"], bool(answer.get_json()["cancel"])) == ("running", True)


def test_launches_that_have_ended_come_page_by_page(own: Site) -> None:
    main = own.lines["main"]
    assert main.head is not None
    ended = []
    for number in range(3):
        _branch, ordered = main.grower.order(main.head, f"side-{number}", "to see")[:2]
        assert own.client.post(f"{API}/{ordered.id}/cancel").status_code == 200
        ended.insert(0, ordered.id)
    page = own.client.get(f"{API}?limit=2").get_json()
    assert [line["launch"] for line in page["ended"]] == ended[:2]
    page = own.client.get(API, query_string={"limit": 2, "before": page["next"]}).get_json()
    assert [line["launch"] for line in page["ended"]] == ended[2:] and page["next"] is None
    for before in ("x", "nan~1", "1~x", "1e999~1"):
        answer = own.client.get(API, query_string={"before": before})
        assert answer.status_code == 422, before
