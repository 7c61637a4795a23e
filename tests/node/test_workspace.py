"""The work directory of one node: filled from the plan's files, emptied into output/."""

import os
import stat

import pytest

from madrun.errors import NodesError
from madrun.node.workspace import Kept, Workspace, foreign_files, keep_output, known, lay_out, manifest
from madrun.registry.cardtree import tree_hash


def prepare(space, files, job):
    """A work directory with the card's files alone, and what lies in it."""
    space.work.mkdir(parents=True)
    lay_out(space, files, job)
    return known(space, job)


@pytest.fixture
def files(tmp_path):
    folder = tmp_path / "card"
    (folder / "sub").mkdir(parents=True)
    (folder / "run.sh").write_text("echo hi\n")
    (folder / "run.sh").chmod(0o755)
    (folder / "sub" / "x.py").write_text("x = 1\n")
    return {"run.sh": folder / "run.sh", "sub/x.py": folder / "sub" / "x.py"}


@pytest.fixture
def space(tmp_path):
    (tmp_path / "node-0").mkdir()
    return Workspace(tmp_path / "node-0")


@pytest.fixture
def ready(space, files, make_job):
    return prepare(space, files, make_job(script_hash=tree_hash(files), driver="driver text"))


def test_the_cards_files_and_the_driver_lie_in_the_box(space, ready):
    assert (space.work / "run.sh").read_text() == "echo hi\n"
    assert os.access(space.work / "run.sh", os.X_OK)
    assert (space.work / "sub" / "x.py").read_text() == "x = 1\n"
    assert (space.work / "sub" / "x.py").stat().st_mode & 0o777 == 0o644
    assert (space.box / "driver.sh").read_text() == "driver text"
    assert (space.box / "steps").read_text() == ""
    assert set(ready) == {"run.sh", "sub/x.py"}


@pytest.mark.parametrize("change", ["content", "mode"])
def test_files_that_changed_since_the_plan_are_refused(space, files, make_job, change):
    planned = make_job(script_hash=tree_hash(files))
    if change == "content":
        files["run.sh"].write_text("echo other\n")
    else:
        files["run.sh"].chmod(0o644)
    with pytest.raises(NodesError, match="files changed since the plan was made"):
        prepare(space, files, planned)


def test_only_what_the_script_made_or_changed_is_kept(space, ready):
    (space.work / "made" / "deep").mkdir(parents=True)
    (space.work / "made" / "deep" / "out.csv").write_text("1")
    (space.work / "sub" / "x.py").write_text("x = 22\n")
    (space.work / "__pycache__").mkdir()
    (space.work / "__pycache__" / "x.pyc").write_text("")
    assert keep_output(space, ready).names == ["made/deep/out.csv", "sub/x.py"]
    assert (space.output / "made" / "deep" / "out.csv").read_text() == "1"
    assert not (space.output / "run.sh").exists()
    assert not space.box.exists()


def test_driver_and_steps_are_kept_as_evidence(space, ready):
    (space.box / "steps").write_text("1 ready\n")
    assert keep_output(space, ready) == Kept()
    assert (space.root / "driver.sh").read_text() == "driver text"
    assert (space.root / "steps.log").read_text() == "1 ready\n"


def test_a_manifest_does_not_follow_links(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "file").write_text("abc")
    found = manifest(tmp_path)
    assert "dangling" in found
    assert found["file"].size == 3
    assert not any(name.startswith("loop/") for name in found)


def test_files_of_somebody_else_are_noticed(space, ready):
    assert not foreign_files(space.box, os.getuid())
    assert foreign_files(space.box, os.getuid() + 1)


def test_links_and_empty_directories_are_kept_as_they_are(space, ready, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "theirs").write_text("theirs")
    (space.work / "folder").symlink_to(tmp_path / "elsewhere")
    (space.work / "latest").symlink_to("nowhere")
    (space.work / "empty" / "deep").mkdir(parents=True)
    kept = keep_output(space, ready)
    assert kept.names == ["empty/deep", "folder", "latest"]
    assert (space.output / "folder").is_symlink()
    assert str((space.output / "latest").readlink()) == "nowhere"
    assert (space.output / "empty" / "deep").is_dir()
    assert (tmp_path / "elsewhere" / "theirs").read_text() == "theirs"


def test_special_files_are_dropped_by_name(space, ready):
    os.mkfifo(space.work / "pipe")
    (space.work / "out.csv").write_text("1")
    kept = keep_output(space, ready)
    assert (kept.special, kept.names, kept.failed) == ({"pipe": "a FIFO"}, ["out.csv"], {})
    assert not space.box.exists()


def test_a_link_in_place_of_the_work_directory_is_not_followed(space, ready, tmp_path):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "precious").write_text("1")
    space.work.rename(space.box / "moved")
    space.work.symlink_to(tmp_path / "theirs")
    assert keep_output(space, ready).names == []
    assert (tmp_path / "theirs" / "precious").read_text() == "1"


