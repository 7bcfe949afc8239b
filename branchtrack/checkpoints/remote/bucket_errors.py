"""What went wrong at a bucket, as an OSError that says where, what, and how to go on.

The client's own errors quote requests and addresses at length; only what helps is taken from them,
and nothing that could hold a secret.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager

_CODE = re.compile(r"<Code>(\w+)</Code>|\(code: (\w+)\)")
_STATUS = re.compile(r"status code: (\d{3})")
_METADATA = ("169.254.169.254", "latest/api/token", "security-credentials", "fd00:ec2")

_CREDENTIALS = (
    "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN if they are "
    "temporary) in the environment of this process."
)
_REACH = "Check AWS_ENDPOINT_URL, AWS_REGION and the network; `branchtrack storage --check` tests."


class BucketError(OSError):
    """A failure of the bucket; ``fix`` says what to do about it."""

    def __init__(self, number: int, what: str, fix: str) -> None:
        super().__init__(number, what)
        self.fix = fix


class Unconditional(BucketError):
    """The endpoint does not put objects on condition that there is none of that name."""


@contextmanager
def translated(bucket: str, path: str) -> Iterator[None]:
    """Turn errors of the client into OSErrors; ``path`` is what was asked for.

    Raises:
        FileNotFoundError: there is no such object.
        BucketError: anything else failed.
    """
    from obstore.exceptions import AlreadyExistsError, BaseError

    try:
        yield
    except AlreadyExistsError:
        raise
    except (FileNotFoundError, BaseError) as error:
        raise of(bucket, path, error) from None


def of(bucket: str, path: str, error: BaseException) -> OSError:
    """Return the OSError for an error of the client."""
    text = str(error)
    matched = _CODE.search(text)
    code = (matched.group(1) or matched.group(2)) if matched else ""
    status_match = _STATUS.search(text)
    status = status_match.group(1) if status_match else ""
    if code == "NoSuchBucket":
        what = f"there is no bucket {bucket!r}"
        return BucketError(errno.ENXIO, what, "Create the bucket, or correct BRANCHTRACK_STORE.")
    if isinstance(error, FileNotFoundError) or code == "NoSuchKey":
        return FileNotFoundError(errno.ENOENT, "there is no such object", path)
    if any(word in text for word in _METADATA):
        return BucketError(errno.EACCES, "no credentials for the bucket", _CREDENTIALS)
    if code in ("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"):
        what = f"the endpoint does not accept the credentials ({code})"
        return BucketError(errno.EACCES, what, _CREDENTIALS)
    if status in ("401", "403") or code == "AccessDenied":
        what = f"access to the bucket {bucket!r} is denied ({code or status})"
        fix = "The credentials need s3:GetObject, PutObject, DeleteObject and ListBucket there."
        return BucketError(errno.EACCES, what, fix)
    if status == "501" or code == "NotImplemented":
        what = "the endpoint does not know a request that is needed (NotImplemented)"
        return Unconditional(errno.ENOTSUP, what, "Use a store that knows If-None-Match.")
    if "kind: Timeout" in text or "TimedOut" in text:
        return BucketError(errno.ETIMEDOUT, "the endpoint did not answer in time", _REACH)
    if "kind: Connect" in text or "error sending request" in text:
        reason = "unknown host" if "dns error" in text else "no connection"
        what = f"the endpoint cannot be reached ({reason})"
        return BucketError(errno.EHOSTUNREACH, what, _REACH)
    what = f"the endpoint failed ({' '.join(filter(None, (status, code))) or 'no reason'})"
    return BucketError(errno.EIO, what, "Try again; ask who runs the endpoint if it stays.")
