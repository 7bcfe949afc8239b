"""Environment variables: which are remembered, and what a resume makes of them."""

from __future__ import annotations

import pytest

from branchtrack.core import variables
from branchtrack.errors import InvalidInput

THEN = {
    "MY_SCALE": "3",
    "HF_TOKEN": "s3cret",
    "DB": "postgresql://me:pw@host/x",
    "HOME": "/home/a",
    "SLURM_JOB_ID": "7",
    "SLURM_ARRAY_TASK_ID": "4",
    "CUDA_VISIBLE_DEVICES": "1",
}


def test_secrets_are_remembered_by_name_alone_and_what_is_outside_not_at_all() -> None:
    recorded = variables.recorded(THEN)
    assert recorded["values"] == {
        "MY_SCALE": "3",
        "SLURM_ARRAY_TASK_ID": "4",
        "CUDA_VISIBLE_DEVICES": "1",
    }
    assert list(recorded["secrets"]) == ["DB", "HF_TOKEN"]
    assert "s3cret" not in str(recorded) and "pw" not in str(recorded)


def test_names_that_only_begin_like_those_of_a_shell_are_remembered() -> None:
    names = ("WINDOW", "HISTORY_LEN", "LESSON", "TERM_WEIGHT", "COV_TYPE", "TMUXED", "RANK")
    assert list(variables.recorded(dict.fromkeys(names, "1"))["values"]) == sorted(names)
    outside = ("HISTSIZE", "LESSOPEN", "TERM_PROGRAM", "TMUX_PANE", "VIRTUAL_ENV", "WSL_DISTRO")
    assert variables.recorded(dict.fromkeys(outside, "1")) == {"values": {}, "secrets": {}}


def test_a_rank_among_several_processes_belongs_to_the_job() -> None:
    assert variables.recorded({"RANK": "1", "WORLD_SIZE": "2"})["values"] == {}
    before = variables.recorded({"RANK": "8"})
    assert variables.compare(before, {"RANK": "16"}).replaced == {"RANK": "8"}
    assert variables.compare(before, {"RANK": "0", "WORLD_SIZE": "1"}).replaced == {}


@pytest.mark.parametrize("name", ["MAX_TOKENS", "KEY_DIM", "AUTHORS", "KEYS", "MONKEY", "BYPASS"])
def test_a_name_that_only_contains_the_word_of_a_secret_is_ordinary(name: str) -> None:
    assert variables.recorded({name: "1"}) == {"values": {name: "1"}, "secrets": {}}


@pytest.mark.parametrize(
    "name",
    "API_KEY OPENAI_API_KEY AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY PRIVATE_KEY_FILE hf_token "
    "AWS_SSE_CUSTOMER_KEY_BASE64 AWS_CONTAINER_AUTHORIZATION_TOKEN "
    "WANDB_API_KEY PGPASSWORD MYSQL_PWD DB_PASS SENTRY_DSN AUTH_HEADER ACCESS_TOKENS MY_APIKEY "
    "GOOGLE_APPLICATION_CREDENTIALS KEY SESSION_COOKIE CLIENT_SECRET HMAC_SIGNATURE".split(),
)
def test_a_secret_is_told_by_the_words_of_its_name(name: str) -> None:
    assert list(variables.recorded({name: "1"})["secrets"]) == [name]


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_REGION", "AWS_SESSION_TOKEN"])
def test_how_a_machine_reaches_a_bucket_is_neither_recorded_nor_given_back(name: str) -> None:
    assert variables.recorded({name: "1"}) == {"values": {}, "secrets": {}}
    before = {"values": {name: "1"}, "secrets": {}}
    assert variables.compare(before, {name: "2"}).replaced == {}


def test_lines_and_tabs_are_ordinary() -> None:
    before = variables.recorded({"CONFIG": "a:\n\tb: 1\r\n", "BELL": "\a", "LONG": "x" * 4097})
    assert before["values"] == {"CONFIG": "a:\n\tb: 1\r\n"}
    assert list(before["secrets"]) == ["BELL", "LONG"]
    (line,) = variables.compare(before, {"BELL": "\a", "LONG": "x" * 4097}).sentences()
    assert "\n" not in line and "CONFIG=" in line


