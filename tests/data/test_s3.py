"""Objects of a real S3 server: every part once, over several attempts, and never another version of them."""

import hashlib
import socket
import time

import pytest
from servers import USER, s3_server

from madrun.data import s3
from madrun.data.mirror import fill
from madrun.data.work import Means, Unreachable
from madrun.errors import DataError
from madrun.spec.credentials import Credentials
from madrun.spec.data import Fetch

pytestmark = [pytest.mark.e2e, pytest.mark.beside, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


@pytest.fixture(scope="module")
def server():
    with s3_server() as found:
        yield found


@pytest.fixture
def bucket(server, request):
    """A bucket of the test's own with a directory of objects."""
    name = f"b-{hashlib.sha256(request.node.name.encode()).hexdigest()[:12]}"
    server.put(name, corpus__a="alice", corpus__sub__b="bob", corpus2__c="carol", corpus__empty="")
    server.gets()
    return name


@pytest.fixture
def get(server, tmp_path):
    """Fetches a path of the server to a mirror, by `minio` or `aws`."""
    minio = USER | {"MINIO_ENDPOINT": server.endpoint}
    aws = USER | {"AWS_ENDPOINT_URL_S3": server.endpoint}

    def get(place, provider="minio", entries=None, **means):
        entries = entries or {"MAD_MINIO": minio, "MAD_AWS_S3": aws}
        fetches = (Fetch(provider=provider, place=place),)
        return fill(tmp_path / "corpus", fetches, Means(credentials=Credentials(entries=entries), **means))

    return get


def tree(folder):
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("provider", ["minio", "aws"])
def test_all_objects_below_a_prefix_are_fetched_and_no_others(get, bucket, tmp_path, provider):
    filled = get(f"s3://{bucket}/corpus", provider)
    assert (filled.made, filled.provider, filled.bytes) == (True, provider, 8)
    assert tree(tmp_path / "corpus") == {"a": "alice", "sub/b": "bob", "empty": ""}


def test_one_object_becomes_one_file_and_a_bucket_a_directory(get, bucket, tmp_path):
    get(f"s3://{bucket}/corpus/a")
    assert (tmp_path / "corpus").read_text() == "alice"
    (tmp_path / "corpus").unlink()
    get(f"s3://{bucket}/")
    assert tree(tmp_path / "corpus")["corpus2/c"] == "carol"


class Stop(Exception):
    """What a run raises that is over."""


def test_what_was_fetched_before_a_kill_is_not_fetched_again(get, server, bucket, tmp_path, monkeypatch):
    monkeypatch.setattr(s3, "PART", 1 << 16)
    monkeypatch.setattr(s3, "_AT_A_TIME", 1)
    big = bytes(range(256)) * 4096
    server.client.put_object(Bucket=bucket, Key="corpus/big", Body=big)
    server.gets()
    calls = []

    def check():
        calls.append(1)
        if len(calls) > 12:
            raise Stop

    with pytest.raises(Stop):
        get(f"s3://{bucket}/corpus", check=check)
    first = server.gets()
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == []
    get(f"s3://{bucket}/corpus")
    again = server.gets()
    assert len(first) > 4
    assert len(first) + len(again) <= 18 + 2  # 16 parts and two objects, and the part that was cut
    assert (tmp_path / "corpus" / "big").read_bytes() == big


def test_an_object_that_was_replaced_between_two_attempts_is_fetched_anew(get, server, bucket, tmp_path, monkeypatch):
    monkeypatch.setattr(s3, "_AT_A_TIME", 1)
    calls = []

    def check():
        calls.append(1)
        if len(calls) > 5:
            raise Stop

    with pytest.raises(Stop):
        get(f"s3://{bucket}/corpus", check=check)
    server.client.put_object(Bucket=bucket, Key="corpus/a", Body="ALICE")
    get(f"s3://{bucket}/corpus")
    assert (tmp_path / "corpus" / "a").read_text() == "ALICE"


def test_a_prefix_without_objects_and_a_bucket_that_is_none_are_named(get, bucket, server):
    with pytest.raises(DataError, match=f"{server.endpoint}: s3://{bucket}/none: no object there"):
        get(f"s3://{bucket}/none")
    with pytest.raises(DataError, match="s3://no-such-bucket/x cannot be listed: .*NoSuchBucket"):
        get("s3://no-such-bucket/x")


def test_a_server_that_does_not_answer_is_named_soon_and_the_password_is_not(get, tmp_path, monkeypatch):
    monkeypatch.setattr(s3, "_TRIES", 1)
    entries = {"MAD_MINIO": USER | {"MINIO_ENDPOINT": "127.0.0.1:1"}}
    with pytest.raises(DataError) as caught:
        get("s3://bucket/x", entries=entries)
    assert "minio: http://127.0.0.1:1: s3://bucket/x cannot be listed" in str(caught.value)
    assert USER["PASSWORD"] not in str(caught.value)


def test_an_object_that_would_lie_outside_of_the_data_is_refused(get, server, bucket, tmp_path):
    server.client.put_object(Bucket=bucket, Key="bad/../../evil", Body="x")
    with pytest.raises(DataError, match="would lie outside of the data"):
        get(f"s3://{bucket}/bad")
    assert not (tmp_path / "evil").exists()


def test_without_the_library_its_extra_is_named(monkeypatch):
    monkeypatch.setattr(s3, "find_spec", lambda _: None)
    with pytest.raises(Unreachable, match=r"boto3, which speaks S3, is not installed: pip install 'madrun\[s3\]'"):
        s3.entry(Credentials(entries={"MAD_MINIO": USER}), "MAD_MINIO")


@pytest.mark.parametrize("path", ["bucket/a/b", "s3://bucket/a/b", "bucket/a/b/", "/bucket/a/b"])
def test_both_spellings_of_a_place_are_one(path):
    assert s3.place(path) == "s3://bucket/a/b"


@pytest.mark.parametrize("path", ["s3://", "/", "b", "a b/c", "http://x/y"])
def test_what_names_no_bucket_is_no_place(path):
    with pytest.raises(Unreachable, match="allowed: s3://BUCKET/PREFIX"):
        s3.place(path)


@pytest.mark.parametrize(
    ("keys", "part"),
    [
        (("x//y", "x/y"), "the objects 'odd/x//y' and 'odd/x/y' would be one file"),
        (("a", "a/b"), "the object 'odd/a' would be a file, and 'odd/a/b' a file in a folder of that name"),
        (("a\0b",), "'odd/a\\x00b' would lie outside of the data, or has no name for a file"),
    ],
)
def test_objects_that_no_file_system_holds_together_are_named(get, server, bucket, tmp_path, keys, part):
    for key in keys:
        server.client.put_object(Bucket=bucket, Key=f"odd/{key}", Body="x")
    with pytest.raises(DataError) as caught:
        get(f"s3://{bucket}/odd")
    assert part in str(caught.value)
    assert not (tmp_path / "corpus").exists()


def test_what_lies_below_a_prefix_counts_before_an_object_of_its_name(get, server, bucket, tmp_path):
    server.client.put_object(Bucket=bucket, Key="corpus", Body="a marker")
    get(f"s3://{bucket}/corpus")
    assert tree(tmp_path / "corpus") == {"a": "alice", "sub/b": "bob", "empty": ""}


def test_a_server_that_says_nothing_does_not_keep_a_run_from_its_end(get):
    def stop():
        if time.monotonic() > end:
            raise Stop

    with socket.create_server(("127.0.0.1", 0)) as mute:
        entries = {"MAD_MINIO": USER | {"MINIO_ENDPOINT": f"127.0.0.1:{mute.getsockname()[1]}"}}
        end = time.monotonic() + 0.5
        with pytest.raises(Stop):
            get("s3://bucket/x", entries=entries, check=stop)
    assert time.monotonic() - end < 60
