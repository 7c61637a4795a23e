"""A mirror is made once, goes on where a killed process stopped, and is visible only when it is whole."""

import errno
import multiprocessing
import os
import signal
import time

import pytest

from madrun.data import manifest, mirror
from madrun.data.claim import Queue
from madrun.data.mirror import fill
from madrun.data.providers import PROVIDERS
from madrun.data.providers import local as local_provider
from madrun.data.work import Means, Unreachable
from madrun.errors import DataError
from madrun.spec.data import Fetch

FORK = multiprocessing.get_context("fork")


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "a.txt").write_text("alice")
    (folder / "link").symlink_to("sub/a.txt")
    return folder


@pytest.fixture
def target(tmp_path):
    (tmp_path / "mirror").mkdir()
    return tmp_path / "mirror" / "corpus"


def visible(target):
    return sorted(path.name for path in target.parent.iterdir() if not path.name.startswith("."))


def hidden(target):
    return sorted(path.name for path in target.parent.iterdir() if path.name.startswith("."))


def test_a_directory_is_copied_once_with_its_links_and_times(source, target, local, means):
    os.utime(source / "sub" / "a.txt", (1, 2))
    assert fill(target, local(source), means()).made
    assert (target / "sub" / "a.txt").read_text() == "alice"
    assert (target / "sub" / "a.txt").stat().st_mtime == 2
    assert (target / "link").is_symlink()
    (source / "sub" / "a.txt").write_text("other")
    again = fill(target, local(source), means())
    assert (again.made, again.bytes, again.provider) == (False, 5, "local")
    assert (target / "sub" / "a.txt").read_text() == "alice"


def test_a_link_that_would_lead_nowhere_from_the_copy_becomes_the_file(source, target, local, means, tmp_path, told):
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "b").write_text("bob")
    (source / "out").symlink_to("../blobs/b")  # as the snapshots of a Hugging Face cache
    (source / "absolute").symlink_to(source / "sub" / "a.txt")
    (source / "folder").symlink_to(tmp_path / "blobs")
    (source / "dead").symlink_to("gone")
    fill(target, local(source), means())
    assert [(target / name).is_symlink() for name in ("out", "absolute", "link", "dead")] == [False, False, True, True]
    assert ((target / "out").read_text(), (target / "absolute").read_text()) == ("bob", "alice")
    assert [line for line in told if "outside of the data, which is not copied" in line] == [
        f"{source}/folder leads to a folder outside of the data, which is not copied: {tmp_path}/blobs"
    ]


def test_a_single_file_is_copied(source, target, local, means):
    assert fill(target, local(source / "sub" / "a.txt"), means()).bytes == 5
    assert target.read_text() == "alice"


def test_the_copy_and_its_manifest_are_all_that_is_left(source, target, local, means):
    fill(target, local(source), means())
    assert (visible(target), hidden(target)) == (["corpus"], [".corpus.manifest.json"])
    assert manifest.read(target).files == {"sub/a.txt": manifest.Expected(size=5)}


def test_a_source_that_is_not_there_is_an_error_with_what_was_tried_and_leaves_nothing(tmp_path, target, local, means):
    with pytest.raises(DataError, match=f"{target}: no provider of it can be had: local: {tmp_path}/none does not"):
        fill(target, local(tmp_path / "none"), means())
    assert list(target.parent.iterdir()) == []


def test_the_next_provider_serves_where_the_first_cannot_be_had(source, target, local, means, tmp_path):
    filled = fill(target, (*local(tmp_path / "none"), *local(source)), means())
    assert filled.made
    assert "corpus: not fetched from local" in filled.notes[0]


def test_a_directory_that_does_not_exist_is_not_made(tmp_path, source, local, means):
    with pytest.raises(DataError, match="nothing can be written beside it: No such file"):
        fill(tmp_path / "none" / "corpus", local(source), means())
    assert not (tmp_path / "none").exists()


class Stop(Exception):
    """What a run raises that is over."""


