"""The folder of a launch: what is written, who may read it, and how its journal is read while it is written."""

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from madrun.backends.launchfolder import JOURNAL, LaunchFolder, files_of
from madrun.backends.nodescript import node_script


@pytest.fixture
def folder(launch, tmp_path):
    one = launch(folder=str(tmp_path / "a/b"), settings={"hosts": ["a", "b"]}, files={"site.yaml": "x: ü\n"})
    return one, LaunchFolder.create(one, {"job.sh": "#!/bin/sh\n", "deep/it.yaml": "a: b\n"}, {"T": "geheim"})


def test_a_launch_is_read_back_as_it_was_written(folder):
    launch, made = folder
    assert made.launch() == launch
    assert LaunchFolder(made.path).launch() == launch


def test_the_folder_has_what_every_node_gets_and_what_the_backend_renders(folder):
    launch, made = folder
    files = {str(path.relative_to(made.path)): path for path in made.path.rglob("*") if path.is_file()}
    assert set(files) == {"node.sh", "site.yaml", "launch.json", "private.env", "job.sh", "deep/it.yaml"}
    assert files["site.yaml"].read_text(encoding="utf-8") == "x: ü\n"
    assert files_of(launch) == {"node.sh": node_script(launch), "site.yaml": "x: ü\n"}


@pytest.mark.parametrize("mask", [0o000, 0o077])
def test_all_of_it_is_its_owners_alone_whatever_the_users_mask(launch, tmp_path, mask):
    before = os.umask(mask)
    try:
        made = LaunchFolder.create(launch(folder=str(tmp_path / "x")), {"job.sh": "#!/bin/sh\n"}, {"A": "b"})
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (made.path, *made.path.iterdir())}
    assert {name for name, mode in modes.items() if mode == 0o700} == {"x", "node.sh", "job.sh"}
    assert {name for name, mode in modes.items() if mode == 0o600} == {"launch.json", "private.env", "site.yaml"}


def test_nothing_of_another_launch_is_written_over(folder):
    launch, made = folder
    with pytest.raises(FileExistsError):
        LaunchFolder.create(launch, {}, {"T": "other"})
    assert "geheim" in (made.path / "private.env").read_text()


def test_the_private_file_can_be_forgotten_more_than_once(folder):
    _, made = folder
    made.forget_private()
    made.forget_private()
    assert not (made.path / "private.env").exists()


def test_the_journal_is_read_line_by_line_without_the_one_that_is_being_written(folder):
    _, made = folder
    assert made.events() == []
    made.journal("started", hosts=["a", "b"])
    made.journal("ended", exit_code=3)
    found = made.events()
    assert [(one["event"], one.get("hosts"), one.get("exit_code")) for one in found] == [
        ("started", ["a", "b"], None),
        ("ended", None, 3),
    ]
    with (made.path / JOURNAL).open("a") as file:
        file.write('{"at": 1, "event": "ha')
    assert made.events() == found


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 400))
def test_a_journal_cut_anywhere_has_the_events_before_the_cut(tmp_path, cut):
    made = LaunchFolder(tmp_path)
    (tmp_path / JOURNAL).unlink(missing_ok=True)
    for number in range(6):
        made.journal("step", number=number)
    whole = (tmp_path / JOURNAL).read_bytes()
    (tmp_path / JOURNAL).write_bytes(whole[:cut])
    # A line that lacks nothing but its line break says all.
    ends = [len(b"".join(whole.splitlines(keepends=True)[: number + 1])) - 1 for number in range(6)]
    assert [one["number"] for one in made.events()] == [number for number in range(6) if ends[number] <= cut]


def test_what_has_happened_is_known_from_the_journal(folder):
    _, made = folder
    assert not made.has("started")
    made.journal("started", hosts=["a"])
    assert made.has("started")
    assert not made.has("start")
