"""What an ordinary user of this machine needs to run this checkout's madrun: packages that it may read."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

_NOT_NEEDED = ("torch*", "nvidia*", "triton*", "mypy*", "numpy*", "pandas*", "ruff*", "boto*", "moto*", "hypothesis*")
_NOT_NEEDED += ("sympy*", "networkx*", "kubernetes*", "kubeflow*", "pip", "uv*", "sky*", "setuptools*", "tests")


def lay_packages(home: Path) -> Path:
    """A folder below `home` for PYTHONPATH: the packages of the tests' python and this checkout's madrun.

    Files are second names of the same ones where that can be: their owner must not be changed.
    """
    import madrun

    place = home / "site"
    for package in (entry for entry in sys.path if entry.endswith("site-packages")):
        leave = shutil.ignore_patterns(*_NOT_NEEDED)
        shutil.copytree(package, place, dirs_exist_ok=True, ignore=leave, copy_function=_link_or_copy)
    shutil.copytree(Path(madrun.__file__).parent, place / "madrun", dirs_exist_ok=True)
    home.chmod(0o755)
    return place


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
