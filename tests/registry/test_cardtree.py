"""The files that a script sees, and their hash."""

import pytest

from madrun.errors import CardError
from madrun.registry.cardtree import tree_hash, work_files


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
