"""The files of a launch's job: its script, the environment that it reads, its output.

The script may be read by whoever may read jobs of the cluster. The environment, which may hold the
password of a database, is in a file that only its user can read, also in a home that is shared.
"""

from __future__ import annotations

import fcntl
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from branchtrack.config import Config
from branchtrack.core.launchers.jobs import job_name, submission_id
from branchtrack.core.records import Launch
from branchtrack.launching.clusters.cluster import JobOrder

#: The exit code of a worker in a job whose training a signal has ended, so that it can go on.
INTERRUPTED = 75
#: The name of a launch in a script that is only shown.
PREVIEW = "LAUNCH"
_PRIVATE = 0o600

#: A shell answers a signal between two commands only: the worker runs beside it, and is waited for.
#: USR1, sent by Slurm some time before a limit (``--signal=B:USR1``), reaches this script alone.
_SCRIPT = """\
#!/bin/bash
# The job of launch {launch} of branchtrack.
. {environment}
{begin}worker= warned=
forward() {{ [ -z "$worker" ] || kill -s "$1" "$worker" 2>/dev/null; }}
trap 'warned=1; forward USR1' USR1 USR2
trap 'forward TERM' TERM INT
{command} &
worker=$!
[ -z "$warned" ] || forward USR1
while wait "$worker"; code=$?; kill -0 "$worker" 2>/dev/null; do :; done
# What a trap has interrupted says nothing of the worker; bash remembers how that ended.
wait "$worker" 2>/dev/null; last=$?
[ "$last" = 127 ] || code=$last
{requeue}exit "$code"
"""
#: Where Slurm begins by itself, and what the cluster would show to whoever sees its dashboard.
_BEGIN = """\
cd {folder} && exec >>{output} 2>&1 || exit 1
"""
#: A job that may run again asks for it before its time is over: its launch goes on then. So does
#: one whose worker had no handler for the signal yet.
_REQUEUE = """\
if [ -n "$warned" ] && {{ [ "$code" = {interrupted} ] || [ "$code" = 138 ]; }}; then
  scontrol requeue "$SLURM_JOB_ID" && sleep 60
fi
"""


def script(job: JobOrder, config: Config, launch_id: str, kind: str) -> str:
    """Return the text of the script of a launch's job on a cluster of a ``kind``."""
    command = [sys.executable, "-m", "branchtrack", "worker", "--launch", launch_id, "--job"]
    begin, own_id, requeue, session = "", '"$SLURM_JOB_ID"', "", ""
    if kind == "ray":
        begin = _BEGIN.format(
            folder=shlex.quote(str(job.folder)), output=shlex.quote(str(job.output))
        )
        own_id, session = shlex.quote(job.submission), "setsid "
    elif "--requeue" in job.options:
        requeue = _REQUEUE.format(interrupted=INTERRUPTED)
    return _SCRIPT.format(
        launch=launch_id,
        environment=shlex.quote(str(_path(config, launch_id, "env"))),
        begin=begin,
        command=f"{session}{shlex.join(command)} {own_id}",
        requeue=requeue,
    )


def order(
    config: Config, launch_id: str, options: Sequence[str], retries: int | None = None
) -> JobOrder:
    """Return the job of a launch as it is submitted, with ``retries`` left after it, if any."""
    return JobOrder(
        name=job_name(launch_id),
        options=options,
        script=_path(config, launch_id, "sh"),
        output=output(config, launch_id),
        folder=config.home.resolve(),
        submission=submission_id(job_name(launch_id), retries),
    )


def write(config: Config, launch: Launch) -> JobOrder:
    """Write the files of a launch's job, and return the job as it is submitted.

    Raises:
        HomeError: the home cannot be written.
    """
    launcher = launch.launcher or {}
    config.make_home()
    job = order(config, launch.id, launcher.get("options", []), launch.retries)
    _write(job.script, script(job, config, launch.id, launcher.get("kind", "")))
    lines = [f"export {name}={shlex.quote(value)}" for name, value in _variables(config).items()]
    _write(_path(config, launch.id, "env"), "\n".join(lines) + "\n")
    return job


def output(config: Config, launch_id: str) -> Path:
    """Return the file for what a job itself prints; its training has a log of its own."""
    return _path(config, launch_id, "log")


def last_lines(config: Config, launch_id: str, most: int = 5) -> str:
    """Return the last lines that a job printed."""
    try:
        text = output(config, launch_id).read_bytes()[-65_536:].decode("utf-8", "replace")
    except OSError:
        return ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return "\n".join(lines[-most:])[-2000:]


def remove(config: Config, launch_id: str) -> None:
    """Remove the files of a job that is over; what it printed stays."""
    for ending in ("env", "sh", "lock"):
        with suppress(OSError):
            _path(config, launch_id, ending).unlink()


@contextmanager
def locked(config: Config, launch_id: str) -> Iterator[int | None]:
    """Hold the lock of a launch's submission; yield its descriptor, None if another has it.

    A command that is given the descriptor has the lock, too, and keeps it if this process dies.
    """
    config.make_home()
    path = _path(config, launch_id, "lock")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _PRIVATE)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield None
            return
        yield descriptor
    finally:
        os.close(descriptor)


def _variables(config: Config) -> dict[str, str]:
    variables = config.environment()
    # Submitted from a checkout, it is found there as it is here.
    return {**variables, **{n: os.environ[n] for n in ("PYTHONPATH",) if n in os.environ}}


def _path(config: Config, launch_id: str, ending: str) -> Path:
    return config.logs.resolve() / f"{launch_id}.job.{ending}"


def _write(path: Path, text: str) -> None:
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _PRIVATE)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(draft, path)
