"""An archive from a node is unpacked below one folder, whatever it holds."""

import contextlib
import io
import json
import os
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.backends.carry.home import _extract, _stays, fetch
from madrun.backends.carry.talk import Target
from madrun.backends.carry.there import results
from madrun.backends.carry.there.base import Refused
from madrun.errors import UsageError

NAMES = st.lists(st.sampled_from(["r", "a", "b", "..", ".", "", "/"]), min_size=1, max_size=6).map("/".join)
KINDS = st.sampled_from([tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])


def unpacked(members, place):
    """Unpacks (name, kind, link) members, each file with a byte in it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, kind, link in members:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, link
            entry.size = kind == tarfile.REGTYPE
            archive.addfile(entry, io.BytesIO(b"x") if entry.size else None)
    buffer.seek(0)
    with tarfile.open(fileobj=buffer, mode="r|") as archive:
        _extract(archive, place)


@given(members=st.lists(st.tuples(NAMES, KINDS, NAMES), max_size=6))
def test_nothing_is_written_elsewhere_and_no_link_leads_out(members, tmp_path_factory):
    top = tmp_path_factory.mktemp("bed")
    place = top / "place"
    place.mkdir()
    with contextlib.suppress(OSError, tarfile.TarError):  # two entries of one name: bringing home fails, as it should
        unpacked(members, place)
    assert [path.name for path in top.iterdir()] == ["place"]
    for path in place.rglob("*"):
        if path.is_symlink():
            assert place in Path(os.path.realpath(path)).parents  # of a link to itself its own place


def test_files_folders_and_links_within_come(tmp_path):
    members = [("r", tarfile.DIRTYPE, ""), ("r/a/f", tarfile.REGTYPE, ""), ("r/a/l", tarfile.SYMTYPE, "../a/f")]
    unpacked([*members, ("r/hard", tarfile.LNKTYPE, "r/a/f")], tmp_path)
    assert (tmp_path / "r/hard").read_text() == "x"
    assert (tmp_path / "r/a/l").is_symlink() and (tmp_path / "r/a/l").read_text() == "x"


def runs_of(node):
    """A run directory of the node with many files, and the question for it."""
    run = node.folder / "launches/a/results/runs/r"
    run.mkdir(parents=True)
    for number in range(40):
        (run / f"f{number:02d}").write_text("x" * 300)
    return run, {"folder": "~/.cache/madrun", "results": "launches/a/results"}


def test_runs_come_whole_and_what_is_here_stays(near_node, tmp_path):
    run, question = runs_of(near_node)
    (run.parent / "known").mkdir()
    (tmp_path / "runs/known").mkdir(parents=True)
    assert fetch(near_node, near_node.target, question, (tmp_path, tmp_path / "runs")) == ("r",)
    assert sorted(path.name for path in (tmp_path / "runs/r").iterdir()) == sorted(path.name for path in run.iterdir())
    assert not any((tmp_path / "runs/known").iterdir())
    assert not list(tmp_path.glob("home-*"))


@pytest.mark.parametrize(("member", "more"), [(0, 0), (1, 0), (20, 0), (20, 512), (20, 700)])
def test_an_archive_that_is_cut_anywhere_brings_nothing(near_node, tmp_path, member, more):
    run, _ = runs_of(near_node)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.add(run, "r")
        cut = archive.getmembers()[member].offset + more
    said = b"\nmadrun-reply " + json.dumps({"runs": ["r"]}).encode() + b"\n"
    (tmp_path / "said").write_bytes(said + packed.getvalue()[:cut])
    near_node.has_program("cut", f"cat >/dev/null; cat '{tmp_path}/said'")
    with pytest.raises(UsageError, match="bringing home the results: "):
        target = Target(host="n0", python=str(near_node.programs / "cut"))
        fetch(near_node, target, {}, (tmp_path, tmp_path / "runs"))
    assert not any((tmp_path / "runs").iterdir())


def test_a_file_that_the_user_may_not_read_is_named_before_anything_comes(near_node, monkeypatch):
    run, question = runs_of(near_node)
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "f20")  # root may read everything
    sink = io.BytesIO()
    with pytest.raises(Refused, match=f"{run}/f20: cannot be read"):
        results.fetch({**question, "folder": str(near_node.folder), "known": []}, io.BytesIO(), sink)
    assert sink.getvalue() == b""


@pytest.mark.parametrize(
    ("name", "target", "stays"),
    [
        ("r/l", "f", True),
        ("r/a/l", "../f", True),
        ("r/l", "../other/f", False),
        ("r/a/l", "/etc/passwd", False),
        ("r/a/l", "b/../../..", False),
        ("r", "f", False),
    ],
)
def test_a_link_stays_in_its_run_directory_or_does_not_come(name, target, stays):
    assert _stays(Path(name), target) is stays


def saying(near_node, tmp_path, runs, members=()):
    """A node that answers with these names and an archive of (name, kind, link) members, whatever it is asked."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, kind, link in members:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname, entry.pax_headers = kind, link, {"mtime": "1e400"}
            archive.addfile(entry)
    said = f"\nmadrun-reply {json.dumps({'runs': runs})}\n".encode()
    (tmp_path / "said").write_bytes(said + packed.getvalue() + b'\nmadrun-reply {"done": true}\n')
    near_node.has_program("liar", f"cat >/dev/null; cat '{tmp_path}/said'")
    return Target(host="n0", python=str(near_node.programs / "liar"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["../../outside", "/etc", "..", "", ".hidden", "r/../../x", "mine", "\x1b[2J", "r\0", "r\n"]
)
def test_a_name_that_is_none_of_a_new_run_moves_nothing(near_node, tmp_path, name):
    place = tmp_path / "results"
    for folder in ("launch", "runs/mine"):
        (place / folder).mkdir(parents=True)
    (place / "runs/mine/record.json").write_text("mine")
    (tmp_path / "outside").mkdir()
    lying = saying(near_node, tmp_path, ["r", name], [("r", tarfile.DIRTYPE, "")])
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UsageError, match="bringing home the results: n0: found .* no name of a new one") as told:
        fetch(near_node, lying, {}, (place / "launch", place / "runs"))
    assert str(told.value).isprintable()
    assert sorted(tmp_path.rglob("*")) == before
    assert (place / "runs/mine/record.json").read_text() == "mine"


