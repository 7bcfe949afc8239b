"""Uploads that nobody completed are found and aborted, with requests signed here."""

from __future__ import annotations

import pytest

from branchtrack.checkpoints.remote import multipart
from branchtrack.checkpoints.remote.bucket_errors import BucketError
from tests.s3_servers import BUCKET


def test_every_upload_under_a_prefix_is_listed_and_aborted(bucket: str) -> None:
    prefix = bucket.partition(f"{BUCKET}/")[2]
    keys = [f"{prefix}/packs/ab/a pack+{number}.safetensors" for number in range(3)]
    for key in keys:
        multipart._request("POST", BUCKET, key, {"uploads": ""})
    uploads = list(multipart.begun(BUCKET, f"{prefix}/"))
    assert sorted(upload.key for upload in uploads) == keys
    assert all(0 <= upload.age < 600 for upload in uploads)
    assert [multipart.abort(BUCKET, upload) for upload in uploads] == [True] * 3
    assert list(multipart.begun(BUCKET, f"{prefix}/")) == []
    # It may say that it is gone, or that all is well.
    multipart.abort(BUCKET, uploads[0])


def test_without_credentials_in_the_environment_nothing_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert list(multipart.begun("bucket", "")) == []


def test_a_wrong_key_and_a_closed_door_are_told(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(BucketError, match="SignatureDoesNotMatch"):
        list(multipart.begun(BUCKET, ""))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(BucketError, match="cannot be reached"):
        list(multipart.begun(BUCKET, ""))


def test_the_most_special_endpoint_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.setenv(name, f"http://{name.lower()}")
        assert multipart.endpoint_variable() == f"http://{name.lower()}"
