"""What a node does is told to node 0, which writes it down for whoever asks."""

import json
import time

import pytest

from madrun.node.channel.link import SoloLink
from madrun.node.joining.judges import JUDGES
from madrun.node.seeing import board
from madrun.node.seeing.board import Board, last_metric, look_at_log
from madrun.node.seeing.presence import alive, myself


@pytest.fixture
def keep(tmp_path):
    """Makes a board of a node of this rank whose log is in `tmp_path/node-<rank>`."""

    def make(rank=0):
        folder = tmp_path / f"node-{rank}"
        folder.mkdir()
        link = SoloLink(JUDGES)
        return alive(folder, myself(run_id="r", rank=rank, folder=str(folder))), folder, link

    return make


def until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_node_0_writes_what_it_and_the_others_tell(keep, tmp_path, monkeypatch):
    monkeypatch.setattr(board, "_LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(board, "_WRITE_EVERY_S", 0.02)
    here, folder, link = keep()
    link.board = lambda: {1: {"phase": "running", "idle_s": 3.0}}
    (folder / "console.log").write_text("a\nperformance: 007 tok\nb\n")
    file = tmp_path / "status.json"

    def node_0():
        return json.loads(file.read_text())["nodes"]["0"] if file.exists() else {}

    with here as living, Board(link, tmp_path, folder, living) as kept:
        kept.phase("running")
        until(lambda: node_0().get("metric") == "007 tok")
        assert json.loads(file.read_text())["nodes"]["1"] == {"phase": "running", "idle_s": 3.0}
        assert (node_0()["phase"], node_0()["console_bytes"], node_0()["host"]) == (
            "running",
            len("a\nperformance: 007 tok\nb\n"),
            living.resident.host,
        )
        assert link.board()[1]["phase"] == "running"
        assert living.resident.phase == "running"
    assert file.exists()  # the run has no record: what was last heard of it stays


def test_the_file_is_taken_away_once_there_is_a_record(keep, tmp_path):
    here, folder, link = keep()
    (tmp_path / "status.json").touch()
    with here as living, Board(link, tmp_path, folder, living):
        (tmp_path / "record.json").touch()
    assert not (tmp_path / "status.json").exists()


def test_another_node_writes_only_how_the_run_ended(keep, tmp_path, monkeypatch):
    monkeypatch.setattr(board, "_LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(board, "_WRITE_EVERY_S", 0.0)
    here, folder, link = keep(1)
    with here as living, Board(link, tmp_path, folder, living) as kept:
        kept.phase("running")
        time.sleep(0.1)
        kept.ended(3, ("why",))
    assert json.loads((folder / "ended.json").read_text()) == {"exit_code": 3, "reasons": ["why"]}
    assert not (tmp_path / "status.json").exists()


def test_a_directory_that_takes_no_file_does_not_end_the_run(keep, tmp_path, monkeypatch):
    monkeypatch.setattr(board, "_LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(board, "_WRITE_EVERY_S", 0.0)
    here, folder, link = keep()
    with here as living, Board(link, tmp_path / "gone", folder, living) as kept:
        time.sleep(0.1)
        kept.phase("running")
        assert kept._thread.is_alive()


def test_a_status_of_an_earlier_run_over_the_same_link_is_forgotten(keep, tmp_path):
    here, folder, link = keep()
    link.tell({"phase": "running", "metric": "1 x", "idle_s": 9})
    with here as living, Board(link, tmp_path, folder, living):
        assert (link.board()[0]["phase"], link.board()[0]["metric"], link.board()[0]["idle_s"]) == ("", "", None)


@pytest.mark.parametrize(
    ("text", "metric"),
    [
        ("", ""),
        ("performance: 1 x\nperformance: 2.5 tok/s\n", "2.5 tok/s"),
        ("performance: nothing\n", ""),
        ("performance: 3 y", "3 y"),
    ],
)
def test_the_last_metric_of_a_log(text, metric):
    assert last_metric(text) == metric


def test_only_the_end_of_a_log_is_read(tmp_path):
    file = tmp_path / "console.log"
    assert look_at_log(file) is None
    file.write_bytes(b"performance: 1 x\n" + b"a" * (64 << 10))
    size, _, metric = look_at_log(file)
    assert (size, metric) == ((64 << 10) + 17, "")
