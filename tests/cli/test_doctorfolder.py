"""The folder of a visit, and those that killed visits have left."""

import os
import subprocess
import sys

from madrun.cli.doctorfolder import PREFIX, visit_folder

HOLD = """
import sys, time
from pathlib import Path
from madrun.locks import locked
with locked(Path(sys.argv[1])):
    print(1, flush=True)
    time.sleep(60)
"""


def left(path, name, age_s=7200.0):
    """A folder that a visit made so long ago."""
    folder = path / f"{PREFIX}{name}"
    (folder / "together").mkdir(parents=True)
    (folder / "visit.lock").touch()
    at = folder.stat().st_mtime - age_s
    os.utime(folder, (at, at))
    return folder


def test_a_visit_has_a_folder_beside_the_results_that_goes_with_it(tmp_path):
    with visit_folder(tmp_path / "results") as folder:
        assert folder.parent == tmp_path
        (folder / "file").touch()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_visit_left_goes_with_a_later_one_and_no_other_does(tmp_path):
    dead, young, held = left(tmp_path, "dead"), left(tmp_path, "young", 0), left(tmp_path, "held")
    foreign = tmp_path / f"{PREFIX}foreign"
    foreign.mkdir()
    os.utime(foreign, (0, 0))
    with subprocess.Popen([sys.executable, "-c", HOLD, str(held / "visit.lock")], stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout.readline() == b"1\n"
            os.utime(held, (0, 0))
            with visit_folder(tmp_path):
                assert not dead.exists()
                assert [folder for folder in (young, held, foreign) if not folder.exists()] == []
        finally:
            holder.kill()
