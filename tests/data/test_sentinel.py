"""Files that nodes leave for each other: seen in one directory, not in another, and never left behind."""

import os

from madrun.data.sentinel import leave, see, take_back


def test_what_one_leaves_the_other_sees_in_one_directory(tmp_path):
    token, error = leave(str(tmp_path), "run", 0)
    assert (bool(token), error) == (True, "")
    assert see(str(tmp_path), "run", {0: token}) == [0]
    take_back(str(tmp_path), "run", 0)
    assert list(tmp_path.iterdir()) == []


def test_it_is_not_seen_elsewhere_nor_with_another_token(tmp_path, monkeypatch):
    monkeypatch.setattr("madrun.data.sentinel._BETWEEN_S", 0.001)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    token, _ = leave(str(tmp_path / "a"), "run", 0)
    assert see(str(tmp_path / "b"), "run", {0: token}) == []
    assert see(str(tmp_path / "a"), "run", {0: "another"}) == []
    assert see(str(tmp_path / "a"), "run", {0: ""}) == []


def test_a_directory_that_is_missing_is_not_made(tmp_path):
    token, error = leave(str(tmp_path / "none"), "run", 0)
    assert (token, error) == ("", "No such file or directory")
    assert not (tmp_path / "none").exists()


def test_what_a_killed_run_left_is_swept_when_it_is_old(tmp_path):
    leave(str(tmp_path), "old", 0)
    leave(str(tmp_path), "fresh", 0)
    os.utime(tmp_path / ".madrun-shared-old-0", (1, 1))
    take_back(str(tmp_path), "run", 0)
    assert [path.name for path in tmp_path.iterdir()] == [".madrun-shared-fresh-0"]


def test_only_node_0_sweeps_so_that_a_thousand_nodes_do_not_list_a_thousand_files(tmp_path):
    leave(str(tmp_path), "old", 0)
    os.utime(tmp_path / ".madrun-shared-old-0", (1, 1))
    leave(str(tmp_path), "run", 1)
    take_back(str(tmp_path), "run", 1)
    assert [path.name for path in tmp_path.iterdir()] == [".madrun-shared-old-0"]
