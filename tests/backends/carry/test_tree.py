"""The working tree as it is carried: what is in it, what is not, and how much is too much."""

import os
from pathlib import Path

import pytest

from madrun.backends.carry import tree as trees
from madrun.backends.carry.tree import listing_of, tree_of
from madrun.errors import UsageError


def make(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def names(listing):
    return [path.relative_to(listing.root).as_posix() for path, _ in listing.found]


def test_it_is_the_working_tree_with_ignored_files_and_without_what_is_made_from_it(tmp_path):
    left_out = (".git/HEAD", ".venv-x/a", "env/pyvenv.cfg", "results/runs/a", "kept/__pycache__/a.pyc", "cache/b")
    left_out += ("madrun-site.yaml",)
    make(tmp_path, dict.fromkeys(("kept/run.sh", "kept/madrun-site.yaml", "ignored.json", *left_out), "x"))
    tag = "Signature: 8a477f597d28d172789f06886806bc55\n# by a test"
    make(tmp_path, {".gitignore": "ignored.json\n", "cache/CACHEDIR.TAG": tag})
    listing = listing_of(tmp_path, left_out=[tmp_path / "results"])
    assert names(listing) == [".gitignore", "ignored.json", "kept", "kept/madrun-site.yaml", "kept/run.sh"]


@pytest.mark.parametrize(
    ("patterns", "left"),
    [
        (["*.bin"], ["a", "a/b", "a/b/c.txt", "top.txt"]),
        (["a/b"], ["a", "a/x.bin", "top.txt"]),
        (["b/"], ["a", "a/x.bin", "top.txt"]),
        (["a"], ["top.txt"]),
        (["a/*.bin", "top*"], ["a", "a/b", "a/b/c.txt"]),
    ],
)
def test_a_pattern_leaves_out_a_path_or_a_name(tmp_path, patterns, left):
    make(tmp_path, {"a/b/c.txt": "", "top.txt": "", "a/x.bin": "x"})
    assert names(listing_of(tmp_path, patterns)) == left


def test_each_content_is_there_once_and_modes_times_and_links_stay(tmp_path):
    make(tmp_path, {"one": "same", "two": "same"})
    (tmp_path / "one").chmod(0o750)
    os.utime(tmp_path / "two", ns=(5, 1_000_000_007))
    (tmp_path / "link").symlink_to("../elsewhere")
    (tmp_path / "empty").mkdir()
    made = tree_of(listing_of(tmp_path))
    entries = {name: (mode, changed, value) for name, mode, changed, value in made.entries}
    assert entries["empty"] == ("folder", 0, "") and entries["link"] == ("link", 0, "../elsewhere")
    assert entries["one"][0] == 0o750 and entries["two"][1] == 1_000_000_007
    assert entries["one"][2] == entries["two"][2]
    assert list(made.places.values()) == [(tmp_path / "one", 4)] and made.size == 8


def test_too_much_is_an_error_that_names_the_biggest(tmp_path, monkeypatch):
    make(tmp_path, {"weights/a": "x" * 300, "weights/b": "x" * 300, "code": "x"})
    monkeypatch.setattr(trees, "MOST_BYTES", 500)
    with pytest.raises(UsageError, match=r"found 3 files .* the most: weights 0 MiB, code .* ssh\.exclude"):
        tree_of(listing_of(tmp_path))


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    make(tmp_path, {"gone": "x"})
    listing = listing_of(tmp_path)
    (tmp_path / "gone").unlink()
    with pytest.raises(UsageError, match="gone: No such file or directory, so it cannot be carried"):
        tree_of(listing)


def test_marks_are_short_and_say_what_changes(tmp_path):
    make(tmp_path, {"a": "1"})
    before = listing_of(tmp_path).marks
    assert before[0][:3] == ["a", "file", 1]
    os.utime(tmp_path / "a", ns=(1, 1))
    assert listing_of(tmp_path).marks != before


def test_a_socket_or_a_pipe_is_not_carried(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert names(listing_of(Path(tmp_path))) == []
