"""What is found in place of a runner that is not on PATH."""

import os
import subprocess
from pathlib import Path

import pytest

from madrun import runners
from madrun.runners import FILES
from madrun.spec.plan import BIN

PYTHON = """#!/bin/bash
[[ $1 == -c ]] && { [[ $2 == *"('$HAS')"* ]]; exit; }
echo "python3 $*"
"""


@pytest.fixture
def start(tmp_path):
    """Starts one of them, with a `python3` that has the package HAS and tells what it was asked to run."""
    source = Path(runners.__file__).with_name("module.sh").read_bytes()
    names = [name.removeprefix(f"{BIN}/") for name, beside in FILES.items() if beside == "module.sh"]
    for name, text in {**dict.fromkeys([*names, "other"], source), "python3": PYTHON.encode()}.items():
        (tmp_path / name).write_bytes(text)
        (tmp_path / name).chmod(0o755)

    def run(name, *words, has=""):
        env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "HAS": has}
        return subprocess.run([tmp_path / name, *words], env=env, capture_output=True, text=True, check=False)

    return run


@pytest.mark.parametrize(
    ("name", "package", "module"),
    [
        ("torchrun", "torch", "torch.distributed.run"),
        ("accelerate", "accelerate", "accelerate.commands.accelerate_cli"),
        ("deepspeed", "deepspeed", "deepspeed.launcher.runner"),
    ],
)
def test_the_module_is_started_and_said_or_the_lack_is_an_error(start, name, package, module):
    done = start(name, "--x", "a b", has=package)
    assert (done.returncode, done.stdout) == (0, f"python3 -m {module} --x a b\n")
    assert f"no {name} on PATH; starting python3 -m {module}" in done.stderr
    assert start(name, "--ready", has=package).stdout == ""
    lacking = start(name, "--ready")
    assert (lacking.returncode, lacking.stdout) == (127, "")
    assert f"python3 has no module {package}; install it in the image" in lacking.stderr


def test_another_name_starts_nothing(start):
    assert start("other", has="torch").returncode == 127
