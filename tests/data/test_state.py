"""The state of a data source changes where its files do, and costs little."""

import os
import shutil

import pytest

from madrun.data.state import data_state, data_states


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "data"
    (path / "deep").mkdir(parents=True)
    for name, text in (("a", "12"), ("deep/b", "345")):
        (path / name).write_text(text)
        os.utime(path / name, (1_700_000_000, 1_700_000_000))
    return path


def test_files_bytes_and_the_newest_time_are_counted_at_every_depth(folder):
    assert data_state(folder) == "2 files, 5 bytes, newest 2023-11-14T22:13:20Z"


def test_a_single_file_is_a_source_too(folder):
    assert data_state(folder / "a") == "1 file, 2 bytes, newest 2023-11-14T22:13:20Z"


@pytest.mark.parametrize("change", ["new", "gone", "longer", "written"])
def test_every_ordinary_change_makes_another_state(folder, change):
    before = data_state(folder)
    if change == "new":
        (folder / "c").touch()
    elif change == "gone":
        (folder / "a").unlink()
    elif change == "longer":
        (folder / "a").write_text("123")
        os.utime(folder / "a", (1_700_000_000, 1_700_000_000))
    else:
        os.utime(folder / "a")
    assert data_state(folder) != before


def test_a_large_source_is_looked_at_in_part_and_that_is_said(folder):
    for number in range(20):
        (folder / str(number)).write_text("x")
    assert data_state(folder, most=5).endswith("(of the first 5 entries alone)")
    assert "first" not in data_state(folder, most=23)


def test_what_cannot_be_read_has_no_state(folder):
    (folder / "link").symlink_to("nowhere")
    assert data_state(folder).startswith("2 files")
    assert data_state(folder / "none") == ""


def test_a_mirror_has_the_state_of_its_source(folder, tmp_path):
    mirror = tmp_path / "mirror"
    before = data_states({"set": str(mirror)}, {"set": str(folder)})
    shutil.copytree(folder, mirror)
    assert data_states({"set": str(mirror)}, {"set": str(folder)}) == before == {"set": data_state(folder)}
    assert data_states({"none": ""}, {}) == {}
