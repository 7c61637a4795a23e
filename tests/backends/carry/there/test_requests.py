"""What a node answers and takes, by the very program that is sent to it."""

import hashlib
import os
import subprocess
import threading
import zipfile

import pytest

from madrun.backends.carry.talk import Talk, Trouble, ask
from madrun.backends.carry.there import private
from madrun.backends.carry.tree import listing_of, tree_of

pytestmark = pytest.mark.slow  # real processes or commands in most of them

LAUNCH = f"20261121T000000Z-one-{os.getpid()}"


def sha(data):
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def asking(near_node):
    """Asks the node; `data` follows the question."""

    def one(do, data=b"", **more):
        question = {"do": do, "folder": "~/.cache/madrun", "launch": LAUNCH, **more}
        with Talk(near_node, near_node.target, question, threading.Event()) as talk:
            talk.send(data)
            return talk.reply()

    yield one
    one("forget", private="launches/x/private.env")


def objects(made):
    """Those of a tree, as a question lists them, and their bytes."""
    listed = [[name, size] for name, (_, size) in made.places.items()]
    return listed, b"".join(path.read_bytes() for path, _ in made.places.values())


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    (folder / "models").mkdir(parents=True)
    (folder / "models/run.sh").write_text("echo")
    (folder / "models/run.sh").chmod(0o750)
    (folder / "empty").mkdir()
    (folder / "link").symlink_to("models/run.sh")
    return folder


def test_a_copy_is_the_folder_and_a_second_one_needs_nothing(near_node, asking, source):
    made = tree_of(listing_of(source))
    listed, data = objects(made)
    missing = asking("look", objects=list(made.places))["missing"]
    assert missing == list(made.places)
    asking("put", data, objects=listed, trees=[{"to": "launches/a/repository/r", "entries": made.entries}])
    copy = near_node.folder / "launches/a/repository/r"
    assert (copy / "link").read_text() == "echo" and str((copy / "link").readlink()) == "models/run.sh"
    assert (copy / "models/run.sh").stat().st_mode & 0o777 == 0o750
    assert (copy / "models/run.sh").stat().st_mtime_ns == (source / "models/run.sh").stat().st_mtime_ns
    assert (copy / "empty").is_dir()
    assert asking("look", objects=list(made.places))["missing"] == []


def test_two_copies_share_no_file_so_that_a_script_may_write_in_its_own(near_node, asking, source):
    made = tree_of(listing_of(source))
    listed, data = objects(made)
    trees = [{"to": f"launches/{name}/repository/r", "entries": made.entries} for name in ("a", "b")]
    asking("put", data, objects=listed, trees=trees)
    (near_node.folder / "launches/a/repository/r/models/run.sh").write_text("changed in place")
    assert (near_node.folder / "launches/b/repository/r/models/run.sh").read_text() == "echo"
    asking("put", trees=[{"to": "launches/c/repository/r", "entries": made.entries}])
    assert (near_node.folder / "launches/c/repository/r/models/run.sh").read_text() == "echo"


def test_a_file_that_was_damaged_where_it_is_kept_goes_into_no_copy(near_node, asking, source):
    tree = tree_of(listing_of(source))
    listed, data = objects(tree)
    asking("put", data, objects=listed, trees=[{"to": "launches/a/repository", "entries": tree.entries}])
    kept = near_node.folder / "objects" / listed[0][0][:2] / listed[0][0][2:]
    kept.chmod(0o600)
    kept.write_text("ohce")  # as a node that lost power may have it
    with pytest.raises(Trouble, match="was damaged.*start the launch again"):
        asking("put", trees=[{"to": "launches/b/repository", "entries": tree.entries}])
    assert not (near_node.folder / "launches/b/repository").exists()
    assert asking("look", objects=[listed[0][0]])["missing"] == [listed[0][0]]


