"""scripts/quickstart.sh with stand-ins for the engine, the image, pip and madrun: what it runs and writes."""

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MADE_BY = "# made by scripts/quickstart.sh"


def write_program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/usr/bin/env bash\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A repository with a madrun that notes its arguments, on a machine with an engine and no GPU."""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    quickstart = tmp_path / "scripts/quickstart.sh"
    without_gpu = re.sub(r"(?m)^has_gpu\(\) .*$", "has_gpu() { false; }", quickstart.read_text())
    quickstart.write_text(without_gpu)
    write_program(tmp_path / "scripts/engine.sh", "exit 0")
    write_program(tmp_path / "scripts/podman.sh", "echo unix:///tmp/podman-run-7/podman/podman.sock")
    write_program(tmp_path / "scripts/base_image.sh", 'echo "$*" >>image.log; echo madrun/cpu-base:0123456789ab')
    write_program(tmp_path / ".venv/bin/python", 'echo "$*" >>pip.log')
    use_madrun(tmp_path, "exit 0")
    for folder in ("madrun", "models"):
        (tmp_path / folder).mkdir()
    for file in ("data.json", "pyproject.toml"):
        (tmp_path / file).touch()
    return tmp_path


def use_madrun(clone: Path, behaviour: str) -> None:
    write_program(clone / ".venv/bin/madrun", f'echo "$*" >>"calls-$BASHPID"\n{behaviour}')


def quickstart(clone: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(clone / "scripts/quickstart.sh"), *words]
    kept = {name: value for name, value in os.environ.items() if name not in ("CONTAINER_HOST", "XDG_RUNTIME_DIR")}
    return subprocess.run(command, env=kept | env, capture_output=True, text=True, timeout=60, check=False)


def calls(clone: Path) -> list[str]:
    return sorted(path.read_text().strip() for path in clone.glob("calls-*"))


def rank_of(call: str) -> str | None:
    found = re.search(r"'NODE_RANK': '(\d)'", call)
    return found and found[1]


def test_it_runs_one_node_then_two_nodes_then_the_report(clone: Path) -> None:
    result = quickstart(clone)
    assert result.returncode == 0, result.stderr
    runs = [call for call in calls(clone) if call.startswith("run --tags sanity llama2_7b_tiny")]
    assert sorted(str(rank_of(call)) for call in runs) == ["0", "1", "None"]
    assert "report" in calls(clone)


def test_it_prints_commands_that_can_be_pasted(clone: Path) -> None:
    printed = [line[2:] for line in quickstart(clone).stdout.splitlines() if line.startswith("$ ")]
    for path in clone.glob("calls-*"):
        path.unlink()
    for line in printed:
        subprocess.run(["bash", "-c", line], cwd=clone, check=True, timeout=60)
    assert sorted(str(rank_of(call)) for call in calls(clone)) == ["0", "1", "None", "None"]


def test_the_site_file_names_the_base_image(clone: Path) -> None:
    quickstart(clone)
    head, *rest = (clone / "madrun-site.yaml").read_text().splitlines()
    assert head.startswith(MADE_BY)
    assert rest == ["docker_build_arg:", "  BASE_DOCKER: madrun/cpu-base:0123456789ab"]


def test_with_podman_the_site_file_says_so_and_names_the_copy_of_the_base_image(clone: Path) -> None:
    write_program(clone / "scripts/engine.sh", "exit 1")
    result = quickstart(clone, "--runtime", "podman")
    assert result.returncode == 0, result.stderr
    assert (clone / "madrun-site.yaml").read_text().splitlines()[1:] == [
        "runtime: podman",
        "docker_build_arg:",
        "  BASE_DOCKER: localhost/madrun/cpu-base:0123456789ab",
    ]
    assert (clone / "image.log").read_text() == "--runtime podman\n"
    assert len(calls(clone)) == 4


@pytest.mark.parametrize(
    ("env", "shown"),
    [({}, True), ({"XDG_RUNTIME_DIR": "/run/user/7"}, False), ({"CONTAINER_HOST": "unix:///x"}, False)],
)
def test_where_podman_answers_is_printed_where_madrun_would_not_look(
    clone: Path, env: dict[str, str], shown: bool
) -> None:
    line = "$ export CONTAINER_HOST=unix:///tmp/podman-run-7/podman/podman.sock"
    assert (line in quickstart(clone, "--runtime", "podman", **env).stdout.splitlines()) is shown


@pytest.mark.parametrize("words", [["--runtime"], ["--runtime", "lxc"], ["--runtime", "podman", "more"], ["more"]])
def test_words_that_it_does_not_know_are_a_usage_error(clone: Path, words: list[str]) -> None:
    result = quickstart(clone, *words)
    assert (result.returncode, result.stdout, calls(clone)) == (2, "", [])
    assert result.stderr.startswith("usage: ")


def test_a_podman_that_cannot_be_had_ends_it(clone: Path) -> None:
    write_program(clone / "scripts/podman.sh", "echo no newuidmap >&2; exit 1")
    result = quickstart(clone, "--runtime", "podman")
    assert (result.returncode, calls(clone)) == (1, [])
    assert "no newuidmap" in result.stderr


def test_a_site_file_of_the_user_is_kept(clone: Path) -> None:
    (clone / "madrun-site.yaml").write_text("runtime: podman\n")
    assert "keeping your madrun-site.yaml" in quickstart(clone).stderr
    assert (clone / "madrun-site.yaml").read_text() == "runtime: podman\n"


def test_without_an_engine_the_site_file_says_process_and_torch_is_installed(clone: Path) -> None:
    write_program(clone / "scripts/engine.sh", "exit 1")
    assert quickstart(clone).returncode == 0
    assert (clone / "madrun-site.yaml").read_text().splitlines()[1:] == ["runtime: process"]
    assert "pip install" in (clone / "pip.log").read_text()
    assert ".[torch]" in (clone / "pip.log").read_text()


def test_the_package_is_installed_again_only_when_its_sources_changed(clone: Path) -> None:
    def installs() -> int:
        return (clone / "pip.log").read_text().count("pip install")

    quickstart(clone)
    quickstart(clone)
    assert installs() == 1
    (clone / "madrun/new.py").write_text("")
    quickstart(clone)
    assert installs() == 2


def test_a_failed_node_1_fails_the_script_and_shows_its_output(clone: Path) -> None:
    use_madrun(clone, """case "$*" in *"'NODE_RANK': '1'"*) echo the peer is gone; exit 3 ;; esac""")
    result = quickstart(clone)
    assert result.returncode == 3
    assert "the peer is gone" in result.stdout


@pytest.mark.parametrize("stop, status", [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)])
def test_a_signal_ends_both_nodes(clone: Path, stop: signal.Signals, status: int) -> None:
    use_madrun(clone, """case "$*" in *NODE_RANK*) exec sleep 60 ;; esac""")
    script = subprocess.Popen(
        ["bash", str(clone / "scripts/quickstart.sh")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while len(nodes := [p for p in clone.glob("calls-*") if rank_of(p.read_text())]) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    script.send_signal(stop)
    assert script.wait(timeout=60) == status
    for node in nodes:
        with pytest.raises(ProcessLookupError):
            os.kill(int(node.name.removeprefix("calls-")), 0)