def stopping_after(size):
    """A check that ends the copy once so much of the target's hidden directory is there."""
    state = {"calls": 0}

    def check():
        state["calls"] += 1
        if state["calls"] > size:
            raise Stop

    return check


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(local_provider, "_CHUNK", 1 << 10)


def test_a_copy_that_is_ended_is_gone_on_with_by_the_next(source, target, local, means, small_chunks):
    (source / "big").write_bytes(bytes(range(256)) * 400)
    with pytest.raises(Stop):
        fill(target, local(source), means(check=stopping_after(60)))
    assert visible(target) == []
    (half,) = target.parent.glob(".corpus.part-*/data/big")
    kept = half.stat().st_size
    assert 0 < kept < 102_400
    half.write_bytes(b"x" * kept)  # what is here already is not read again
    assert fill(target, local(source), means()).made
    assert (target / "big").read_bytes().startswith(b"x" * (kept - kept % 1024))
    assert (target / "big").stat().st_size == 102_400
    assert hidden(target) == [".corpus.manifest.json"]


def test_what_was_begun_from_another_source_is_not_gone_on_with(source, target, local, means, small_chunks, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "big").write_bytes(b"y" * 100_000)
    with pytest.raises(Stop):
        fill(target, local(other), means(check=stopping_after(60)))
    fill(target, local(source), means())
    assert sorted(path.name for path in target.iterdir()) == ["link", "sub"]


def test_a_file_that_changed_since_it_was_begun_is_copied_anew(source, target, local, means, small_chunks):
    (source / "big").write_bytes(b"x" * 100_000)
    with pytest.raises(Stop):
        fill(target, local(source), means(check=stopping_after(60)))
    (source / "big").write_bytes(b"y" * 100_000)
    os.utime(source / "big", (5, 5))
    fill(target, local(source), means())
    assert (target / "big").read_bytes() == b"y" * 100_000


def test_a_full_disk_is_named_with_what_is_kept(source, target, local, means, monkeypatch):
    def full(_source, data, _name, _progress):
        data.write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(data))

    monkeypatch.setattr(local_provider, "_copy", full)
    with pytest.raises(DataError) as caught:
        fill(target, local(source), means())
    for part in (str(target), f"local {source}", "No space left on device", "4 B are kept in", ".corpus.part-1"):
        assert part in str(caught.value)
    assert visible(target) == []


def test_a_pipe_among_the_data_is_an_error_and_no_endless_wait(source, target, local, means):
    os.mkfifo(source / "pipe")
    with pytest.raises(DataError, match="pipe is no regular file"):
        fill(target, local(source), means())
    assert visible(target) == []


def test_what_takes_too_long_is_ended_with_the_time_it_had(source, target, local, means, monkeypatch):
    monkeypatch.setattr(local_provider, "LIMIT_S", 0.0)
    with pytest.raises(DataError, match="not done after 0.00 s, the time that it may take"):
        fill(target, local(source), means())


def _race(number, source, target, counted):
    def check():
        time.sleep(0.005)

    made = fill(target, (Fetch(provider="local", place=str(source)),), Means(check=check)).made
    counted.put((number, made, sorted(path.name for path in target.iterdir())))


def test_of_processes_that_race_one_makes_the_copy_and_all_find_it_whole(source, target):
    counted = FORK.Queue()
    racers = [FORK.Process(target=_race, args=(number, source, target, counted)) for number in range(4)]
    for racer in racers:
        racer.start()
    results = [counted.get(timeout=60) for _ in racers]
    for racer in racers:
        racer.join()
    assert [made for _, made, _ in results].count(True) == 1
    assert all(names == ["link", "sub"] for _, _, names in results)


def _forever(source, target):
    def check():
        time.sleep(0.01)

    fill(target, (Fetch(provider="local", place=str(source)),), Means(check=check))


