"""The files of a job: who may read them, what they say, and the lock of a submission."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from branchtrack.config import Config
from branchtrack.core.records import Launch
from branchtrack.launching.clusters import job_files
from tests.launching.helpers import wait_until


def test_only_its_user_can_read_them_and_the_script_has_no_password(
    on_slurm: Callable[..., Launch], config: Config
) -> None:
    secret = replace(config, database_url="postgresql://me:hush@db/x'y")
    launch = on_slurm("a", "-p", "main")
    order = job_files.write(secret, launch)
    assert order.options == ["-pmain"] and order.name == f"branchtrack-{launch.id}"
    files = [order.script, order.script.with_suffix(".env")]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert "hush" not in files[0].read_text() and "hush" in files[1].read_text()
    shown = subprocess.run(
        ["bash", "-c", f". {files[1]}; echo $BRANCHTRACK_DATABASE_URL"],
        capture_output=True,
        text=True,
    )
    assert shown.stdout.strip() == secret.database_url
    job_files.remove(config, launch.id)
    assert not any(file.exists() for file in files)


def test_the_last_lines_of_a_job_are_read(config: Config) -> None:
    assert job_files.last_lines(config, "a") == ""
    job_files.output(config, "a").write_text("\n".join(map(str, range(9))))
    assert job_files.last_lines(config, "a", 3) == "6\n7\n8"


def test_a_lock_is_held_by_what_was_given_it_although_its_taker_died(
    config: Config, tmp_path: Path
) -> None:
    script = (
        "import os, subprocess, sys\n"
        "from branchtrack.config import load\n"
        "from branchtrack.launching.clusters import job_files\n"
        "with job_files.locked(load(sys.argv[1]), 'a') as lock:\n"
        "    null = subprocess.DEVNULL\n"
        "    child = subprocess.Popen(['sleep', '600'], pass_fds=[lock], stdout=null)\n"
        "    print(child.pid, flush=True)\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    path = tmp_path / "taker.py"
    path.write_text(script)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(
        [sys.executable, str(path), str(config.home)], env=environment, stdout=subprocess.PIPE
    )
    child = int(done.stdout)
    with job_files.locked(config, "a") as lock:
        assert lock is None
    os.kill(child, signal.SIGKILL)

    def is_free() -> bool:
        with job_files.locked(config, "a") as lock:
            return lock is not None

    wait_until(is_free)


#: Stands for the worker in a job: says which signal came, and ends as it is to.
WORKER = """
import os, signal, sys, time
def ends(number, frame):
    print("got", signal.Signals(number).name, flush=True)
    time.sleep(0.3)
    sys.exit(int(os.environ["ENDS"]))
for number in (signal.SIGUSR1, signal.SIGTERM):
    signal.signal(number, ends)
print("ready", sys.argv[1:], flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize(
    "options, sent, code, requeues",
    [
        ([], signal.SIGUSR1, 0, False),
        ([], signal.SIGTERM, 3, False),
        (["--requeue"], signal.SIGUSR1, 75, True),
        (["--requeue"], signal.SIGUSR1, 138, True),
        (["--requeue"], signal.SIGUSR1, 0, False),
        (["--requeue"], signal.SIGTERM, 75, False),
    ],
)
def test_the_script_passes_signals_on_waits_and_ends_as_its_worker(
    options: list[str],
    sent: signal.Signals,
    code: int,
    requeues: bool,
    config: Config,
    tmp_path: Path,
) -> None:
    (tmp_path / "worker.py").write_text(WORKER)
    for name, text in (("scontrol", 'echo "$@"'), ("sleep", "exit 0")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o700)
    text = job_files.script(job_files.order(config, "a", options), config, "a", "slurm")
    text = text.replace("-m branchtrack", str(tmp_path / "worker.py"))
    (config.logs / "a.job.env").write_text(f"export ENDS={code}\n")
    with subprocess.Popen(
        ["bash", "-c", text],
        env={**os.environ, "SLURM_JOB_ID": "12", "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        ready = process.stdout.readline()
        assert ready == "ready ['worker', '--launch', 'a', '--job', '12']\n"
        process.send_signal(sent)
        rest = process.stdout.read()
    assert process.returncode == code
    assert rest.splitlines() == [f"got {sent.name}", *(["requeue 12"] if requeues else [])]
