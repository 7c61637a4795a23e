"""Objects of an S3 server to files: in parts, several at a time, each part once even over several attempts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any

from madrun.data.manifest import Expected
from madrun.data.work import Progress, Unreachable
from madrun.errors import DataError, UsageError
from madrun.spec.credentials import Credentials

LIMIT_S = 60 * 60.0
PART = 32 << 20
_AT_A_TIME, _CHUNK = 8, 1 << 20
_CONNECT_S, _READ_S, _TRIES, _LOOK_EVERY_S = 5, 20, 4, 0.5
_NO_MD5 = "no MD5"  # line of the journal
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}")
_MD5 = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Who asks, and whom."""

    user: str
    password: str = field(repr=False)
    endpoint: str | None = None
    region: str = "us-east-1"


@dataclass(frozen=True, slots=True)
class _Object:
    name: str
    key: str
    size: int
    etag: str


def place(path: str) -> str:
    """`s3://bucket/prefix`, for that or for `bucket/prefix`; `Unreachable` where it names no bucket."""
    bucket, _, prefix = path.removeprefix("s3://").strip("/").partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise Unreachable(f"path: found {path!r}, allowed: s3://BUCKET/PREFIX or BUCKET/PREFIX")
    return f"s3://{bucket}/{prefix}"


def entry(credentials: Credentials, key: str) -> dict[str, str]:
    """The entry with USERNAME and PASSWORD; `Unreachable` where it, or the library that speaks S3, is missing."""
    try:
        found = credentials.get(key)
    except UsageError as error:
        raise Unreachable(str(error)) from None
    missing = [name for name in ("USERNAME", "PASSWORD") if not found.get(name)]
    if missing:
        raise Unreachable(f"{key} of {credentials.origins.get(key, credentials.file)} lacks {' and '.join(missing)}")
    if find_spec("boto3") is None:
        raise Unreachable("boto3, which speaks S3, is not installed: pip install 'madrun[s3]'")
    return found


def fetch(account: Account, place: str, progress: Progress) -> dict[str, Expected]:
    """Every object below the place that is not here yet, part by part."""
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, _, prefix = place.removeprefix("s3://").partition("/")
    client = _client(account)
    try:
        objects = _list(client, bucket, prefix, progress)
    except (ClientError, BotoCoreError) as error:
        raise Unreachable(f"{account.endpoint or 'Amazon S3'}: {place} cannot be listed: {error}") from None
    if not objects:
        raise Unreachable(f"{account.endpoint or 'Amazon S3'}: {place}: no object there")
    try:
        _fetch_all(client, bucket, objects, progress)
        return {one.name: Expected(size=one.size, md5=_md5(one, progress)) for one in objects}
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in ("PreconditionFailed", "412"):
            raise DataError("an object was replaced while it was fetched; start again") from None
        raise DataError(f"{error}; after {progress.so_far}") from None
    except BotoCoreError as error:
        raise DataError(f"{error}; after {progress.so_far}") from None


def _client(account: Account) -> Any:
    import boto3
    from botocore.config import Config

    # Neither the user's own AWS configuration nor a proxy between us: only what credential.json says.
    config = Config(
        connect_timeout=_CONNECT_S,
        read_timeout=_READ_S,
        retries={"max_attempts": _TRIES, "mode": "standard"},
        max_pool_connections=_AT_A_TIME,
        s3={"addressing_style": "path"} if account.endpoint else {},
    )
    return boto3.session.Session().client(
        "s3",
        aws_access_key_id=account.user,
        aws_secret_access_key=account.password,
        endpoint_url=account.endpoint,
        region_name=account.region,
        config=config,
    )


def _list(client: Any, bucket: str, prefix: str, progress: Progress) -> list[_Object]:
    """In a thread of its own: a server that says nothing must not keep the run from its end."""
    pool = ThreadPoolExecutor(1)
    found = pool.submit(lambda: _as_files(_listed(client, bucket, prefix, progress)))
    try:
        while not wait((found,), _LOOK_EVERY_S).done:
            progress.alive()
        return found.result()
    finally:
        pool.shutdown(wait=False)


