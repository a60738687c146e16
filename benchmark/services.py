"""What differs between S3-compatible, Google's and Azure's object stores: connecting, refusals.

The clients try again by themselves, some for minutes; here each gets one try, since whoever calls
tries again with pauses of its own, and layers of tries would multiply.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from functools import partial
from typing import Any


@dataclass(frozen=True)
class Service:
    """One kind of object store: the package that speaks to it, and how rights are given."""

    package: str  # module that fsspec needs
    install: str  # what pip is asked for
    credentials: str


SERVICES = {
    "s3": Service(
        "s3fs",
        "'ssl-bench[s3]'",
        "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE (and AWS_ENDPOINT_URL "
        "for a server that is not Amazon's)",
    ),
    "gs": Service(
        "gcsfs",
        "'ssl-bench[gcs]'",
        "run `gcloud auth application-default login` or set GOOGLE_APPLICATION_CREDENTIALS",
    ),
    "az": Service(
        "adlfs",
        "'ssl-bench[azure]'",
        "set AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT_NAME and, unless `az login` "
        "or the machine's identity gives access, AZURE_STORAGE_ACCOUNT_KEY",
    ),
}
ALIASES = {"s3a": "s3", "gcs": "gs", "abfs": "az"}


def kind(scheme: str) -> str:
    """`s3`, `gs` or `az`; another scheme of fsspec is its own kind."""
    return ALIASES.get(scheme, scheme)


def connect(scheme: str, connect_seconds: float, read_seconds: float) -> Any:
    """The fsspec file system of a scheme, with these time-outs, which tries everything once."""
    import fsspec

    if kind(scheme) == "s3":
        times = {"connect_timeout": connect_seconds, "read_timeout": read_seconds}
        config = {**times, "retries": {"total_max_attempts": 1}}
        files = fsspec.filesystem(scheme, config_kwargs=config)
        files.retries = 1
    elif kind(scheme) == "gs":
        files = _google(scheme, connect_seconds, read_seconds)
    elif kind(scheme) == "az":
        files = fsspec.filesystem(scheme)
        policy = getattr(getattr(files.service_client, "_config", None), "retry_policy", None)
        if policy is not None:
            policy.total_retries = 0
    else:
        files = fsspec.filesystem(scheme)
    return files


def _google(scheme: str, connect_seconds: float, read_seconds: float) -> Any:
    # without it a second protocol (gRPC) is asked for the kind of the bucket, on every call, and
    # each refusal is a line on the terminal; nothing here needs what only that protocol can do
    os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    logging.getLogger("gcsfs").setLevel(logging.CRITICAL)  # a traceback for what is tried again
    import aiohttp
    import fsspec

    times = aiohttp.ClientTimeout(sock_connect=connect_seconds, sock_read=read_seconds)
    files = fsspec.filesystem(scheme, requests_timeout=times)
    once = getattr(type(files)._request, "__wrapped__", None)
    if once is not None:
        files._request = partial(once, files)
    return files


def is_refusal(error: BaseException) -> bool:
    """Whether a store said that the rights are missing, or none could be found to show it."""
    name = type(error).__name__
    if isinstance(error, PermissionError) or "Credentials" in name:
        return True
    codes = (getattr(error, "status_code", None), getattr(error, "code", None))  # Azure's, Google's
    if any(code in (401, 403, "401", "403") for code in codes) or name == "RefreshError":
        return True
    said = str(error)
    return said.startswith(("Forbidden:", "unable to connect to account")) or (
        "InvalidAccessKeyId" in said
    )


def may_pass(error: BaseException) -> bool:
    """Whether a refusal may be that of a token which was just being renewed."""
    return "Invalid Credentials" in str(error)


def lacks_bucket(scheme: str, bucket: str, error: BaseException) -> bool:
    """Whether what was not found is the bucket, not an object in it."""
    if kind(scheme) == "gs":  # objects of the bucket are listed, and written, by this address
        return isinstance(error, FileNotFoundError) and str(error).endswith(f"b/{bucket}/o")
    if kind(scheme) == "az":
        said = [getattr(e, "error_code", None) for e in (error, error.__cause__)]
        return "ContainerNotFound" in said
    return isinstance(error, FileNotFoundError) and (
        "bucket" in f"{error} {error.__cause__!r}".lower() and "exist" in str(error)
    )