def test_a_file_that_changed_on_its_way_is_refused_and_not_kept(near_node, asking):
    with pytest.raises(Trouble, match="what came is not what was to come"):
        asking("put", b"changed", objects=[[sha(b"promise"), 7]])
    assert asking("look", objects=[sha(b"promise")])["missing"] == [sha(b"promise")]
    assert not [path for path in near_node.folder.rglob("*") if path.is_file()]


def test_a_way_that_breaks_in_a_file_keeps_nothing(asking, near_node):
    with pytest.raises(Trouble, match="the launching host ended in the middle of a file"):
        asking("put", b"half", objects=[[sha(b"half of it"), 10]])
    assert not [path for path in near_node.folder.rglob("*") if path.is_file()]


def test_a_name_that_is_no_sum_is_refused(asking):
    with pytest.raises(Trouble, match="no SHA-256"):
        asking("look", objects=["../../etc/passwd"])


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "."])
def test_a_tree_stays_where_it_is_told_to_be(asking, near_node, name):
    with pytest.raises(Trouble, match="leads out of"):
        asking("put", trees=[{"to": "launches/a/r", "entries": [[name, "folder", 0, ""]]}])
    assert not (near_node.folder / "launches/a/r").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give a folder away")
def test_a_folder_in_which_others_could_put_programs_is_refused(near_node, asking):
    for owner, mode, found in ((4711, 0o755, "another user .uid 4711"), (0, 0o1777, "can be written by every user")):
        near_node.folder.mkdir(parents=True, exist_ok=True)
        os.chown(near_node.folder, owner, 0)
        near_node.folder.chmod(mode)
        for question in ("look", "put", "clone"):
            more = {"to": "launches/a/repository/r", "commit": "c", "url": "u"} if question == "clone" else {}
            with pytest.raises(
                Trouble, match=f"{near_node.folder} .*{found}.*; set ssh.folder to a folder of your own"
            ):
                asking(question, **more)
    assert not any(near_node.folder.iterdir())
    os.chown(near_node.folder, 65534, 0)  # root's, on a file system whose server trusts no root
    near_node.folder.chmod(0o775)
    asking("put")


def test_a_folder_on_a_disk_of_all_is_made_for_its_owner_alone(near_node, asking, tmp_path):
    shared = tmp_path / "scratch"
    asking("put", folder=str(shared / "you"))
    assert (shared / "you").stat().st_mode & 0o777 == 0o700
    asking("put")
    assert near_node.folder.stat().st_mode & 0o777 == 0o777 & ~_umask()


def _umask():
    now = os.umask(0o022)
    os.umask(now)
    return now


@pytest.mark.parametrize("trap", ["link", "open"])
def test_private_values_go_into_no_folder_that_another_has_prepared(near_node, asking, tmp_path, trap):
    kept = private.MEMORY / f"madrun-{os.getuid()}-{LAUNCH}"
    victim = tmp_path / "victim"
    victim.mkdir()
    try:
        if trap == "link":
            kept.symlink_to(victim)
        else:
            kept.mkdir()
            kept.chmod(0o777)
        place = f"launches/{LAUNCH}/files/private.env"
        asking("put", private=[[place, "export A=secret\n"]])
        file = near_node.folder / place
        assert (file.is_symlink(), file.stat().st_mode & 0o777, file.read_text()) == (False, 0o600, "export A=secret\n")
        assert not any(victim.iterdir())
        assert not any(kept.iterdir())
    finally:
        kept.unlink() if kept.is_symlink() else kept.rmdir()


def test_private_values_lie_in_memory_for_the_owner_alone_and_go_with_the_launch(near_node, asking):
    place = f"launches/{LAUNCH}/files/private.env"
    asking("put", private=[[place, "export A=secret\n"]])
    file = near_node.folder / place
    assert file.read_text() == "export A=secret\n"
    real = file.resolve()
    assert str(real).startswith("/dev/shm/") and real.stat().st_mode & 0o777 == 0o600
    assert real.parent.stat().st_mode & 0o777 == 0o700
    asking("forget", private=place)
    assert not file.is_symlink() and not real.parent.exists()


