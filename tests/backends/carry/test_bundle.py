"""madrun as one zip: what is in it, that it starts anywhere, and that it is the same for the same files."""

import os
import subprocess
import sys
import zipfile

import pytest

from madrun import __version__
from madrun.backends.carry import bundle as bundling
from madrun.backends.carry.bundle import bundle, kind_of, unpack
from madrun.backends.carry.there.store import digest_of


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return bundle(tmp_path_factory.mktemp("cache"))


def names(made):
    with zipfile.ZipFile(made.path) as archive:
        return archive.namelist()


@pytest.mark.slow
def test_it_holds_madrun_its_cards_and_what_it_needs_and_not_what_only_reports_need(made):
    found = set(names(made))
    expected = {"bin/madrun", "start.py", "lib/madrun/cli/run.py", "lib/madrun/shipped/data.json"}
    assert expected <= found
    assert "lib/madrun/shipped/models/sanity/model.yaml" in found
    assert "lib/madrun/runtimes/supervisor.py" in found and "lib/madrun/runners/rank.sh" in found
    tops = {name.split("/")[1] for name in found if name.startswith("lib/")}
    assert {"typer", "pydantic", "pydantic_core", "yaml", "docker", "psutil"} <= tops
    assert not {"pandas", "numpy", "rich", "pygments", "pytest"} & tops
    assert not [name for name in found if "__pycache__" in name]
    assert made.size < 16 << 20


@pytest.fixture
def few(tmp_path, monkeypatch):
    """A madrun of few files, one of them of this path."""
    file = tmp_path / "run.py"
    file.write_text("1")
    monkeypatch.setattr(bundling, "_files", lambda: {"lib/madrun/run.py": file, "bin/madrun": "#!/bin/sh\n"})
    bundle.cache_clear()
    yield file
    bundle.cache_clear()


def test_the_same_files_make_the_same_bytes(few, tmp_path):
    one = bundle(tmp_path / "one")
    os.utime(few, (1, 1))
    other = bundle(tmp_path / "other")
    assert one.hash == other.hash and one.path.read_bytes() == other.path.read_bytes()
    assert one.size == one.path.stat().st_size
    few.write_text("2")
    bundle.cache_clear()
    assert bundle(tmp_path / "one").hash != one.hash


def test_a_zip_that_lies_there_is_not_made_again(few, tmp_path):
    before = bundle(tmp_path / "one").path.stat().st_ino
    bundle.cache_clear()
    assert bundle(tmp_path / "one").path.stat().st_ino == before


def test_a_zip_that_was_damaged_is_made_again(few, tmp_path):
    before = bundle(tmp_path / "one")
    before.path.write_bytes(before.path.read_bytes()[:-1] + b"x")
    bundle.cache_clear()
    again = bundle(tmp_path / "one")
    assert again == before
    assert digest_of(again.path) == again.hash


def test_a_zip_that_nothing_used_for_a_month_is_removed(few, tmp_path):
    old = bundle(tmp_path / "one").path
    os.utime(old, (1, 1))
    few.write_text("2")
    bundle.cache_clear()
    assert bundle(tmp_path / "one").path.exists() and not old.exists()


@pytest.mark.slow
def test_it_starts_from_anywhere_without_this_installation(made, tmp_path):
    place = unpack(made, tmp_path)
    assert place == tmp_path / made.hash and unpack(made, tmp_path) == place
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": "/nowhere", "HOME": str(tmp_path)}
    done = subprocess.run(
        [place / "bin/madrun", "--version"], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=20
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, f"madrun {__version__}\n", "")
    listed = subprocess.run(
        [place / "bin/madrun", "list"], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=20
    )
    assert "sanity" in listed.stdout, listed.stderr


@pytest.mark.slow
def test_without_a_python_of_its_kind_it_says_which_one_it_wants(made, tmp_path):
    place = unpack(made, tmp_path)
    text = (place / "bin/madrun").read_text()
    other = f"{sys.version_info.major}.{sys.version_info.minor + 1}"
    minor = f"{sys.version_info.major}.{sys.version_info.minor}"
    changed = text.replace(f"({minor.replace('.', ', ')})", f"({other.replace('.', ', ')})").replace(minor, other)
    (place / "bin/madrun").write_text(changed)
    done = subprocess.run([place / "bin/madrun"], env={"PATH": os.environ["PATH"]}, capture_output=True, text=True)
    assert done.returncode == 2
    assert f"found no python {other}, for which this madrun was packed" in done.stderr


def test_a_change_of_a_file_changes_the_fingerprint(tmp_path):
    file = tmp_path / "a.py"
    file.write_text("1")
    before = bundling._fingerprint({"a.py": file, "b": "text"})
    assert bundling._fingerprint({"b": "text", "a.py": file}) == before
    assert bundling._fingerprint({"a.py": file, "b": "texT"}) != before
    file.write_text("22")
    assert bundling._fingerprint({"a.py": file, "b": "text"}) != before


def test_pythons_of_one_kind_load_the_same_modules():
    assert kind_of("cpython-311", "linux", "x86_64", "glibc") == "cpython-311 linux x86_64 glibc"
    assert kind_of("cpython-311", "linux", "x86_64", "") != kind_of("cpython-311", "linux", "x86_64", "glibc")
