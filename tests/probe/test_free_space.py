"""The space that is left where a run writes."""

import os

import pytest

from madrun.probe.mounts import engine_root, free_space


def test_a_directory_that_is_not_there_yet_has_the_space_of_its_parent(tmp_path):
    free, size = free_space(str(tmp_path / "results" / "runs"))
    assert 0 <= free <= size


def test_without_inodes_there_is_no_space(monkeypatch):
    found = os.statvfs_result((4096, 4096, 100, 50, 50, 10, 0, 0, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda _path: found)
    assert free_space("/") == (0, 409600)


def test_what_cannot_be_asked_is_not_known(monkeypatch):
    def refuse(_path):
        raise PermissionError

    monkeypatch.setattr(os, "statvfs", refuse)
    assert free_space("/") is None


@pytest.mark.parametrize(
    ("engine", "place"), [("docker", ".local/share/docker"), ("podman", ".local/share/containers/storage")]
)
def test_the_files_of_a_rootless_engine_are_the_users(tmp_path, engine, place):
    assert engine_root(engine, True, str(tmp_path)) == ""
    (tmp_path / place).mkdir(parents=True)
    assert engine_root(engine, True, str(tmp_path)) == str(tmp_path / place)
