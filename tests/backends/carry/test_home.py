"""An archive from a node is unpacked below one folder, whatever it holds."""

import contextlib
import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.backends.carry.home import _extract, _stays

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
            assert place in Path(top, path.parent, path.readlink()).resolve(strict=False).parents


def test_files_folders_and_links_within_come(tmp_path):
    members = [("r", tarfile.DIRTYPE, ""), ("r/a/f", tarfile.REGTYPE, ""), ("r/a/l", tarfile.SYMTYPE, "../a/f")]
    unpacked([*members, ("r/hard", tarfile.LNKTYPE, "r/a/f")], tmp_path)
    assert (tmp_path / "r/hard").read_text() == "x"
    assert (tmp_path / "r/a/l").is_symlink() and (tmp_path / "r/a/l").read_text() == "x"


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