@pytest.mark.slow
@pytest.mark.parametrize("runs", [None, "r", [["r"]], {"r": 1}])
def test_an_answer_of_another_shape_is_trouble_and_no_crash(near_node, tmp_path, runs):
    with pytest.raises(UsageError, match="bringing home the results: n0: "):
        fetch(near_node, saying(near_node, tmp_path, runs), {}, (tmp_path, tmp_path / "runs"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.SYMTYPE, None])
def test_what_is_no_folder_is_no_run_directory(near_node, tmp_path, kind):
    members = [("r", kind, "/etc")] if kind else []
    with pytest.raises(UsageError, match="bringing home the results: n0: r: no run directory came"):
        fetch(near_node, saying(near_node, tmp_path, ["r"], members), {}, (tmp_path, tmp_path / "runs"))
    assert not any((tmp_path / "runs").iterdir())


@pytest.mark.slow
def test_a_time_that_no_file_has_is_let_be(near_node, tmp_path):
    lying = saying(near_node, tmp_path, ["r"], [("r/f", tarfile.REGTYPE, "")])
    assert fetch(near_node, lying, {}, (tmp_path, tmp_path / "runs")) == ("r",)
    assert (tmp_path / "runs/r/f").is_file()


def test_what_only_its_owner_could_read_stays_so_and_what_they_could_not_they_can(tmp_path):
    buffer = io.BytesIO()
    modes = {"r": 0o700, "r/own": 0o600, "r/all": 0o666, "r/none": 0o000, "r/root": 0o6755, "r/group": 0o640}
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, mode in modes.items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE if name == "r" else tarfile.REGTYPE, mode
            archive.addfile(entry)
    buffer.seek(0)
    with tarfile.open(fileobj=buffer, mode="r|") as archive:
        _extract(archive, tmp_path)
    assert {name: (tmp_path / name).stat().st_mode & 0o7777 for name in modes} == {
        **{"r": 0o700, "r/own": 0o600, "r/all": 0o644, "r/none": 0o600, "r/root": 0o755, "r/group": 0o640},
    }