def test_files_have_their_modes(near_node, asking):
    asking("put", files=[["launches/a/files/node.sh", "#!/bin/sh\n", 0o755], ["launches/a/files/x.yaml", "ä", 0o644]])
    assert (near_node.folder / "launches/a/files/node.sh").stat().st_mode & 0o777 == 0o755
    assert (near_node.folder / "launches/a/files/x.yaml").read_text() == "ä"


def test_a_repository_that_is_seen_at_its_own_path_is_the_same_one(asking, source):
    marks = listing_of(source).marks
    assert asking("look", same={"root": str(source), "marks": marks})["different"] == ""
    (source / "models/run.sh").write_text("echo more")
    assert asking("look", same={"root": str(source), "marks": marks})["different"] == "models/run.sh"
    assert asking("look", same={"root": "/nowhere", "marks": marks})["different"] == "empty"
    assert asking("look", same={"root": "/nowhere", "marks": []})["different"] == "/nowhere"


def a_madrun(folder):
    archive = folder / "madrun.zip"
    with zipfile.ZipFile(archive, "w") as made:
        for name, mode in (("bin/madrun", 0o755), ("lib/madrun/a.py", 0o644), ("lib/other/b.py", 0o644)):
            entry = zipfile.ZipInfo(name)
            entry.external_attr = mode << 16
            made.writestr(entry, f"# {name}")
    data = archive.read_bytes()
    return {"hash": sha(data), "size": len(data), "name": sha(data)}, data


def test_a_madrun_is_unpacked_once_and_used_again(near_node, asking, tmp_path):
    wanted, data = a_madrun(tmp_path)
    assert asking("look", madrun=wanted)["madrun"] is False
    asking("put", data, madrun=wanted)
    place = near_node.folder / "madrun" / wanted["hash"]
    assert (place / "bin/madrun").stat().st_mode & 0o777 == 0o755 and (place / "lib/other/b.py").exists()
    assert asking("look", madrun=wanted)["madrun"] is True
    asking("put", data, madrun=wanted)  # two launches at a time
    assert sorted(path.name for path in place.parent.iterdir()) == [wanted["hash"]]


def test_a_madrun_that_came_broken_is_refused(near_node, asking, tmp_path):
    wanted, data = a_madrun(tmp_path)
    with pytest.raises(Trouble, match="what came is not what was sent"):
        asking("put", data[:-1] + b"x", madrun=wanted)
    assert asking("look", madrun=wanted)["madrun"] is False


@pytest.mark.slow
def test_another_python_installs_the_dependencies_itself_and_says_why_it_cannot(near_node, asking, tmp_path):
    wanted, data = a_madrun(tmp_path)
    near_node.env["PIP_NO_INDEX"] = "1"
    wanted = {**wanted, "name": f"{wanted['hash']}-other", "requirements": ["surely-not-there>=1"]}
    with pytest.raises(Trouble, match="pip install of madrun's dependencies failed: .*surely-not-there"):
        asking("put", data, madrun=wanted)
    assert not list((near_node.folder / "madrun").iterdir())


def test_what_nothing_used_for_a_month_is_removed(near_node, asking):
    asking("put", b"old", objects=[[sha(b"old"), 3]], files=[["launches/lost/files/node.sh", "", 0o755]])
    old = near_node.folder / "objects" / sha(b"old")[:2] / sha(b"old")[2:]
    for path in (old, near_node.folder / "launches/lost"):
        os.utime(path, (1, 1))
    asking("put", b"new", objects=[[sha(b"new"), 3]])
    assert not old.exists() and not (near_node.folder / "launches/lost").exists()
    assert asking("look", objects=[sha(b"new")])["missing"] == []


def test_what_is_used_stays(near_node, asking):
    asking("put", b"old", objects=[[sha(b"old"), 3]])
    old = near_node.folder / "objects" / sha(b"old")[:2] / sha(b"old")[2:]
    os.utime(old, (1, 1))
    asking("look", objects=[sha(b"old")])
    asking("put")
    assert old.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount a small disk")