def test_directories_that_the_script_closed_are_opened_for_their_owner(space, ready):
    (space.work / "closed").mkdir(mode=0o500)
    assert keep_output(space, ready).names == ["closed"]
    assert stat.S_IMODE((space.output / "closed").stat().st_mode) & 0o700 == 0o700


def test_what_cannot_be_moved_stays_and_is_named(space, ready):
    (space.work / "made.txt").write_text("1")
    space.output.write_text("in the way")
    kept = keep_output(space, ready)
    assert list(kept.failed) == ["made.txt"]
    assert (space.work / "made.txt").read_text() == "1"


@pytest.mark.parametrize(("content", "names"), [("echo hi\n", []), ("echo ho\n", ["run.sh"])])
def test_a_results_file_counts_by_its_content(space, files, make_job, content, names):
    before = prepare(space, files, make_job(script_hash=tree_hash(files), multiple_results="run.sh"))
    (space.work / "run.sh").write_text(content)
    os.utime(space.work / "run.sh", (1, 1))
    assert keep_output(space, before).names == names


def test_a_file_that_was_replaced_with_its_old_times_is_one_of_this_run(space, ready):
    old = (space.work / "sub" / "x.py").stat()
    (space.work / "new").write_text("x = 2\n")
    os.utime(space.work / "new", ns=(old.st_atime_ns, old.st_mtime_ns))
    (space.work / "new").rename(space.work / "sub" / "x.py")
    assert keep_output(space, ready).names == ["sub/x.py"]


def test_from_a_box_that_stays_what_was_made_is_copied(space, ready):
    (space.work / "made" / "hollow").mkdir(parents=True)
    (space.work / "made" / "out.csv").write_text("1")
    (space.work / "link").symlink_to("/etc/passwd")
    kept = keep_output(space, ready, stays=True)
    assert sorted(kept.names) == ["link", "made/hollow", "made/out.csv"]
    assert (space.output / "made" / "out.csv").read_text() == (space.work / "made" / "out.csv").read_text() == "1"
    assert (space.output / "link").is_symlink()
    assert (space.output / "made" / "hollow").is_dir()
    assert (space.box / "driver.sh").exists()


def test_what_is_made_later_in_a_box_that_stayed_goes_elsewhere(space, ready):
    (space.work / "first").write_text("1")
    keep_output(space, ready, stays=True)
    later = manifest(space.work)
    (space.work / "second").write_text("2")
    keep_output(space, later, into="kept-alive")
    assert [path.name for path in space.output.iterdir()] == ["first"]
    assert [path.name for path in (space.root / "kept-alive").iterdir()] == ["second"]
    assert not space.box.exists()


def test_what_cannot_be_copied_is_named(space, ready):
    (space.work / "a").write_text("1")
    space.output.mkdir()
    (space.output / "a").mkdir()
    assert "a" in keep_output(space, ready, stays=True).failed


def test_a_link_that_was_cloned_leads_no_file_of_the_card_out_of_the_work_directory(space, files, make_job, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "run.sh").write_text("theirs")
    space.work.mkdir(parents=True)
    (space.work / "run.sh").symlink_to(outside / "run.sh")
    (space.work / "sub").symlink_to(outside)
    lay_out(space, files, make_job(script_hash=tree_hash(files)))
    assert (outside / "run.sh").read_text() == "theirs"
    assert not (outside / "x.py").exists()
    assert (space.work / "sub/x.py").read_text() == "x = 1\n"


def test_a_directory_that_is_kept_whole_goes_with_all_files_and_only_what_was_made_counts_as_made(space, ready):
    (space.work / "sub/made").write_text("m")
    (space.work / "sub/__pycache__").mkdir()
    (space.work / "sub/__pycache__/x.pyc").write_text("p")
    kept = keep_output(space, ready, whole="sub")
    assert {path.name for path in (space.output / "sub").iterdir()} == {"made", "x.py", "__pycache__"}
    assert "sub/x.py" not in kept.names
    assert not (space.output / "run.sh").exists()


def test_gits_own_files_of_what_was_cloned_are_no_result(space, files, make_job):
    before = prepare(space, files, make_job(script_hash=tree_hash(files)))
    (space.work / "widget/.git").mkdir(parents=True)
    (space.work / "widget/.git/HEAD").write_text("ref")
    before |= {name: state for name, state in manifest(space.work).items() if name.startswith("widget")}
    (space.work / "widget/.git/index").write_text("i")
    (space.work / "widget/made").write_text("m")
    assert keep_output(space, before).names == ["widget/made"]


def test_a_box_that_stays_keeps_its_downloads_until_it_ends(space, ready):
    (space.work / "models--m").mkdir()
    (space.work / "models--m/weights").write_text("w")
    assert keep_output(space, ready, stays=True).names == []
