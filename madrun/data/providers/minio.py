"""Objects of an S3 server of one's own, with the entry MAD_MINIO of credential.json."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from madrun.data import s3
from madrun.data.manifest import Expected
from madrun.data.work import Progress, Unreachable
from madrun.spec.credentials import MINIO, Credentials
from madrun.spec.data import Fetch

LIMIT_S = s3.LIMIT_S
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "MINIO_ENDPOINT")


def read(settings: Mapping[str, Any], _repository: Path, credentials: Credentials) -> Fetch:
    """Bucket and prefix; the entry must say where the server is."""
    server = account(credentials)
    return Fetch(provider="minio", place=s3.place(settings["path"]), more=server.endpoint or server.region)


def fetch(fetch: Fetch, progress: Progress) -> dict[str, Expected]:
    """Every object below the prefix."""
    return s3.fetch(account(progress.means.credentials), fetch.place, progress)


def account(credentials: Credentials) -> s3.Account:
    """`Unreachable` where the entry lacks something."""
    entry = s3.entry(credentials, MINIO)
    endpoint = next((entry[name] for name in _ENDPOINTS if entry.get(name)), "")
    if not endpoint:
        raise Unreachable(f"{MINIO} of {credentials.origins.get(MINIO, credentials.file)} lacks {_ENDPOINTS[1]}")
    endpoint = endpoint if "://" in endpoint else f"http://{endpoint}"
    return s3.Account(user=entry["USERNAME"], password=entry["PASSWORD"], endpoint=endpoint)
