"""Options of jobs: each in one piece, none of branchtrack's own, no word that could be a script."""

from __future__ import annotations

import pytest

from branchtrack.core.launchers import options
from branchtrack.errors import InvalidInput


def test_options_are_brought_into_one_piece_each() -> None:
    given = ["--partition", "main", "-p", "main", "-c4", "--requeue", "--gres=gpu:1", "-H"]
    joined = ["--partition=main", "-pmain", "-c4", "--requeue", "--gres=gpu:1", "-H"]
    assert options.checked("slurm", given) == joined
    assert options.checked("slurm", joined) == joined


@pytest.mark.parametrize(
    "words",
    [
        ["script.sh"],
        ["--partition=main", "script.sh"],
        ["-c4", "script.sh"],
        ["-p", "main", "script.sh"],
        ["--"],
        ["-"],
        [""],
        ["--job-name=x"],
        ["-Jx"],
        ["--outp=x"],
        ["-o", "x"],
        ["--wrap=rm -rf /"],
        ["--wr", "rm"],
        ["--array=1-5"],
        ["-a1-5"],
        ["--wait"],
        ["--a\nb"],
        ["--comment=" + "x" * 2000],
        ["--requeue"] * 101,
    ],
)
def test_what_could_be_misread_is_refused(words: list[str]) -> None:
    with pytest.raises(InvalidInput) as caught:
        options.checked("slurm", words)
    assert caught.value.field == "slurm options"


@pytest.mark.parametrize(
    "words", [["-J", "foo"], ["-Jfoo"], ["--job-name", "foo"], ["--signal", "USR1"]]
)
def test_what_is_refused_is_shown_as_it_was_written(words: list[str]) -> None:
    with pytest.raises(InvalidInput) as caught:
        options.checked("slurm", ["-p", "main", *words])
    assert caught.value.value == " ".join(words)


@pytest.mark.parametrize("signal", ["--signal=B:USR1@60", "--signal=B:USR1", "--signal=RB:10@90"])
def test_a_signal_that_reaches_the_script_is_accepted(signal: str) -> None:
    assert options.checked("slurm", [signal]) == [signal]


@pytest.mark.parametrize(
    "signal",
    ["--signal=USR1@60", "--signal=R:USR1", "--signal=B:", "--signal=B:kill@60", "--signal=B:9"],
)
def test_a_signal_that_would_not_is_refused_with_the_way_to_say_it(signal: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        options.checked("slurm", [signal])
    assert "--signal=B:USR1@60" in caught.value.allowed
