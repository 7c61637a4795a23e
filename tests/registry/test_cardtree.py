"""The files that a script sees, and their hash."""

import os
from pathlib import Path

import pytest

from madrun.errors import CardError
from madrun.registry.cardtree import read_text, tree_hash, work_files


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "card"
    (path / "sub").mkdir(parents=True)
    (path / "run.sh").write_text("a")
    (path / "sub" / "x.py").write_text("b")
    (path / "__pycache__").mkdir()
    (path / "__pycache__" / "x.pyc").write_text("c")
    (tmp_path / "shared.py").write_text("d")
    return path


def test_work_files_are_the_folder_and_the_named_files_by_their_base_names(folder, tmp_path):
    found = work_files(folder, ("../shared.py",))
    assert found == {
        "run.sh": folder / "run.sh",
        "shared.py": tmp_path / "shared.py",
        "sub/x.py": folder / "sub" / "x.py",
    }
    assert list(found) == sorted(found)


def test_a_named_file_may_not_replace_the_cards_own(folder, tmp_path):
    (tmp_path / "run.sh").write_text("other")
    with pytest.raises(CardError, match=r"'../run.sh' would replace the card's own run.sh"):
        work_files(folder, ("../run.sh",))


def test_the_hash_sees_contents_names_and_executable_bits(folder):
    def now():
        return tree_hash(work_files(folder, ()))

    seen = [now()]
    assert now() == seen[0]
    (folder / "run.sh").write_text("changed")
    seen.append(now())
    (folder / "run.sh").chmod(0o755)
    seen.append(now())
    (folder / "run.sh").rename(folder / "go.sh")
    seen.append(now())
    assert len(set(seen)) == 4


def test_the_hash_ignores_caches(folder):
    before = tree_hash(work_files(folder, ()))
    (folder / "__pycache__" / "y.pyc").write_text("new")
    assert tree_hash(work_files(folder, ())) == before


def test_a_link_to_a_folder_of_the_repository_is_followed_and_one_out_of_it_refused(folder, tmp_path):
    (tmp_path / "common").mkdir()
    (tmp_path / "common" / "c.py").touch()
    (folder / "link").symlink_to("../common")
    assert "link/c.py" in work_files(folder, (), tmp_path)
    with pytest.raises(CardError, match=r"card/link: a link to the folder .*common, outside .*card; allowed"):
        work_files(folder, ())


@pytest.mark.parametrize("target", [".", "..", "../sub"])
def test_a_loop_of_links_is_named(folder, tmp_path, target):
    (folder / "sub" / "loop").symlink_to(target)
    with pytest.raises(CardError, match="sub/loop.*: a loop of links"):
        work_files(folder, (), tmp_path)


def test_a_file_name_that_is_not_utf8_is_named(folder):
    (folder / os.fsdecode(b"caf\xe9")).touch()
    with pytest.raises(CardError, match=r"card: found the file name 'caf\\udce9', which is not UTF-8"):
        work_files(folder, ())


def test_a_file_that_cannot_be_read_is_named(folder):
    files = work_files(folder, ())
    (folder / "run.sh").unlink()
    with pytest.raises(CardError, match=r"card/run.sh: cannot be read: No such file"):
        tree_hash(files)


def test_a_folder_that_cannot_be_read_is_named(folder, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(CardError, match="card: cannot be read: Permission denied"):
        work_files(folder, ())


def test_a_text_that_is_not_utf8_is_named_with_the_place(folder):
    (folder / "Dockerfile").write_bytes(b"FROM x\n# \xff\n")
    with pytest.raises(CardError, match="Dockerfile: found bytes that are not UTF-8 at 9"):
        read_text(folder / "Dockerfile")
    with pytest.raises(CardError, match="none: cannot be read"):
        read_text(folder / "none")
