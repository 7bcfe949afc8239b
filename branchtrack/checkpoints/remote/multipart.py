"""Uploads in parts that were begun and never completed: listed and aborted.

A killed process leaves the parts that it had sent, which are stored and paid for, and seen by no
listing of objects. The client cannot list them, so the two requests are made and signed here. That
takes credentials from the environment; with those of a role a rule of the bucket has to do it
(``AbortIncompleteMultipartUpload``).

Source: AWS Signature Version 4, https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree

from branchtrack.checkpoints.remote import bucket_errors

_SECONDS = 20
_EMPTY = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True)
class Upload:
    """An upload in parts: ``age`` is in seconds since it was begun."""

    key: str
    id: str
    age: float


def endpoint_variable() -> str:
    """Return the endpoint that the environment names, or an empty text."""
    names = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
    return next((os.environ[name] for name in names if os.environ.get(name)), "")


def begun(bucket: str, prefix: str) -> Iterator[Upload]:
    """Yield the uploads under a prefix; none if the environment has no credentials.

    Raises:
        OSError: the endpoint does not say.
    """
    if not _has_credentials():
        return
    query = {"uploads": "", "prefix": prefix}
    while True:
        root = ElementTree.fromstring(_request("GET", bucket, "", query))
        for item in root.iterfind("{*}Upload"):
            key, upload = item.findtext("{*}Key", ""), item.findtext("{*}UploadId", "")
            yield Upload(key, upload, _age(item.findtext("{*}Initiated", "")))
        markers = {
            "key-marker": root.findtext("{*}NextKeyMarker", ""),
            "upload-id-marker": root.findtext("{*}NextUploadIdMarker", ""),
        }
        if root.findtext("{*}IsTruncated") != "true" or not markers["key-marker"]:
            return
        query |= markers


def abort(bucket: str, upload: Upload) -> bool:
    """Abort an upload; return whether it was still there.

    Raises:
        OSError: the endpoint refuses.
    """
    try:
        _request("DELETE", bucket, upload.key, {"uploadId": upload.id})
    except FileNotFoundError:
        return False
    return True


def _has_credentials() -> bool:
    return bool(os.environ.get("AWS_ACCESS_KEY_ID") and os.environ.get("AWS_SECRET_ACCESS_KEY"))


def _age(moment: str) -> float:
    try:
        return max(0.0, time.time() - datetime.fromisoformat(moment).timestamp())
    except ValueError:
        return 0.0


def _request(method: str, bucket: str, key: str, query: Mapping[str, str]) -> bytes:
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    base = endpoint_variable() or f"https://s3.{region}.amazonaws.com"
    url = urlsplit(base.rstrip("/"))
    path = quote("/".join(filter(None, (url.path.strip("/"), bucket, key))), safe="/-_.~")
    words = "&".join(
        f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}"
        for name, value in sorted(query.items())
    )
    headers = _signed(method, url.netloc, f"/{path}", words, region)
    request = urllib.request.Request(
        f"{url.scheme}://{url.netloc}/{path}?{words}", method=method, headers=headers
    )
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            body = error.read(4096).decode(errors="replace")
        text = f"status code: {error.code} {body}"
        raise bucket_errors.of(bucket, key, RuntimeError(text)) from None
    except (OSError, http.client.HTTPException) as error:
        kind = "Timeout" if isinstance(error, TimeoutError) else "Connect"
        raise bucket_errors.of(bucket, key, RuntimeError(f"kind: {kind}")) from None


def _signed(method: str, host: str, path: str, query: str, region: str) -> dict[str, str]:
    """Return the headers of a request without a body, with its signature."""
    now = datetime.now(UTC)
    moment, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    headers = {"host": host, "x-amz-content-sha256": _EMPTY, "x-amz-date": moment}
    if token := os.environ.get("AWS_SESSION_TOKEN"):
        headers["x-amz-security-token"] = token
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    canonical = "\n".join((method, path, query, lines, names, _EMPTY))
    scope = f"{day}/{region}/s3/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = "\n".join(("AWS4-HMAC-SHA256", moment, scope, digest))
    key = f"AWS4{os.environ['AWS_SECRET_ACCESS_KEY']}".encode()
    for word in (day, region, "s3", "aws4_request", text):
        key = hmac.new(key, word.encode(), hashlib.sha256).digest()
    credential = f"{os.environ['AWS_ACCESS_KEY_ID']}/{scope}"
    del headers["host"]
    headers["Authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={key.hex()}"
    )
    return headers
