"""Plain loops in processes of their own: killed at any moment, and gone on with in another."""

from __future__ import annotations

import json
import random
import signal
import time
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from branchtrack import control
from branchtrack.cli.main import cli
from branchtrack.environment_variables import LAUNCH_VARIABLE
from branchtrack.training.loop.run import Run
from tests.training import jobs, loops
from tests.training.homes import Home
from tests.training.mains import run_script

ROOT = Path(__file__).parent.parent.parent
VICTIM: dict[str, Any] = {"max_steps": 60, "evaluated": True}
SAVE_LESS = {"save_steps": 1000}
#: Seconds after its first node within which a training is killed.
LATEST = 0.3
#: Seconds that each update takes at least: no training ends before it is killed.
PAUSE = 0.05


@pytest.fixture(scope="module")
def server() -> ForkServerContext:
    """The server that processes are forked from."""
    return jobs.context()


def victim(folder: Path, point: str | None, begun: Any) -> None:
    """Train with a node at every step, until this process is killed or kills itself."""
    if point is not None:
        jobs.deadly(point, 6)

    def at(run: Run, optimizer: Any) -> None:
        begun.set()
        time.sleep(PAUSE)

    loops.train(Home(folder), at=at, **VICTIM)


@pytest.fixture(scope="module")
def whole(shared_home: Home) -> str:
    """The state in which the training ends undisturbed."""
    loops.train(shared_home, **VICTIM, **SAVE_LESS)
    return shared_home.final().state_digest


@pytest.mark.parametrize("point", [*list(jobs.FAIL_POINTS)[::2], None], ids=str)
def test_a_loop_that_is_killed_leaves_only_whole_nodes(
    point: str | None, server: ForkServerContext, home: Home, whole: str
) -> None:
    begun = server.Event()
    process = server.Process(target=victim, args=(home.folder, point, begun))
    process.start()
    if point is None:
        assert begun.wait(60)
        deadline = time.monotonic() + 60
        while not home.nodes():
            assert process.is_alive() and time.monotonic() < deadline
            time.sleep(0.01)
        process.join(random.Random(len(str(home.folder))).uniform(0.0, LATEST))
        process.kill()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    made = home.nodes()
    assert 0 < len(made) < 60
    for node in made:
        assert control.verify_node(home.database, home.store, node).digest == node.state_digest
    assert home.chain_break() is None
    if point in ("within the transaction", None):
        launch = home.order(made[-1], SAVE_LESS)
        loops.train(home, launch, **VICTIM)
        assert home.final(launch).state_digest == whole


def test_the_example_learns_and_is_gone_on_with_by_the_worker(
    home: Home, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("sklearn")
    for name, value in {**home.config.environment(), "PYTHONPATH": str(ROOT)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    example = ("-m", "branchtrack.examples.digits", "--steps", "40", "--every", "20")
    run_script(ROOT, *example)
    assert "step 40: accuracy" in capsys.readouterr().out
    final, node = home.nodes("digits/main")[-1], home.node(20, "digits/main")
    assert final.metrics["accuracy"] > 0.8
    called = CliRunner().invoke(cli, ["resume", node.id, "--name", "same", "--json"])
    assert json.loads(called.stdout)["state"] == "ended", called.output
    assert home.nodes("digits/same")[-1].state_digest == final.state_digest
    launch = home.order(node, {"lr": 0.01, "label_smoothing": 0.1}, name="other")
    run_script(ROOT, *example, **{LAUNCH_VARIABLE: launch.id})
    fork, *_, last = home.nodes("digits/other")
    assert fork.effective is not None and fork.effective["verified"] is True
    assert (fork.effective["lr"], fork.effective["label_smoothing"]) == (0.01, 0.1)
    assert last.kind == "final" and last.state_digest != final.state_digest
