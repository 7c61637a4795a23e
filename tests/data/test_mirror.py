"""A mirror is made once and visible only when it is whole."""

import multiprocessing
import os
import shutil
import socket

import pytest

from madrun.data.mirror import fill
from madrun.errors import DataError


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


def test_a_directory_is_copied_once_with_its_links(source, target):
    assert fill(source, target)
    assert (target / "sub" / "a.txt").read_text() == "alice"
    assert (target / "link").is_symlink()
    (source / "sub" / "a.txt").write_text("changed")
    assert not fill(source, target)
    assert (target / "sub" / "a.txt").read_text() == "alice"


def test_a_single_file_is_copied(source, target):
    assert fill(source / "sub" / "a.txt", target)
    assert target.read_text() == "alice"


def test_nothing_but_the_copy_is_left(source, target):
    fill(source, target)
    assert [path.name for path in target.parent.iterdir()] == ["corpus"]


def test_a_source_that_cannot_be_copied_is_an_error_and_leaves_nothing(tmp_path, target):
    with pytest.raises(DataError, match=f"the mirror {target} could not be made from {tmp_path}/none"):
        fill(tmp_path / "none", target)
    assert list(target.parent.iterdir()) == []


def test_a_copy_that_breaks_off_is_never_visible(source, target, monkeypatch):
    def broken(_source, partial, **_options):
        partial.mkdir()
        (partial / "half").touch()
        assert not target.exists()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copytree", broken)
    with pytest.raises(DataError, match="No space left"):
        fill(source, target)
    assert list(target.parent.iterdir()) == []


def test_a_copy_can_be_ended_from_outside_without_a_trace(source, target):
    def stop(_copied):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill(source, target, stop)
    assert list(target.parent.iterdir()) == []


def test_what_a_killed_run_left_half_copied_does_not_stop_the_next(source, target):
    # In containers the next process often has the same id.
    partial = target.with_name(f".{target.name}.{socket.gethostname()}-{os.getpid()}.partial")
    partial.mkdir()
    (partial / "half").touch()
    assert fill(source, target)
    assert sorted(path.name for path in target.iterdir()) == ["link", "sub"]


def test_of_nodes_that_race_one_makes_the_copy_and_all_find_it(source, target):
    with multiprocessing.get_context("fork").Pool(4) as pool:
        made = pool.starmap(fill, [(source, target)] * 4)
    assert made.count(True) == 1
    assert [path.name for path in target.parent.iterdir()] == ["corpus"]


def test_a_pipe_among_the_data_is_an_error_and_no_endless_wait(source, target):
    os.mkfifo(source / "pipe")
    with pytest.raises(DataError, match="pipe is no regular file"):
        fill(source, target)
    assert list(target.parent.iterdir()) == []
