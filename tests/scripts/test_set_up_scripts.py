"""The set-up scripts as far as they can be tried in no time and without an engine."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted(ROOT.glob("scripts/*.sh"))
COMMANDS = [script for script in SCRIPTS if script.name != "machine.sh"]


def bash(*args: str | Path) -> subprocess.CompletedProcess[str]:
    command = ["bash", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("script", [*SCRIPTS, ROOT / ".ci/run"], ids=lambda path: path.name)
def test_script_parses(script: Path) -> None:
    assert bash("-n", script).stderr == ""


@pytest.mark.parametrize("script", COMMANDS, ids=lambda path: path.name)
def test_help_says_how_to_call_the_script(script: Path) -> None:
    result = bash(script, "--help")
    assert result.returncode == 0
    assert result.stdout.startswith(f"usage: bash scripts/{script.name}")


@pytest.mark.parametrize("script", COMMANDS, ids=lambda path: path.name)
def test_unknown_option_is_a_usage_error(script: Path) -> None:
    result = bash(script, "--no-such-option")
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("usage: ")


@pytest.mark.parametrize("words", [["--runtime"], ["--runtime", "lxc"], ["--name", "more"]])
def test_a_base_image_for_no_known_runtime_is_a_usage_error(words: list[str]) -> None:
    result = bash(ROOT / "scripts/base_image.sh", *words)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("usage: ")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_readme_names_every_script(script: Path) -> None:
    assert f"`{script.name}`" in (ROOT / "scripts/README.md").read_text()


@pytest.mark.parametrize("image", ["base", "runners"])
def test_image_name_is_stable_and_alone_on_stdout_wherever_the_clone_lies(tmp_path: Path, image: str) -> None:
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    here, there = (bash(root / f"scripts/{image}_image.sh", "--name").stdout for root in (ROOT, tmp_path))
    assert re.fullmatch(rf"madrun/cpu-{image}:[0-9a-f]{{12}}\n", here)
    assert here == there


@pytest.mark.parametrize(
    ("image", "file", "package"),
    [("base", "base", "torch=="), ("runners", "runners", "accelerate=="), ("runners", "base", "torch==")],
)
def test_image_name_changes_with_its_recipe_and_that_of_its_base(
    tmp_path: Path, image: str, file: str, package: str
) -> None:
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    recipe = tmp_path / f"scripts/{file}_image.sh"
    assert f'"{package}' in recipe.read_text()
    recipe.write_text(recipe.read_text().replace(f'"{package}', f'"{package}'.upper()))
    changed, before = (bash(root / f"scripts/{image}_image.sh", "--name").stdout for root in (tmp_path, ROOT))
    assert changed
    assert changed != before
