from __future__ import annotations

import sys

from branchtrack.launching import processes


def test_a_script_without_a_group_is_started_as_it_was_recorded() -> None:
    assert processes.before({"lr": 0.1}, {"argv": [sys.executable, "train.py"]}) == ()


def test_a_group_is_started_by_torch_with_the_recorded_command_whole() -> None:
    words = processes.before({"world_size": 4}, {"argv": [sys.executable, "-X", "dev", "a.py"]})
    assert words[:3] == (sys.executable, "-m", "torch.distributed.run")
    assert words[-3:] == ("--nproc-per-node", "4", "--no-python")


def test_an_interpreter_that_is_not_here_is_replaced_by_this_one() -> None:
    words = processes.before({"world_size": 1}, {"argv": ["/nowhere/python", "a.py"]})
    assert words[0] == sys.executable
    assert processes.before({"world_size": 1}, None)[0] == sys.executable