def _listed(client: Any, bucket: str, prefix: str, progress: Progress) -> Iterator[_Object]:
    """The object of exactly this key, with an empty name, and all below it as if it were a directory."""
    inside = f"{prefix.rstrip('/')}/" if prefix else ""
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix.rstrip("/")):
        progress.alive()
        for found in page.get("Contents", ()):
            key, etag = found["Key"], found["ETag"].strip('"')
            if key == prefix and not key.endswith("/"):
                yield _Object("", key, found["Size"], etag)
            elif key.startswith(inside) and not key.endswith("/"):
                name = key[len(inside) :]
                if ".." in PurePosixPath(name).parts or name.startswith("/") or "\0" in name:
                    raise DataError(f"the object {key!r} would lie outside of the data, or has no name for a file")
                yield _Object(str(PurePosixPath(name)), key, found["Size"], etag)


def _as_files(listed: Iterator[_Object]) -> list[_Object]:
    """Those that a file system can hold together. What lies below a prefix counts before an object of that name."""
    found: dict[str, _Object] = {}
    for one in listed:
        other = found.setdefault(one.name, one)
        if other is not one:
            raise DataError(f"the objects {other.key!r} and {one.key!r} would be one file; rename one of them")
    if len(found) > 1:
        found.pop("", None)
    for one in found.values():
        above = next((found[str(folder)] for folder in PurePosixPath(one.name).parents if str(folder) in found), None)
        if above is not None:
            raise DataError(
                f"the object {above.key!r} would be a file, and {one.key!r} a file in a folder of that name; "
                "rename one of them, or name a prefix that holds but one"
            )
    return list(found.values())


def _fetch_all(client: Any, bucket: str, objects: list[_Object], progress: Progress) -> None:
    todo = [part for one in objects for part in _parts(one, progress)]
    pool = ThreadPoolExecutor(_AT_A_TIME)
    waiting = {pool.submit(_fetch_part, client, bucket, part, progress) for part in todo}
    try:
        while waiting:
            done, waiting = wait(waiting, _LOOK_EVERY_S, FIRST_EXCEPTION)
            for one in done:
                one.result()
            progress.alive()
    finally:
        progress.over = True  # a part that is under way ends with the next byte that comes
        pool.shutdown(wait=False, cancel_futures=True)


def _fetch_part(client: Any, bucket: str, part: tuple[_Object, int], progress: Progress) -> None:
    """One part; over long transfers connections break, so more than one attempt."""
    from botocore.exceptions import BotoCoreError

    for attempt in range(_TRIES):
        try:
            _fetch_once(client, bucket, part, progress)
            return
        except (BotoCoreError, _Cut):
            if attempt == _TRIES - 1 or progress.over:
                raise


class _Cut(DataError):
    """The connection ended before the part did."""


def _fetch_once(client: Any, bucket: str, part: tuple[_Object, int], progress: Progress) -> None:
    one, start = part
    end = min(start + PART, one.size)
    got = client.get_object(Bucket=bucket, Key=one.key, Range=f"bytes={start}-{end - 1}", IfMatch=f'"{one.etag}"')
    with _path(one, progress).open("r+b") as file:
        file.seek(start)
        for chunk in got["Body"].iter_chunks(_CHUNK):
            file.write(chunk)
            progress.add(len(chunk))
        if file.tell() != end:
            raise _Cut(f"{one.key}: the connection ended after {file.tell()} of {end} bytes")
    if str(got.get("ServerSideEncryption", "")).startswith("aws:kms"):
        progress.journal.add(_NO_MD5, one.name)
    progress.journal.add(one.name, one.etag, start)


def _parts(one: _Object, progress: Progress) -> Iterator[tuple[_Object, int]]:
    """What of an object is not here yet; the file is made with its whole size."""
    path = _path(one, progress)
    path.parent.mkdir(parents=True, exist_ok=True)
    here = path.exists() and path.stat().st_size == one.size
    if not here:
        with path.open("wb") as file:
            file.truncate(one.size)
    for start in range(0, one.size, PART):
        if here and (one.name, one.etag, start) in progress.journal:
            progress.keep(min(PART, one.size - start))
        else:
            yield one, start


def _path(one: _Object, progress: Progress) -> Path:
    return progress.data / one.name if one.name else progress.data


def _md5(one: _Object, progress: Progress) -> str:
    """Of an object that was sent in one piece and is not encrypted by a key service the ETag is the MD5."""
    return one.etag if _MD5.fullmatch(one.etag) and (_NO_MD5, one.name) not in progress.journal else ""
