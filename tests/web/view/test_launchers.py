"""Where an order trains is chosen from the home's workers and the profiles, if there are any."""

from __future__ import annotations

from branchtrack.control.launchers import profiles
from branchtrack.core.actors import Actor
from branchtrack.db.orders import launches
from branchtrack.web.view import launchers
from tests.web.conftest import Site


def add(own: Site) -> None:
    profiles.add(own.database, "gpu", "slurm", ["--partition=main"], actor=Actor("ann"))


def test_without_profiles_there_is_nothing_to_choose(own: Site) -> None:
    assert launchers.choices([]) == []
    for path in pages(own):
        assert 'name="on"' not in own.get(path).text


def test_the_forms_offer_the_profiles(own: Site) -> None:
    add(own)
    for path in pages(own):
        select = own.get(path).one("select", id="on")
        assert "this home's workers" in select.text and "gpu (Slurm)" in select.text
        assert "main" not in select.text


def test_an_order_for_a_profile_keeps_its_options(own: Site) -> None:
    add(own)
    path = f"/nodes/{own.node('main')}/resume"
    assert own.client.post(path, data={"name": "far", "on": "gpu"}).status_code == 303
    with own.database.read() as connection:
        (launch,) = [each for each in launches.unfinished(connection) if each.branch == "far"]
    assert launch.launcher == {"name": "gpu", "kind": "slurm", "options": ["--partition=main"]}
    queue = own.get("/launches").text
    assert "Slurm: not submitted yet" in queue
    assert "Slurm: not submitted yet" in own.get(f"/launches/{launch.id}").text
    for page in ("/runs/digits", "/runs/digits/branches/far/steer"):
        assert "Slurm: not submitted yet" in own.get(page).text, page


def test_a_form_can_name_nothing_else(own: Site) -> None:
    add(own)
    for on in ("slurm", "tpu", "--partition=main"):
        answer = own.client.post(
            f"/nodes/{own.node('main')}/resume", data={"name": "far", "on": on}
        )
        assert answer.status_code == 422 and "gpu" in answer.get_data(as_text=True)


def pages(own: Site) -> list[str]:
    node = own.node("main")
    return [
        f"/nodes/{node}/resume",
        f"/runs/digits/nodes/{node}/trial",
        "/runs/digits/branches/main/continue",
    ]


def test_a_preview_says_where_it_would_train_and_counts_no_queue_of_workers(own: Site) -> None:
    add(own)
    path = f"/nodes/{own.node('main')}/resume/preview"
    here = own.post(path, 200, name="c", set_lr="x0.5,x0.1").one("section", id="preview").text
    assert "gpu" not in here and "one after another" in here
    page = own.post(path, 200, name="c", set_lr="x0.5,x0.1", on="gpu")
    far = page.one("section", id="preview").text
    assert "gpu: a job of Slurm for each branch" in far and "one after another" not in far
    assert "without the wait for its jobs" in far
    assert launchers.words({"name": "gpu", "kind": "ray"}, 1) == "gpu: a job of Ray"


def test_a_profile_that_was_removed_is_named_at_its_field(own: Site) -> None:
    add(own)
    page = own.post(f"/nodes/{own.node('main')}/resume", 422, name="far", on="old")
    alert = page.one(role="alert")
    assert "1 field cannot be accepted: Where. Nothing was changed." in alert.text
    assert alert.one("a")["href"] == "#error-on"
    assert page.one(id="error-on").text == "There is no launcher 'old'. Allowed: gpu."
    settings = next(d for d in page.all("details") if "Optimizer" in d.text)
    assert "open" not in settings.attributes
