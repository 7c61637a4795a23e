"""The build context: what is sent, in what form, and its hash."""

import os

import pytest

from madrun.errors import CardError
from madrun.registry import buildcontext
from madrun.registry.buildcontext import build_context


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "context"
    (path / "sub" / "deep").mkdir(parents=True)
    (path / "cpu.Dockerfile").write_text("FROM scratch\n")
    (path / "a.py").write_text("a")
    (path / "sub" / "b.py").write_text("b")
    (path / "sub" / "link").symlink_to("b.py")
    (path / "sub" / "away").symlink_to("/etc/hostname")
    (path / "loop").symlink_to(".")
    (path / "__pycache__").mkdir()
    (path / "__pycache__" / "a.pyc").write_text("")
    (path / ".git").mkdir()
    return path


def names(folder, dockerfile="cpu.Dockerfile"):
    return list(build_context(folder / dockerfile).entries)


def hash_of(folder):
    return build_context(folder / "cpu.Dockerfile").hash


def test_files_folders_and_links_are_sent_as_they_are_and_caches_are_not(folder):
    context = build_context(folder / "cpu.Dockerfile")
    everything = ["a.py", "cpu.Dockerfile", "loop", "sub", "sub/away", "sub/b.py", "sub/deep", "sub/link"]
    assert list(context.entries) == everything
    assert context.entries["sub/b.py"] == folder / "sub" / "b.py"


def test_what_is_ignored_is_not_sent_and_the_dockerfile_always_is(folder):
    (folder / ".dockerignore").write_text("*\n!sub/b.py\n")
    assert names(folder) == ["cpu.Dockerfile", "sub", "sub/b.py"]
    (folder / ".dockerignore").write_text("sub\n.dockerignore\n")
    assert names(folder) == ["a.py", "cpu.Dockerfile", "loop"]


def test_an_exception_is_found_below_folders_that_are_left_out(folder):
    (folder / "sub" / "deep" / "c.py").write_text("")
    (folder / ".dockerignore").write_text("*\n!**/c.py\n")
    assert names(folder) == ["cpu.Dockerfile", "sub", "sub/deep", "sub/deep/c.py"]


def test_the_ignore_file_of_the_dockerfile_counts_before_that_of_the_folder(folder):
    (folder / ".dockerignore").write_text("*\n")
    (folder / "cpu.Dockerfile.dockerignore").write_text("sub\nloop\n*ignore\n")
    assert names(folder) == ["a.py", "cpu.Dockerfile"]


def test_a_folder_that_nobody_may_read_is_named_unless_it_is_ignored(folder, monkeypatch):
    real = os.scandir

    def listdir(path):
        if str(path).endswith("deep"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    closed = folder / "sub" / "deep"
    original = type(folder).iterdir
    monkeypatch.setattr(type(folder), "iterdir", lambda self: original(self) if self.name != "deep" else listdir(self))
    with pytest.raises(CardError, match=rf"{closed}: cannot be read: Permission denied.*\.dockerignore"):
        names(folder)
    (folder / ".dockerignore").write_text("sub/deep\n")
    assert "sub/deep" not in names(folder)


def test_the_hash_is_that_of_what_is_sent(folder):
    def changed(change):
        before = hash_of(folder)
        change()
        return hash_of(folder) != before

    assert changed(lambda: (folder / "a.py").write_text("other"))
    assert changed(lambda: (folder / "a.py").chmod(0o755))
    assert changed(lambda: (folder / "a.py").rename(folder / "b.py"))
    assert changed(lambda: (folder / "empty").mkdir())
    assert changed(lambda: ((folder / "loop").unlink(), (folder / "loop").symlink_to("sub")))
    assert changed(lambda: (folder / ".dockerignore").write_text("b.py\n"))
    assert not changed(lambda: (folder / "b.py").write_text("ignored now"))
    assert not changed(lambda: (folder / "cpu.Dockerfile").chmod(0o600))
    assert not changed(lambda: (folder / "sub").chmod(0o700))
    assert not changed(lambda: os.utime(folder / "sub" / "b.py", (0, 0)))
    assert not changed(lambda: (folder / "__pycache__" / "b.pyc").write_text(""))


def test_a_link_and_a_file_with_the_same_words_differ(folder):
    before = hash_of(folder)
    (folder / "sub" / "link").unlink()
    (folder / "sub" / "link").write_text("b.py")
    assert hash_of(folder) != before


def test_a_pipe_is_not_sent(folder):
    os.mkfifo(folder / "pipe")
    assert "pipe" not in names(folder)


def test_a_large_file_that_many_contexts_share_is_read_once(tmp_path, monkeypatch):
    read = []
    content = buildcontext._content
    monkeypatch.setattr(buildcontext, "_content", lambda path: (read.append(path.name), content(path))[1])
    (tmp_path / "large").write_bytes(bytes(1 << 20))
    for name in ("a", "b"):
        (tmp_path / name).write_text("FROM x\n")
    hashes = [build_context(tmp_path / name).hash for name in ("a", "b")]
    assert read.count("large") == 1
    with (tmp_path / "large").open("ab") as file:
        file.write(b"more")
    assert build_context(tmp_path / "a").hash not in hashes
    assert read.count("large") == 2
