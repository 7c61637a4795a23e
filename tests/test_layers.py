"""Imports point downward only: the contracts of pyproject.toml hold, and they are the ones of the design."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def lint(*words, cwd=ROOT):
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()", *words]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120)


def test_the_contracts_between_the_layers_hold():
    done = lint("--no-cache")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 kept, 0 broken" in done.stdout


def test_every_module_of_the_package_belongs_to_a_layer():
    text = (ROOT / "pyproject.toml").read_text()
    parts = {
        path.stem for path in (ROOT / "madrun").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert {"cli", "node", "spec"} <= parts
    assert [part for part in parts - {"__init__", "__main__"} if f"madrun.{part}" not in text] == []