@pytest.mark.slow
def test_a_full_disk_names_itself_and_the_way_out(near_node, asking, tmp_path):
    near_node.folder.mkdir(parents=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs", str(near_node.folder)])
    if mounted.returncode:
        pytest.skip("may not mount")
    try:
        with pytest.raises(Trouble, match=rf"{near_node.folder} is full \(0 MiB free\); make room there, or set"):
            asking("put", bytes(1 << 20), objects=[[sha(bytes(1 << 20)), 1 << 20]])
        assert not [path for path in near_node.folder.rglob("*") if path.is_file()]
    finally:
        subprocess.run(["umount", str(near_node.folder)], check=True)


@pytest.fixture
def remote(tmp_path, monkeypatch):
    """A remote repository with one commit, and its hash."""
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(name, "/dev/null")
    folder = tmp_path / "remote"

    def git(*words):
        who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"]
        return subprocess.run(["git", *who, *words], check=True, capture_output=True, text=True).stdout.strip()

    def commit(text):
        (folder / "file").write_text(text)
        git("-C", str(folder), "add", ".")
        git("-C", str(folder), "commit", "-qm", text)
        return git("-C", str(folder), "rev-parse", "HEAD")

    git("init", "-q", str(folder))
    return folder, commit


def test_git_brings_a_commit_and_the_next_one_from_the_clone_that_is_kept(near_node, asking, remote):
    folder, commit = remote
    first = commit("one")
    asking("clone", to="launches/a/repository/r", url=str(folder), commit=first)
    second = commit("two")
    asking("clone", to="launches/b/repository/r", url=str(folder), commit=second)
    assert (near_node.folder / "launches/a/repository/r/file").read_text() == "one"
    assert (near_node.folder / "launches/b/repository/r/file").read_text() == "two"
    words = ["git", "-C", str(near_node.folder / "launches/b/repository/r"), "rev-parse", "HEAD"]
    assert subprocess.run(words, capture_output=True, text=True).stdout.strip() == second
    assert len(list(near_node.folder.glob("git/*/HEAD"))) == 1


def test_git_says_which_commit_was_not_pushed_and_which_remote_does_not_answer(asking, remote, tmp_path):
    folder, commit = remote
    commit("one")
    with pytest.raises(Trouble, match="has no commit 111111111111; push it, or set ssh.repository to copy"):
        asking("clone", to="launches/a/repository/r", url=str(folder), commit="1" * 40)
    with pytest.raises(Trouble, match="git: .*"):
        asking("clone", to="launches/b/repository/r", url=str(tmp_path / "nothing"), commit="1" * 40)


def test_clearing_leaves_the_caches_and_keeps_results_that_have_not_come_home(near_node, asking):
    below = f"launches/{LAUNCH}"
    files = [[f"{below}/files/node.sh", "", 0o755], [f"{below}/results/runs/r1/record.json", "{}", 0o644]]
    asking("put", b"new", objects=[[sha(b"new"), 3]], files=files)
    more = {"to": below, "results": f"{below}/results", "private": f"{below}/files/private.env"}
    answer = asking("clear", **more, keep=True)
    assert answer == {"left": [], "kept": str(near_node.folder / below / "results")}
    assert [path.name for path in (near_node.folder / below).iterdir()] == ["results"]
    asking("brought", **more, runs=["r1"])
    assert asking("clear", **more, keep=True)["kept"] == ""
    assert not (near_node.folder / below).exists() and list(near_node.folder.glob("objects/*/*"))
    assert (
        ask(
            near_node,
            near_node.target,
            {"do": "clear", "folder": "~/.cache/madrun", **more, "keep": False, "launch": LAUNCH},
            threading.Event(),
        )["left"]
        == []
    )


def test_a_node_without_git_is_told_so(near_node, asking, remote):
    near_node.has_program("git", "exit 127")
    with pytest.raises(Trouble, match="git is not installed; install it, or set ssh.repository to copy"):
        asking("clone", to="launches/a/repository/r", url=str(remote[0]), commit="1" * 40)
