"""What stands beside a script: copies, places to mount on, links; the checkout is only read."""

import os
import stat

import pytest

from madrun.errors import DataError
from madrun.node.surroundings import place, place_mounts
from madrun.spec.mad import Entry
from madrun.spec.plan import Mount


@pytest.fixture
def repo(tmp_path):
    folder = tmp_path / "repo"
    for name in ("docker/a", "scripts/one/run.sh", "README.md"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


@pytest.fixture
def work(tmp_path):
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


def entry(repo, name, copied=False):
    return Entry(name, str(repo / name), (repo / name).is_dir(), copied)


def test_in_a_container_there_is_something_to_mount_on(repo, work):
    place(work, [entry(repo, "docker"), entry(repo, "README.md")], True)
    assert list((work / "docker").iterdir()) == []
    assert (work / "README.md").read_text() == ""


def test_copies_may_be_written_whatever_the_checkout_allows(repo, work):
    (repo / "scripts/one/run.sh").chmod(0o555)
    (repo / "scripts/one").chmod(0o555)
    place(work, [entry(repo, "scripts", True), entry(repo, "README.md", True)], True)
    copy = work / "scripts/one/run.sh"
    assert stat.S_IMODE(copy.stat().st_mode) == 0o755
    assert os.access(copy.parent, os.W_OK)
    assert stat.S_IMODE((repo / "scripts/one").stat().st_mode) == 0o555
    (repo / "scripts/one").chmod(0o755)


def test_what_stands_there_already_stays(repo, work):
    (work / "scripts/one").mkdir(parents=True)
    (work / "scripts/one/run.sh").write_text("of the plan")
    place(work, [entry(repo, "scripts", True)], True)
    assert (work / "scripts/one/run.sh").read_text() == "of the plan"


def test_on_the_host_itself_there_are_links_also_into_folders_that_are_there(repo, work):
    (work / "scripts").mkdir()
    place(work, [entry(repo, "docker"), entry(repo, "scripts")], False)
    assert (work / "docker").readlink() == repo / "docker"
    assert (work / "scripts/one").readlink() == repo / "scripts/one"


def test_links_stay_links_and_what_is_no_file_is_left_out(repo, work):
    (repo / "scripts/link").symlink_to("one")
    os.mkfifo(repo / "scripts/pipe")
    place(work, [entry(repo, "scripts", True)], True)
    assert (work / "scripts/link").readlink().as_posix() == "one"
    assert not (work / "scripts/pipe").exists()


def test_a_run_is_never_copied_into_itself(repo):
    work = repo / "out/runs/x/work"
    work.mkdir(parents=True)
    (repo / "out/kept").write_text("k")
    place(work, [entry(repo, "out", True)], True)
    assert (work / "out/kept").read_text() == "k"
    assert not (work / "out/runs/x").exists()


def test_what_cannot_be_read_is_an_error_that_names_it(repo, work):
    gone = Entry("gone", str(repo / "gone"), False, True)
    with pytest.raises(DataError, match="gone: cannot stand in the workspace"):
        place(work, [gone], True)


def test_what_the_user_mounts_into_the_workspace_finds_its_place_and_nothing_else_is_made(repo, work, tmp_path):
    (work / "led").symlink_to(tmp_path)
    file, folder = str(repo / "README.md"), str(repo / "docker")
    targets = {"/myworkspace/deep/data": folder, "/myworkspace/a.txt": file, "/myworkspace/scripts/new": folder}
    elsewhere = {"/myworkspace": folder, "/data": folder, "/myworkspace/led/x": folder}
    mounts = [Mount(source=source, target=target) for target, source in {**targets, **elsewhere}.items()]
    place_mounts(work, mounts, [entry(repo, "scripts")])
    assert sorted(str(path.relative_to(work)) for path in work.rglob("*")) == ["a.txt", "deep", "deep/data", "led"]
    assert (work / "a.txt").is_file()
    assert not (tmp_path / "x").exists()
