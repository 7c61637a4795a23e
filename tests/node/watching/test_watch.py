"""The watch over one box, in the process of the test itself."""

import os
import time

import pytest

from madrun.node.channel.link import SoloLink
from madrun.node.watching.watch import Watch
from madrun.node.workspace import Workspace


@pytest.fixture
def watch(tmp_path, make_test_plan, monkeypatch):
    """A watch over this process; `stall` is the limit. Nothing that it reads ever moves."""
    from dataclasses import replace

    monkeypatch.setattr("madrun.node.watching.stall.moves", lambda _row, _ranks: False)
    monkeypatch.setattr("madrun.node.watching.watch._FIRST_S", 0.0)
    monkeypatch.setattr("madrun.node.watching.watch._EVERY_S", 0.05)
    monkeypatch.setattr("madrun.node.watching.processtable.drives", lambda _pid: True)
    started = []

    def make(stall=0.0, link=None):
        plan = make_test_plan()
        space = Workspace(tmp_path / "r1/node-0")
        space.work.mkdir(parents=True)
        job = replace(plan.job, stall_timeout_s=stall)
        started.append(Watch(job, plan.node, space, link or SoloLink({}), os.getpid()))
        return started[-1], space

    yield make
    for one in started:
        one.stop()


def test_a_watch_that_was_never_started_has_nothing_to_tell(watch):
    one, _ = watch()
    assert one.look() is None
    assert one.stop() == {}


def test_a_short_script_has_a_first_and_a_last_row(watch, monkeypatch):
    monkeypatch.setattr("madrun.node.watching.watch._EVERY_S", 60.0)
    one, space = watch()
    one.start()
    file = space.root / "telemetry.csv"
    deadline = time.monotonic() + 60
    while not file.exists() or len(file.read_text().splitlines()) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert one.stop()["run_memory_bytes"]["last"] > 0
    assert len(file.read_text().splitlines()) == 3
    assert one.note == ""


def test_a_script_that_ends_at_once_pays_for_no_telemetry(watch, monkeypatch):
    monkeypatch.setattr("madrun.node.watching.watch._FIRST_S", 0.2)
    monkeypatch.setattr("madrun.probe.telemetry.open_sources", lambda _wanted: pytest.fail("it was opened"))
    one, space = watch()
    one.start()
    assert one.stop() == {}
    assert not (space.root / "telemetry.csv").exists()
    assert one.note == ""


def test_standing_still_is_declared_after_the_limit_and_never_without_one(watch):
    link = SoloLink({})
    one, space = watch(stall=0.2, link=link)
    one.start()
    deadline = time.monotonic() + 60
    while one.look() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert one.look().kind == "stalled"
    assert link.board()[0]["idle_s"] >= 0.2
    assert link.board()[0]["idle_run"] == space.root.parent.name
    one.stop()
    assert link.board()[0]["idle_ended"] is True


def test_without_a_limit_nothing_is_ever_declared(watch):
    one, _ = watch()
    one.start()
    time.sleep(0.3)
    assert one.look() is None


def test_a_reading_that_hangs_does_not_hold_up_the_run(watch, monkeypatch):
    import threading

    release = threading.Event()
    monkeypatch.setattr("madrun.node.watching.watch._LAST_S", 0.1)
    reading = threading.Event()
    monkeypatch.setattr(
        "madrun.probe.telemetry.open_sources", lambda _wanted: reading.set() or (release.wait(600) and [])
    )
    one, _ = watch()
    one.start()
    assert reading.wait(60)
    try:
        assert one.stop() == {}
        assert "a reading took more than 0.1 s" in one.note
    finally:
        release.set()


def test_a_sampler_that_fails_says_so_and_ends_no_run(watch, monkeypatch):
    monkeypatch.setattr("madrun.node.watching.stall.Traces.changed", lambda _self: 1 // 0)
    one, _ = watch()
    one.start()
    deadline = time.monotonic() + 60
    while not one.note:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert one.stop()["run_memory_bytes"]["last"] > 0
    assert "ZeroDivisionError" in one.note


def test_evidence_that_hangs_in_the_kernel_does_not_hold_up_the_end(watch, monkeypatch):
    import threading

    release = threading.Event()
    monkeypatch.setattr("madrun.node.watching.watch._EXAMINED_S", 0.2)
    monkeypatch.setattr("madrun.node.watching.evidence.processes_of", lambda _pid: [] if release.wait(600) else [])
    one, _ = watch()
    began = time.monotonic()
    try:
        assert one.examine(lambda _line: None, ()) == ()
        assert time.monotonic() - began < 60
    finally:
        release.set()
