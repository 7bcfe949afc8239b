"""Secrets in commands are neither kept nor shown, and what only sounds like one is."""

from __future__ import annotations

import pytest

from branchtrack import control, redaction, scripts

HIDDEN = "h1dd3n-value"


@pytest.mark.parametrize(
    "words",
    [
        ["--api-key", HIDDEN],
        ["--token", HIDDEN],
        ["--hub_token", HIDDEN],
        ["--wandb-token", HIDDEN],
        [f"--token={HIDDEN}"],
        [f"--db.password={HIDDEN}"],
        [f"PASSWORD={HIDDEN}"],
        [f"MY_SECRET={HIDDEN}"],
        [f"+logger.api_key={HIDDEN}"],
        ["--authorization", HIDDEN],
        ["-H", f"Authorization: Bearer {HIDDEN}"],
        ["--tracker", f"https://me:{HIDDEN}@host/x"],
        [f"--url=postgresql://me:{HIDDEN}@host/x"],
        ["--access_key", HIDDEN],
        ["--aws-secret-access-key", HIDDEN],
        [f"AWS_SSE_CUSTOMER_KEY_BASE64={HIDDEN}"],
    ],
)
def test_a_secret_is_not_kept(words: list[str]) -> None:
    safe = redaction.redacted(["python", "train.py", *words, "--lr", "0.1"])
    assert HIDDEN not in " ".join(safe)
    assert safe[:2] == ["python", "train.py"] and safe[-2:] == ["--lr", "0.1"]
    assert len(safe) == len(words) + 4
    assert len(redaction.missing(safe)) == 1
    assert redaction.redacted(safe) == safe


@pytest.mark.parametrize(
    "words",
    [
        ["--pad-token", "<pad>"],
        ["--max_tokens", "512"],
        ["--token-dim", "64"],
        ["--label-key", "text"],
        ["--author", "somebody"],
        ["--use-auth", "--lr", "3"],
        ["--use-auth-token", "true"],
        ["--token-file", "secrets/token.txt"],
        ["--pass-through", "--seed", "1"],
        ["--data", "s3://bucket/path"],
        ["--note", "key=value"],
        ["model.hidden=64"],
    ],
)
def test_what_only_sounds_like_a_secret_is_kept(words: list[str]) -> None:
    assert redaction.redacted(["python", "train.py", *words]) == ["python", "train.py", *words]
    assert redaction.missing(words) == []


def test_a_command_recorded_with_its_secrets_is_shown_without_them() -> None:
    recorded = {
        "argv": ["python", "train.py", "--api-key", HIDDEN],
        "cwd": "/",
        "env": {"HF_TOKEN": HIDDEN, "OMP_NUM_THREADS": "1"},
    }
    shown = redaction.redacted_command(recorded)
    assert shown is not None
    assert HIDDEN not in str(shown) and shown["env"]["OMP_NUM_THREADS"] == "1"
    assert HIDDEN not in scripts.describe(recorded)
    assert redaction.redacted_command(None) is None


def test_a_command_without_its_secret_cannot_be_started_and_says_which() -> None:
    entry_point = {"argv": ["python", "-c", "", "--api-key", "<redacted>"], "cwd": "/", "env": {}}
    gone = control.describe_missing(entry_point)
    assert "--api-key" in gone and "not recorded" in gone
    way_out = control.describe_way_to_start(entry_point, "3fa9")
    assert "environment variables" in way_out and "3fa9" in way_out
