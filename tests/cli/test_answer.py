"""The last write to a stream, and the exit code that it leaves."""

import os

import pytest

from madrun.cli.answer import write_out


@pytest.mark.parametrize(("code", "then"), [(0, 2), (3, 3)])
def test_a_full_disk_is_said_once_and_never_hides_a_failure(capsys, code, then):
    with open("/dev/full", "w") as full:  # noqa: PTH123
        assert write_out(full, "x" * 100_000, code) == then
        assert write_out(full, "", then) == then
    assert capsys.readouterr().err == "madrun: error: the output could not be written: No space left on device\n"


def test_a_reader_that_has_gone_changes_nothing():
    read, write = os.pipe()
    os.close(read)
    stream = os.fdopen(write, "w")
    assert write_out(stream, "x", 3) == 3
    with pytest.raises(BrokenPipeError):
        stream.close()