def test_of_a_killed_process_the_next_takes_over_at_once_what_it_had(
    source, target, local, means, small_chunks, told, monkeypatch
):
    (source / "big").write_bytes(bytes(1 << 20))
    first = FORK.Process(target=_forever, args=(source, target))
    first.start()
    half = target.parent / ".corpus.part-1/data/big"
    while not half.exists() or half.stat().st_size < 20_000:
        time.sleep(0.01)
    assert visible(target) == []
    os.kill(first.pid, signal.SIGKILL)  # and not collected yet: a zombie is dead, too
    monkeypatch.setattr("madrun.data.claim.SILENT_S", 600.0)
    fill(target, local(source), means())
    first.join()
    assert (target / "big").stat().st_size == 1 << 20
    assert hidden(target) == [".corpus.manifest.json"]


def _result(source, target, counted):
    def check():
        time.sleep(0.01)

    counted.put(fill(target, (Fetch(provider="local", place=str(source)),), Means(check=check)).made)


@pytest.mark.e2e
@pytest.mark.beside
def test_whoever_stood_still_for_too_long_leaves_the_copy_to_the_next_and_finds_it(
    source, target, local, means, small_chunks, monkeypatch
):
    monkeypatch.setattr("madrun.data.claim.BEAT_S", 0.1)
    (source / "big").write_bytes(bytes(1 << 19))
    counted = FORK.Queue()
    first = FORK.Process(target=_result, args=(source, target, counted))
    first.start()
    half = target.parent / ".corpus.part-1/data/big"
    while not half.exists() or half.stat().st_size < 20_000:
        time.sleep(0.01)
    os.kill(first.pid, signal.SIGSTOP)
    monkeypatch.setattr("madrun.data.claim.SILENT_S", 0.5)
    assert fill(target, local(source), means()).made
    os.kill(first.pid, signal.SIGCONT)
    assert counted.get(timeout=60) is False
    first.join()
    assert (target / "big").stat().st_size == 1 << 19
    assert hidden(target) == [".corpus.manifest.json"]


def test_whoever_waits_says_for_whom(source, target, local, means, told, monkeypatch):
    claim = Queue(target).attempt()
    monkeypatch.setattr(mirror, "_LOOK_EVERY_S", 0.05)

    def check():
        if told:
            raise Stop

    with pytest.raises(Stop):
        fill(target, local(source), means(check=check))
    claim.release()
    assert f"waiting for process {os.getpid()} on" in told[0]
    assert str(target) in told[0]


def test_a_mirror_that_is_not_what_was_fetched_is_refused(source, target, local, means):
    fill(target, local(source), means())
    (target / "sub" / "a.txt").write_text("al")
    with pytest.raises(DataError, match="sub/a.txt: found 2 bytes, it has 5; remove .* and start again"):
        fill(target, local(source), means())


def test_a_mirror_that_a_user_put_there_is_used_as_it_is_and_said(source, target, local, means):
    target.mkdir()
    assert "has no manifest" in fill(target, local(source), means()).notes[0]


def test_a_mirror_of_another_source_is_used_and_said(source, target, local, means):
    fill(target, local(source), means())
    notes = fill(target, local("/else"), means()).notes
    assert f"was fetched from local {source}, not from local /else" in notes[0]


def test_files_that_are_not_what_the_provider_says_never_become_visible(source, target, local, means, monkeypatch):
    def wrong(_fetch, progress):
        progress.data.mkdir(exist_ok=True)
        (progress.data / "a").write_text("abc")
        return {"a": manifest.Expected(size=3, md5="0" * 32)}

    monkeypatch.setattr(local_provider, "fetch", wrong)
    with pytest.raises(DataError, match="a: its MD5 is not 0000"):
        fill(target, local(source), means())
    assert visible(target) == []


def test_a_provider_that_vanishes_leaves_its_reason(target, local, means, monkeypatch):
    def gone(_fetch, _progress):
        raise Unreachable("the cable is out")

    monkeypatch.setattr(PROVIDERS["local"], "fetch", gone)
    with pytest.raises(DataError, match="the cable is out"):
        fill(target, local("/x"), means())