def test_a_secret_that_has_another_value_is_said_without_it() -> None:
    before = variables.recorded({"HF_TOKEN": "s3cret", "DB_PASS": "same"})
    now = {"HF_TOKEN": "0ther", "DB_PASS": "same"}
    comparison = variables.compare(before, now)
    assert comparison.changed == ("HF_TOKEN",) and comparison.variables == {}
    (line,) = comparison.sentences()
    assert "HF_TOKEN" in line and "s3cret" not in line and "0ther" not in line
    assert comparison.as_dict()["changed"] == ["HF_TOKEN"]
    assert variables.compare(before, {}, {"HF_TOKEN": "x"}).changed == ()


def test_a_record_that_has_only_the_names_of_secrets_is_read() -> None:
    before = {"values": {}, "secrets": ["DB_PASS", "HF_TOKEN"]}
    comparison = variables.compare(before, {"HF_TOKEN": "x"})
    assert comparison.missing == ("DB_PASS",) and comparison.changed == ()


def test_variables_of_the_tracker_itself_are_not_given() -> None:
    with pytest.raises(InvalidInput, match="begins with BRANCHTRACK_") as error:
        variables.parse(("BRANCHTRACK_HOME=/x",))
    assert error.value.field == "env"


def test_what_was_there_is_given_back_and_said() -> None:
    before = variables.recorded(THEN)
    now = {"MY_SCALE": "5", "HOME": "/home/b", "CUDA_VISIBLE_DEVICES": "0", "NEW": "1"}
    found = variables.compare(before, now)
    assert found.variables == {"MY_SCALE": "3", "SLURM_ARRAY_TASK_ID": "4"}
    assert found.given_back == {"SLURM_ARRAY_TASK_ID": "4"} and found.replaced == {"MY_SCALE": "3"}
    assert found.missing == ("DB", "HF_TOKEN") and found.added == ("NEW",)
    said = " ".join(found.sentences())
    assert "MY_SCALE=3" in said and "HF_TOKEN" in said and "s3cret" not in said and "NEW" in said
    assert "3" not in str(found.as_dict())


def test_somebody_can_say_otherwise() -> None:
    before = variables.recorded(THEN)
    chosen = variables.compare(before, {}, {"MY_SCALE": "7"})
    assert chosen.variables["MY_SCALE"] == "7" and "MY_SCALE" not in chosen.given_back
    assert variables.compare(before, {}, {"A": "1"}, keep=True).variables == {"A": "1"}
    assert variables.compare(None, {"A": "1"}) == variables.Comparison()


def test_a_long_list_says_that_it_is_cut() -> None:
    before = variables.recorded({f"V{number:02}": "x" for number in range(12)})
    (line,) = variables.compare(before, {}).sentences()
    assert line.endswith("and 4 more.")


def test_assignments_are_read_or_refused() -> None:
    assert variables.parse(("A=1", "B=", "C=x=y")) == {"A": "1", "B": "", "C": "x=y"}
    for text in ("A", "=1", "A B=1"):
        with pytest.raises(InvalidInput, match="NAME=VALUE"):
            variables.parse((text,))


@pytest.mark.parametrize("text", ["HF_TOKEN=hidden", "DB=postgresql://me:hidden@host/x"])
def test_a_secret_cannot_be_given_to_a_launch_where_it_would_be_recorded(text: str) -> None:
    with pytest.raises(InvalidInput, match="a resume inherits it") as error:
        variables.parse((text,))
    assert "hidden" not in str(error.value)


def test_what_a_cluster_sets_for_a_job_is_no_difference_of_the_script() -> None:
    job = {"ENVIRONMENT": "BATCH", "SLURMD_NODENAME": "n1", "SRUN_DEBUG": "3", "RAY_JOB_ID": "1"}
    assert variables.recorded(job) == {"values": {}, "secrets": {}}
    nothing = variables.recorded({})
    assert variables.compare(nothing, job).sentences() == []
    older = {"values": {"ENVIRONMENT": "BATCH", "SLURMD_NODENAME": "n1"}, "secrets": {}}
    assert variables.compare(older, {}).sentences() == []
    own = variables.recorded({"ENVIRONMENT": "production"})
    assert own["values"] == {"ENVIRONMENT": "production"}
    assert variables.compare(own, job).variables == {"ENVIRONMENT": "production"}
