"""Equal data have equal fingerprints wherever they lie; other names, sizes or contents have not."""

import os
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from madrun.data import fingerprint as module
from madrun.data.fingerprint import MOST_SAMPLES, fingerprint
from madrun.data.sentinel import leave


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "data"
    (root / "sub").mkdir(parents=True)
    for name in ("b", "a", "sub/c"):
        (root / name).write_text(name * 10)
    return root


def test_a_copy_has_the_fingerprint_of_its_original(folder, tmp_path):
    copy = tmp_path / "other" / "place"
    shutil.copytree(folder, copy)
    for path in sorted(copy.rglob("*"), reverse=True):
        os.utime(path, (1, 1))
    assert fingerprint(str(copy)) == fingerprint(str(folder))
    assert fingerprint(str(folder)).files == 3


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "a").write_text("x" * 10),
        lambda root: (root / "a").write_text("x"),
        lambda root: (root / "a").rename(root / "z"),
        lambda root: (root / "sub" / "new").touch(),
        lambda root: (root / "sub" / "c").unlink(),
    ],
)
def test_each_change_makes_another_fingerprint(folder, change):
    before = fingerprint(str(folder))
    change(folder)
    assert fingerprint(str(folder)) != before


def test_a_change_at_the_end_of_a_large_file_is_seen(tmp_path):
    file = tmp_path / "large"
    file.write_bytes(b"\0" * 300_000)
    before = fingerprint(str(file))
    file.write_bytes(b"\0" * 299_999 + b"1")
    assert fingerprint(str(file)) != before


def test_samples_are_few_and_the_same_on_both_sides(tmp_path):
    for index in range(200):
        (tmp_path / f"f{index}").write_text(str(index))
    found = fingerprint(str(tmp_path))
    assert len(found.samples) == MOST_SAMPLES
    assert found == fingerprint(str(tmp_path))


def test_time_that_runs_out_is_said_and_no_difference(folder):
    found = fingerprint(str(folder), limit_s=-1)
    assert found.incomplete
    assert found.names == ""


def test_what_cannot_be_read_is_said(tmp_path):
    assert fingerprint(str(tmp_path / "none")).error == "No such file or directory"
    (tmp_path / "broken").symlink_to("nowhere")
    assert fingerprint(str(tmp_path)).samples == (("broken", "no file"),)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(
    st.dictionaries(st.text("abc/", min_size=1, max_size=6).filter(lambda n: n.strip("/") != ""), st.binary(max_size=9))
)
def test_the_order_in_which_files_were_made_does_not_matter(tmp_path, files):
    prints = []
    for number, names in enumerate((sorted(files), sorted(files, reverse=True))):
        root = tmp_path / os.urandom(4).hex() / str(number)
        root.mkdir(parents=True)
        for name in names:
            (root / name.replace("/", "_")).write_bytes(files[name] if name.replace("/", "_") == name else b"")
        prints.append(fingerprint(str(root)))
    assert prints[0] == prints[1]


def test_a_link_to_a_directory_has_no_size_of_its_own_file_system(folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    for number, root in enumerate((folder, copy)):
        target = tmp_path / f"elsewhere{number}"
        target.mkdir()
        for entry in range(number * 300):
            (target / f"a-long-name-that-makes-the-directory-large-{entry}").touch()
        (root / "link").symlink_to(target)
    assert (tmp_path / "elsewhere0").stat().st_size != (tmp_path / "elsewhere1").stat().st_size
    assert fingerprint(str(copy)) == fingerprint(str(folder))


def test_what_nodes_leave_to_find_out_what_they_share_is_no_part_of_the_data(folder):
    before = fingerprint(str(folder))
    assert leave(str(folder / "sub"), "run", 1)[0]
    assert fingerprint(str(folder)) == before


def test_one_directory_of_many_files_is_given_up_in_time_too(tmp_path, monkeypatch):
    for index in range(50):
        (tmp_path / f"f{index}").touch()
    monkeypatch.setattr(module, "_LOOK_EVERY", 10)
    clock = iter(range(1000))
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    found = fingerprint(str(tmp_path), limit_s=3)
    assert (found.incomplete, found.files) == (True, 0)
