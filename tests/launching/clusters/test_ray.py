"""Ray by its job API: one job for each submission, lost ones found, a silent cluster told of."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from branchtrack import control
from branchtrack.checkpoints.packs import Store
from branchtrack.config import Config
from branchtrack.core.launchers import profiles
from branchtrack.core.launchers.jobs import job_name
from branchtrack.core.records import Launch
from branchtrack.db.engine import Database
from branchtrack.db.orders import jobs
from branchtrack.errors import ClusterUnreachable, InvalidInput, LaunchFailed
from branchtrack.launching.clusters import job_files, ray, registry
from branchtrack.launching.clusters import shepherd as shepherds
from branchtrack.launching.clusters.cluster import JobOrder
from branchtrack.launching.clusters.ray import Ray
from branchtrack.launching.clusters.shepherd import Shepherd
from tests.launching.clusters.fake_ray import FakeClient
from tests.launching.helpers import is_withdrawn, reread

ADDRESS = "http://head:8265"
Order = Callable[..., Launch]


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> FakeClient:
    """The job API of every address; this machine has what its client takes."""
    fake = FakeClient()
    monkeypatch.setattr(ray, "_connect", lambda address: fake)
    monkeypatch.setattr(ray, "find_spec", lambda name: name)
    for name in ray.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return fake


@pytest.fixture
def on_ray(database: Database, store: Store) -> Order:
    """Order a launch of the run ``fake`` for Ray."""

    def make(name: str, *options: str, retries: int | None = None) -> Launch:
        launcher = profiles.launcher("ray", "ray", [f"--address={ADDRESS}", *options])
        order = control.ForkOrder(["fake@0"], {}, name=name)
        how = {} if retries is None else {"retries": retries}
        (launch,) = control.create_launches(
            database, store, order, actor="me", launcher=launcher, **how
        )
        return launch

    return make


def job(options: Sequence[str] = (), submission: str = "branchtrack-0a") -> JobOrder:
    path = Path("/home/h/logs/0a.job.sh")
    return JobOrder("branchtrack-0a", options, path, path, path.parent, submission)


def test_a_job_asks_for_its_resources_and_shows_nothing_secret(client: FakeClient) -> None:
    order = job(["--num-cpus=2", "--num-gpus=1", "--memory=1G", "--resources=disk=1"])
    assert Ray(ADDRESS).submit(order) == "branchtrack-0a"
    (sent,) = client.orders
    assert sent["entrypoint"] == "/bin/bash /home/h/logs/0a.job.sh"
    assert sent["entrypoint_num_cpus"] == 2 and sent["entrypoint_num_gpus"] == 1
    assert sent["entrypoint_memory"] == 1 << 30 and sent["entrypoint_resources"] == {"disk": 1}
    assert sent["runtime_env"] == {"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": "90"}}
    shown = " ".join(Ray(ADDRESS).command(order))
    assert shown.startswith(f"ray job submit --address={ADDRESS} --submission-id=branchtrack-0a")
    assert '--entrypoint-resources={"disk": 1}' in shown
    assert shown.endswith("-- /bin/bash /home/h/logs/0a.job.sh")


def test_a_second_job_of_one_id_counts_as_submitted(client: FakeClient) -> None:
    assert Ray(ADDRESS).submit(job()) == Ray(ADDRESS).submit(job())
    assert list(client.jobs) == ["branchtrack-0a"]


def test_a_refusal_and_silence_are_different(client: FakeClient) -> None:
    client.error = RuntimeError("Request failed with status code 400: No such thing.")
    with pytest.raises(LaunchFailed, match="Ray refused the job: No such thing"):
        Ray(ADDRESS).submit(job())
    errors = (
        ConnectionError("Failed to connect"),
        RuntimeError("Request failed with status code 500: x"),
    )
    for client.error in errors:
        with pytest.raises(ClusterUnreachable, match=f"Ray at {ADDRESS} does not answer"):
            Ray(ADDRESS).submit(job())
        with pytest.raises(ClusterUnreachable):
            Ray(ADDRESS).jobs(["branchtrack-0a"])


def test_a_client_that_hangs_keeps_nobody(
    client: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray, "PATIENCE", 0.05)
    monkeypatch.setattr(client, "list_jobs", lambda: time.sleep(1.0))
    with pytest.raises(ClusterUnreachable, match="said nothing within"):
        Ray(ADDRESS).jobs(["branchtrack-0a"])


def test_jobs_are_asked_for_and_stopped(client: FakeClient) -> None:
    cluster = Ray(ADDRESS)
    cluster.submit(job())
    assert cluster.jobs(["branchtrack-0a"])["branchtrack-0a"][0].is_waiting
    cluster.ask_to_end("branchtrack-0a")
    fate = cluster.fate("branchtrack-0a", "branchtrack-0a")
    assert fate is not None and fate.state == "CANCELLED"
    client.jobs.clear()
    assert cluster.fate("branchtrack-0a", "branchtrack-0a") is None
    cluster.cancel("branchtrack-0a")


def test_an_address_comes_from_the_options_or_a_variable(
    client: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "--address=http://HOST:8265" in Ray.of([]).missing()
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    assert Ray.of([]).where == ""
    monkeypatch.setenv("RAY_ADDRESS", "http://a:1")
    assert Ray.of([]).where == "http://a:1"
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://b:1/")
    assert Ray.of([]).where == "http://b:1"
    assert Ray.of([f"--address={ADDRESS}"]).where == ADDRESS and not Ray.of([]).missing()


def test_a_machine_without_the_package_is_told_what_to_install(
    client: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray, "find_spec", lambda name: None)
    with pytest.raises(InvalidInput) as caught:
        registry.check_here("ray", "ray", [f"--address={ADDRESS}"])
    assert 'pip install "branchtrack[ray]"' in caught.value.what


def test_a_launch_is_submitted_seen_and_lost_when_its_job_was_deleted(
    client: FakeClient, on_ray: Order, look: Callable[[], None], database: Database
) -> None:
    launch = on_ray("a")
    look()
    name = job_name(launch.id)
    assert reread(database, launch).job == name and len(client.orders) == 1
    client.jobs[name].message = "It may be waiting for resources."
    look()
    seen = reread(database, launch)
    assert (seen.job_state, seen.job_reason) == ("PENDING", "It may be waiting for resources")
    client.jobs.clear()
    look()
    lost = reread(database, launch)
    assert lost.state == "failed" and is_withdrawn(database, launch)
    assert f"Ray does not know job {name} any more" in (lost.error or "")


def test_jobs_of_one_cluster_are_asked_for_in_one_question(
    client: FakeClient, on_ray: Order, look: Callable[[], None]
) -> None:
    on_ray("a"), on_ray("b")
    look()
    client.asked.clear()
    look()
    assert client.asked == ["list"]


@pytest.mark.parametrize("is_accepted", [True, False])
@pytest.mark.parametrize("is_listed", [True, False])
def test_a_submission_that_nobody_recorded_is_one_job(
    is_accepted: bool,
    is_listed: bool,
    client: FakeClient,
    on_ray: Order,
    look: Callable[[], None],
    database: Database,
    config: Config,
    shepherd: Shepherd,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    launch = on_ray("a", retries=1)
    # Whoever submits is killed right before or after it does.
    with database.transaction() as connection:
        assert jobs.begin(connection, launch, shepherd.name)
    if is_accepted:
        Ray(ADDRESS).submit(job_files.write(config, launch))
    if not is_listed:
        monkeypatch.setattr(client, "list_jobs", list)
    look()
    assert list(client.jobs) == [f"{job_name(launch.id)}-left-1"]
    assert reread(database, launch).job == f"{job_name(launch.id)}-left-1"


def test_a_launch_with_retries_gets_another_job_of_another_id(
    client: FakeClient, on_ray: Order, look: Callable[[], None], database: Database
) -> None:
    launch = on_ray("a", retries=1)
    look()
    (first,) = client.jobs
    client.jobs[first].status = "FAILED"
    look()
    look()
    again = reread(database, launch)
    assert (again.state, again.job) == ("queued", f"{job_name(launch.id)}-left-0")
    assert list(client.jobs) == [first, again.job]


def test_the_launches_of_a_cluster_that_is_gone_end_with_that_sentence(
    client: FakeClient,
    on_ray: Order,
    look: Callable[[], None],
    claim: Callable[..., Launch],
    database: Database,
    shepherd: Shepherd,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waiting, begun, cancelled = on_ray("a"), on_ray("b"), on_ray("c")
    look()
    claim(begun, trains=False)
    control.cancel_launch(database, cancelled.id, actor="ann")
    client.error = ConnectionError("Failed to connect")
    look()
    assert reread(database, begun).state == "starting"
    assert "does not answer" in (reread(database, waiting).job_reason or "")
    assert "does not answer" not in (reread(database, cancelled).job_reason or "")
    monkeypatch.setattr(shepherds, "GONE_AFTER", -1.0)
    look()
    lost = reread(database, begun)
    assert lost.state == "failed" and lost.job_state == "UNKNOWN"
    assert f"Ray at {ADDRESS} does not answer" in (lost.error or "")
    assert reread(database, cancelled).job_state == "UNKNOWN"
    # What has ended does not keep that the cluster was silent then.
    assert lost.job_reason is None and reread(database, cancelled).job_reason is None
    # What has not begun is judged once somebody answers.
    assert reread(database, waiting).state == "queued"


def test_two_clusters_are_asked_although_one_is_silent(
    client: FakeClient,
    on_ray: Order,
    look: Callable[[], None],
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    silent = FakeClient(error=ConnectionError("no"))
    monkeypatch.setattr(ray, "_connect", lambda at: client if at == ADDRESS else silent)
    first, second = on_ray("a", "--address=http://other:1"), on_ray("b")
    look()
    assert reread(database, first).job is None and reread(database, second).job is not None


def test_the_script_goes_to_its_folder_and_prints_into_its_log(config: Config) -> None:
    order = job_files.order(config, "0a", [], None)
    text = job_files.script(order, config, "0a", "ray")
    assert f"exec >>{order.output}" in text and "--job branchtrack-0a" in text
    # What kills the script's group leaves the worker time for a node.
    assert "\nsetsid " in text
    assert "SLURM" not in text and "scontrol" not in text
