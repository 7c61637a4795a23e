"""One process at a time has the claim; the dead and the silent lose it."""

import json
import os
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from madrun.data import claim as claims
from madrun.data.claim import Claim, Holder, Lost, Queue


@pytest.fixture
def target(tmp_path):
    return tmp_path / "corpus"


def files(target):
    return sorted(path.name for path in target.parent.iterdir())


def until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def written(target, number, **changes):
    values = {"host": "h", "pid": 1, "space": "elsewhere", "started": "1", "done": 0, "beat": 0}
    (target.parent / f".corpus.claim-{number}").write_text(json.dumps(values | changes))


def test_one_has_it_and_others_see_who_until_it_is_given_back(target):
    held = Queue(target).attempt()
    seen = Queue(target).attempt()
    assert isinstance(held, Claim)
    assert isinstance(seen, Holder)
    assert (seen.pid, seen.is_dead) == (os.getpid(), False)
    held.release()
    assert files(target) == []
    again = Queue(target).attempt()
    assert isinstance(again, Claim)
    again.release()


def test_that_of_a_process_of_this_host_that_has_ended_is_taken_at_once(target):
    child = subprocess.Popen(["sleep", "100"])
    written(target, 3, pid=child.pid, space=claims._space(), started=claims._started(child.pid))
    assert isinstance(Queue(target).attempt(), Holder)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    taken = Queue(target).attempt()  # before it is collected
    child.wait()
    assert taken.number == 4
    assert files(target) == [".corpus.claim-4"]
    taken.release()


def test_a_process_number_that_was_given_to_another_does_not_keep_it_alive(target):
    written(target, 1, pid=os.getpid(), space=claims._space(), started="1")
    taken = Queue(target).attempt()
    assert isinstance(taken, Claim)
    taken.release()


def test_that_of_another_host_is_taken_when_its_line_stands_still(target, monkeypatch):
    now = [100.0]
    clock = SimpleNamespace(
        monotonic=lambda: now[0], clock_gettime=time.clock_gettime, CLOCK_BOOTTIME=time.CLOCK_BOOTTIME
    )
    monkeypatch.setattr(claims, "time", clock)
    written(target, 1)
    queue = Queue(target)
    assert isinstance(queue.attempt(), Holder)
    now[0] += claims.SILENT_S - 1
    written(target, 1, beat=1)
    for _ in range(2):
        assert isinstance(queue.attempt(), Holder)
        now[0] += claims.SILENT_S - 1
    taken = queue.attempt()
    assert taken.number == 2
    taken.release()


def test_whoever_was_taken_for_dead_finds_out(target, monkeypatch):
    monkeypatch.setattr(claims, "BEAT_S", 0.02)
    held = Queue(target).attempt()
    held.check()
    written(target, held.number + 1)
    with pytest.raises(Lost, match="another fills it now"):
        held.confirm()
    with pytest.raises(Lost):
        held.check()
    held.release()


def test_the_thread_that_renews_a_line_finds_that_it_was_taken_over(target, monkeypatch):
    monkeypatch.setattr(claims, "BEAT_S", 0.02)
    held = Queue(target).attempt()
    written(target, held.number + 1)
    until(held._lost.is_set)
    with pytest.raises(Lost):
        held.check()
    held.release()


def test_it_is_renewed_while_it_is_held(target, monkeypatch):
    monkeypatch.setattr(claims, "BEAT_S", 0.02)
    held = Queue(target).attempt()
    held.done = 77
    until(lambda: Queue(target).attempt().beat > 1 and Queue(target).attempt().done == 77)
    held.release()
    assert files(target) == []


def test_whoever_reads_a_line_while_it_is_renewed_finds_who_has_it(target, monkeypatch):
    held = Queue(target).attempt()
    held.done = 10**15
    held._write(claims._line(held._token, held.done, 1))
    opened, found = Path.open, []

    def looked_at(path, *words, **more):
        file = opened(path, *words, **more)
        with opened(path, "rb") as other:  # between opening and writing
            found.append(json.loads(other.read())["done"])
        return file

    line = claims._line(held._token, 7, 2)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", looked_at)
        held._write(line)
    assert found == [10**15]
    assert Queue(target).attempt().done == 7
    held.release()


def test_one_that_is_gone_is_not_made_again_by_its_renewal(target):
    held = Queue(target).attempt()
    (target.parent / ".corpus.claim-1").unlink()
    with pytest.raises(FileNotFoundError):
        held._write(claims._line(held._token, 0, 1))
    held.release()
    assert files(target) == []


def test_two_that_saw_different_ends_both_stand_back(target):
    written(target, 1)
    queue = Queue(target)
    assert queue._take(5) is None  # took the claim 5 for dead, and 1 is there
    assert files(target) == [".corpus.claim-1"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', "\udcff"])
def test_a_line_that_is_being_written_is_somebodys(target, text):
    (target.parent / ".corpus.claim-1").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert isinstance(Queue(target).attempt(), Holder)


def test_a_number_that_began_anew_is_not_that_of_a_process_that_stood_still(target, monkeypatch):
    held = Queue(target).attempt()
    held._over.set()  # as if it were stopped: it beats no more
    held._beating.join()
    (target.parent / ".corpus.claim-1").unlink()  # taken over, and given back by the next
    third = Queue(target).attempt()
    assert third.number == held.number == 1
    monkeypatch.setattr(claims, "SILENT_S", -1.0)  # it wakes
    with pytest.raises(Lost):
        held.check()
    held.release()
    monkeypatch.undo()
    third.confirm()
    assert files(target) == [".corpus.claim-1"]
    third.release()


def test_where_a_claim_cannot_be_made_whole_nothing_of_it_is_left(target, monkeypatch):
    written(target, 1, pid=os.getpid(), space=claims._space(), started="1")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(claims, "_line", full)
    with pytest.raises(OSError, match="No space left"):
        Queue(target).attempt()
    assert files(target) == [".corpus.claim-1"]
