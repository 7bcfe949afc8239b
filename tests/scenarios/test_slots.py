"""Several trainings at once: each is bit for bit the one that is trained alone."""

from __future__ import annotations

import json

import pytest

from tests.scenarios.shell import Shell

pytestmark = pytest.mark.scenario

RATES = ("1e-3", "2e-3", "5e-4")


def ordered(shell: Shell, node: str) -> dict[str, str]:
    """Six branches from one node that wait for a worker: three with another rate, three twins."""
    script = (
        "import json, sys; from branchtrack import config, control; "
        "from branchtrack.checkpoints.location import open_store; "
        "from branchtrack.db.schema import open_database; "
        "found = config.load(); database = open_database(found); "
        "print(json.dumps({name: control.create_launch(database, open_store(found.store), "
        "sys.argv[1], actor='me', name=name, settings={'lr': rate}).id "
        "for name, rate in json.loads(sys.argv[2]).items()}))"
    )
    rates = {f"slot{n}": RATES[n % len(RATES)] for n in range(6)}
    (shell.folder / "order.py").write_text(script)
    with shell.start("order", node, json.dumps(rates)) as process:
        printed, _ = process.communicate(timeout=120)
    assert process.returncode == 0, printed
    found: dict[str, str] = json.loads(printed)
    return found


def test_six_branches_on_two_slots_are_those_that_are_trained_alone(shell: Shell) -> None:
    # How many threads torch takes by itself is what a slot's share would change.
    del shell.variables["OMP_NUM_THREADS"]
    shell.train("wide_loop")
    node = shell.node("wide", 5)
    alone = {rate: f"alone-{rate}" for rate in RATES}
    for rate, name in alone.items():
        shell.resume(node, name, "--set", f"lr={rate}")
    launches = ordered(shell, node)
    assert len(shell.json("queue")["launches"]) == 6
    shell.command("worker", "--slots", "2", "--once")
    for number, name in enumerate(sorted(launches)):
        shell.same("wide", alone[RATES[number % len(RATES)]], name)
    logs = [shell.folder / "home" / "logs" / f"{launch}.log" for launch in launches.values()]
    printed = {line for log in logs for line in log.read_text().splitlines() if "threads" in line}
    (line,) = printed
    _, threads, variable = line.split()
    assert threads == variable
