"""Errors of the client become OSErrors that say where, what, and how to go on."""

from __future__ import annotations

import errno

import pytest

from branchtrack.checkpoints import files
from branchtrack.checkpoints.remote import bucket_errors
from branchtrack.checkpoints.remote.bucket_errors import BucketError, Unconditional


@pytest.mark.parametrize(
    ("text", "number", "words"),
    [
        ("status code: 404 Not Found: <Code>NoSuchBucket</Code>", errno.ENXIO, "no bucket 'b'"),
        ("status code: 403: <Code>ExpiredToken</Code>", errno.EACCES, "credentials (ExpiredToken)"),
        ("status code: 403 Forbidden", errno.EACCES, "access to the bucket 'b' is denied (403)"),
        ("failed for key x: (code: AccessDenied)", errno.EACCES, "denied (AccessDenied)"),
        ("PUT http://169.254.169.254/latest/api/token", errno.EACCES, "no credentials"),
        ("HTTP error: error sending request kind: Timeout", errno.ETIMEDOUT, "in time"),
        ("error sending request kind: Connect dns error", errno.EHOSTUNREACH, "unknown host"),
        ("status code: 503: <Code>SlowDown</Code>", errno.EIO, "failed (503 SlowDown)"),
        ("something else", errno.EIO, "no reason"),
    ],
)
def test_each_failure_has_a_number_words_and_a_way_to_go_on(
    text: str, number: int, words: str
) -> None:
    error = bucket_errors.of("b", "packs/x", RuntimeError(text))
    assert isinstance(error, BucketError) and error.errno == number
    assert words in str(error) and error.fix
    shown = files.unusable("s3://b/packs/x", error)
    assert "s3://b/packs/x" in str(shown) and error.fix in str(shown)


def test_a_missing_object_is_a_missing_file() -> None:
    error = bucket_errors.of("b", "packs/x", RuntimeError("<Code>NoSuchKey</Code>"))
    assert isinstance(error, FileNotFoundError) and error.filename == "packs/x"
    assert isinstance(bucket_errors.of("b", "x", FileNotFoundError("no")), FileNotFoundError)


def test_a_store_without_conditions_is_told_apart() -> None:
    text = "status code: 501: <Code>NotImplemented</Code>"
    assert isinstance(bucket_errors.of("b", "x", RuntimeError(text)), Unconditional)


def test_errors_pass_through_as_what_they_mean() -> None:
    from obstore.exceptions import AlreadyExistsError, GenericError

    with pytest.raises(BucketError), bucket_errors.translated("b", "x"):
        raise GenericError("status code: 500")
    with pytest.raises(AlreadyExistsError), bucket_errors.translated("b", "x"):
        raise AlreadyExistsError("there")
    with pytest.raises(ZeroDivisionError), bucket_errors.translated("b", "x"):
        raise ZeroDivisionError
