"""Objects of Amazon S3, with the entry MAD_AWS_S3 of credential.json."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from madrun.data import s3
from madrun.data.manifest import Expected
from madrun.data.work import Progress
from madrun.spec.credentials import AWS, Credentials
from madrun.spec.data import Fetch

LIMIT_S = s3.LIMIT_S
REGION = "us-east-2"  # of MAD's buckets; an entry may say another


def read(settings: Mapping[str, Any], _repository: Path, credentials: Credentials) -> Fetch:
    """Bucket and prefix."""
    server = account(credentials)
    return Fetch(provider="aws", place=s3.place(settings["path"]), more=server.endpoint or server.region)


def fetch(fetch: Fetch, progress: Progress) -> dict[str, Expected]:
    """Every object below the prefix."""
    return s3.fetch(account(progress.means.credentials), fetch.place, progress)


def account(credentials: Credentials) -> s3.Account:
    """`Unreachable` where the entry lacks something. `AWS_ENDPOINT_URL_S3` of the entry names another server."""
    entry = s3.entry(credentials, AWS)
    endpoint, region = entry.get("AWS_ENDPOINT_URL_S3") or None, entry.get("REGION") or REGION
    return s3.Account(user=entry["USERNAME"], password=entry["PASSWORD"], endpoint=endpoint, region=region)
