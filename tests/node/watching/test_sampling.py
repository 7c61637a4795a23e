"""Telemetry as it is written down and summed up."""

import csv
import time
from pathlib import Path

from madrun.node.watching.sampling import Sampling


class Source:
    """Gives the rows of a list, one after the other; an exception among them is raised."""

    def __init__(self, columns, rows):
        self.columns, self._rows = columns, iter(rows)
        self.closed = False

    def read(self, at):
        row = next(self._rows)
        if isinstance(row, Exception):
            raise row
        return row

    def close(self):
        self.closed = True


def test_what_could_not_be_read_is_an_empty_field_and_not_part_of_the_mean(tmp_path):
    file = tmp_path / "telemetry.csv"
    source = Source(("a_pct", "b_bytes"), [(None, None), (1.5, None), (3.0, None), (None, None)])
    sampling = Sampling(file, [source], time.monotonic())
    rows = [sampling.take(second) for second in range(4)]
    assert rows[1] == {"a_pct": 1.5, "b_bytes": None}
    assert sampling.close() == {
        "a_pct": {"mean": 2.25, "max": 3.0, "last": 3.0},
        "b_bytes": {"mean": None, "max": None, "last": None},
    }
    assert source.closed
    with file.open() as lines:
        written = list(csv.DictReader(lines))
    assert [row["a_pct"] for row in written] == ["", "1.50", "3", ""]
    assert [row["b_bytes"] for row in written] == [""] * 4
    assert list(written[0])[:2] == ["time", "seconds"]


def test_a_source_that_fails_is_none_for_that_row_alone(tmp_path):
    broken = Source(("x",), [(1,), OSError(5, "gone"), (2,)])
    sampling = Sampling(tmp_path / "t.csv", [broken, Source(("y",), [(7,), (8,), (9,)])], 0.0)
    assert [sampling.take(second) for second in range(3)] == [{"x": 1, "y": 7}, {"x": None, "y": 8}, {"x": 2, "y": 9}]
    assert sampling.close()["x"] == {"mean": 2.0, "max": 2, "last": 2}


def test_a_mean_is_one_over_the_time_and_a_last_row_of_a_moment_counts_little(tmp_path):
    sampling = Sampling(tmp_path / "t.csv", [Source(("run_cpu_pct",), [(None,), (10,), (20,), (900,)])], 0.0)
    for second in (0.0, 1.0, 2.0, 2.01):
        sampling.take(second)
    assert sampling.close()["run_cpu_pct"] == {"mean": 19.403, "max": 900, "last": 900}


def test_the_mean_of_a_single_row_is_that_row(tmp_path):
    sampling = Sampling(tmp_path / "t.csv", [Source(("x",), [(3,)])], 0.0)
    sampling.take()
    assert sampling.close()["x"]["mean"] == 3


def test_a_full_disk_ends_the_file_with_a_note_and_not_the_run():
    sampling = Sampling(Path("/dev/full"), [Source(("x",), [(1,), (3,)])], 0.0)
    sampling.take(0.0)
    sampling.take(1.0)
    assert sampling.note == "/dev/full is not complete: No space left on device"
    assert sampling.close() == {"x": {"mean": 3.0, "max": 3, "last": 3}}


def test_a_directory_that_is_gone_costs_the_file_alone(tmp_path):
    sampling = Sampling(tmp_path / "gone/t.csv", [Source(("x",), [(1,)])], 0.0)
    sampling.take()
    assert "No such file or directory" in sampling.note
    assert sampling.close()["x"]["last"] == 1


def test_no_sources_are_no_columns(tmp_path):
    sampling = Sampling(tmp_path / "t.csv", [], 0.0)
    sampling.take()
    assert sampling.close() == {}
