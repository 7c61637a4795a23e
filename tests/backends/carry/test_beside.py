"""madrun beside a launch's script starts without the installation that it was packed from."""

import subprocess

import pytest

from madrun import __version__
from madrun.backends.carry.beside import lay_beside
from madrun.spec.launch import CARRIED


@pytest.mark.slow
def test_what_is_laid_beside_a_launch_is_a_whole_madrun(tmp_path):
    folder = tmp_path / "it's here"
    folder.mkdir()
    lay_beside(folder, tmp_path / "cache")
    words = [str(folder / CARRIED), "--version"]
    done = subprocess.run(words, env={}, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, f"madrun {__version__}\n"), done.stderr
    assert [path.name for path in folder.iterdir()] == ["madrun"]
