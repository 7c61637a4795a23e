"""Data that a script of the repository fetches: what it left, what it said, and a second start from nothing."""

import pytest

from madrun.data.mirror import fill
from madrun.data.work import Means
from madrun.errors import DataError
from madrun.spec.data import Fetch

FETCHES = (Fetch(provider="custom", place="get.sh", more="--x"),)


class Script:
    """Stands for the script: the codes that it ends with, and the files that it leaves each time."""

    def __init__(self, *ends):
        self.ends, self.found = list(ends), []

    def __call__(self, fetch, folder, alive):
        alive()
        self.found.append((fetch.more, sorted(path.name for path in folder.iterdir())))
        code, name = self.ends.pop(0)
        if name:
            (folder / name).write_text("12")
        return code, "its last line"


def get(tmp_path, script):
    return fill(tmp_path / "c", FETCHES, Means(script=script))


def test_what_it_leaves_becomes_visible(tmp_path):
    script = Script((0, "a"))
    assert get(tmp_path, script).bytes == 2
    assert script.found == [("--x", [])]
    assert (tmp_path / "c" / "a").read_text() == "12"


def test_its_failure_has_exit_code_and_last_words(tmp_path):
    with pytest.raises(
        DataError, match="custom get.sh: the script ended with exit code 3; it said last: its last line"
    ):
        get(tmp_path, Script((3, "a")))
    assert not (tmp_path / "c").exists()


def test_it_goes_on_with_what_an_earlier_attempt_left(tmp_path):
    with pytest.raises(DataError):
        get(tmp_path, Script((3, "a")))
    script = Script((0, "b"))
    get(tmp_path, script)
    assert script.found == [("--x", ["a"])]


def test_where_it_cannot_go_on_it_starts_once_more_from_nothing(tmp_path):
    with pytest.raises(DataError):
        get(tmp_path, Script((3, "a")))
    script = Script((1, ""), (0, "b"))
    get(tmp_path, script)
    assert script.found == [("--x", ["a"]), ("--x", [])]
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["b"]


def test_a_script_that_leaves_nothing_has_failed(tmp_path):
    with pytest.raises(DataError, match="ended with exit code 0 and left no file; it said last: its last line"):
        get(tmp_path, Script((0, "")))
