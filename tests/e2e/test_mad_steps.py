"""A card of a MAD repository from end to end: its workspace, the steps around its script, url, caches, its checkout."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from e2e_parts import containers, until
from ordinary_user import lay_packages

pytestmark = [pytest.mark.docker, pytest.mark.e2e, pytest.mark.beside]

HARD_ARGS = "'a b' \"$HOME\" 'x;y' 'line\nbreak' ü日本 \\$x"
WHOLE = r"""
./helper.sh && ./helper.sh >/dev/null || echo "not executable"
printf '<%s>' "$@"; echo
cat ../README.md ../docker/note ../scripts/common/own.sh ../.git/HEAD
ls ../scripts/common; cat ~/.gitconfig
echo more >>../README.md; echo w >../weights.bin; echo s >>../scripts/common/made
[ -f ../perf_whole.csv ] || echo model,performance,metric >../perf_whole.csv
echo "now,2,x" >>../perf_whole.csv
"""
CACHED = r"""
model=/myworkspace/models--org--m
[ -e $model/blobs/1 ] && echo found again
[ -L $model ] || { mkdir -p $model/blobs; echo w >$model/blobs/1; }
[ -z "${1-}" ] || echo >$HF_HUB_CACHE/began-$1
sleep "${1:-0}"; echo "$HF_HUB_CACHE" ; echo "performance: 1 x"
"""
SCRIPTS = {
    "whole": WHOLE,
    "cached": CACHED,
    "writes": "set -e\necho x >../scripts/writes/new; rm ../scripts/writes/new; echo 'performance: 1 x'\n",
    "waits": "echo x >../made; touch made; sleep 600\n",
    "cloned": "cat deps/sub/sub.txt; printf 'model,performance,metric\\nb,2,x\\n' >>perf_c.csv\n",
}


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "protocol.file.allow=always"]
    return subprocess.run(["git", *identity, *words], cwd=folder, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def mad(make_repository: Callable[[str], Any], base_image: str, tmp_path: Path) -> Any:
    """A MAD repository in a checkout of its own; `go` runs a card of it in the base image."""
    made = make_repository(base_image)
    made.folder = tmp_path / "mad"
    for name in ("docker", "scripts/common", "scripts/steps"):
        (made.folder / name).mkdir(parents=True)
    cards = []
    for name, text in SCRIPTS.items():
        (made.folder / "scripts" / name).mkdir()
        (made.folder / "scripts" / name / "run.sh").write_text(text)
        card = {"name": name, "dockerfile": "docker/x", "scripts": f"scripts/{name}", "n_gpus": "-1", "args": ""}
        cards.append(card)
    cards[0] |= {"args": HARD_ARGS, "multiple_results": "perf_whole.csv"}
    cards[-1] |= {"url": f"file://{tmp_path}/widget", "multiple_results": "perf_c.csv"}
    (made.folder / "scripts/whole/helper.sh").write_text("#!/bin/sh\necho helper\n")
    (made.folder / "scripts/whole/helper.sh").chmod(0o755)
    (made.folder / "scripts/steps/fails.sh").write_text("echo in $PWD $1; exit 7\n")
    for name, text in {"README.md": "read me\n", "docker/note": "note\n", "scripts/common/own.sh": "own\n"}.items():
        (made.folder / name).write_text(text)
    (made.folder / "models.json").write_text(json.dumps(cards))
    (made.folder / ".gitignore").write_text("results\nperf*.csv\n")
    git(made.folder, "init", "-q")
    git(made.folder, "add", "-A")
    git(made.folder, "commit", "-qm", "one")
    (made.folder / "perf_whole.csv").write_text("model,performance,metric\nlast week,9,x\n")
    (made.folder / "scripts/whole/perf_whole.csv").write_text("model,performance,metric\nlast week,9,x\n")
    return made


def words_of(mad: Any, card: str, context: dict[str, Any], *more: str) -> list[str]:
    said = json.dumps({"MAD_CONTAINER_IMAGE": mad.image} | context)
    return ["run", "--tags", card, "--runtime", "docker", "--additional-context", said, *more]


def go(mad: Any, card: str, *more: str, **context: Any) -> Any:
    """The run of a card, ended."""
    cache = str(mad.folder.parent / "cache")
    return mad.run(*words_of(mad, card, context, *more), XDG_CACHE_HOME=cache)


def listing(folder: Path) -> dict[str, tuple[int, int, int, int]]:
    """All that lies in the checkout but results, the CSV of rows, and what the test itself keeps of the terminal."""
    found = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        if name.partition("/")[0] != "results" and not name.startswith(("perf.csv", ".perf.csv", "out-")):
            status = path.lstat()
            found[name] = (status.st_mode, status.st_size, status.st_mtime_ns, status.st_uid)
    return found


def newest(folder: Path, card: str) -> Path:
    return max(folder.glob(f"results/runs/*-{card}-*"), key=lambda path: path.stat().st_mtime_ns)


def test_a_script_finds_all_it_expects_and_leaves_nothing_in_the_checkout(mad: Any) -> None:
    before = listing(mad.folder)
    steps = [{"path": "scripts/steps/fails.sh", "args": "'to end'"}]
    done = go(mad, "whole", tools=[{"name": "echo"}, {"name": "time"}], post_scripts=steps)
    assert listing(mad.folder) == before
    node = newest(mad.folder, "whole") / "node-0"
    console = (node / "console.log").read_text()
    assert "madrun pre-script in /myworkspace/run_directory: before" in console
    assert console.count("helper\n") == 1
    assert "<a b></root><x;y><line\nbreak><ü日本><$x>\n" in console
    assert "read me\nnote\nown\nref: refs/heads/" in console
    assert {"own.sh", "tools.json", "test_echo.sh", "pre_scripts", "tools"} <= set(console.split())
    assert "directory = *" in console
    assert "in /myworkspace/run_directory to end" in console
    made = {str(path.relative_to(node / "output")) for path in (node / "output").rglob("*") if path.is_file()}
    assert made == {"README.md", "weights.bin", "scripts/common/made", "perf_whole.csv", "resources.csv"}
    assert "last week" not in (node / "output/perf_whole.csv").read_text()
    (record,) = mad.records()
    assert [metric["value"] for metric in record["metrics"]] == [2.0]
    assert "left out of the workspace, as results of earlier runs: perf_whole.csv" in done.stderr
    assert done.returncode == 3  # the number stands, and the post-script that failed stands against it
    assert any("the post-script scripts/steps/fails.sh ended with exit code 7" in text for text in record["reasons"])


def test_a_pre_script_that_fails_is_the_culprit_and_the_script_does_not_run(mad: Any) -> None:
    tools = mad.folder.parent / "mine.json"
    tools.write_text(json.dumps({"tools": {"mine": {"pre_scripts": [{"path": "scripts/steps/fails.sh"}]}}}))
    done = go(mad, "cached", "--tools-config", str(tools), tools=[{"name": "mine"}])
    assert done.returncode == 3
    assert "the pre-script scripts/steps/fails.sh ended with exit code 7 on node 0" in done.stdout
    assert "performance" not in (newest(mad.folder, "cached") / "node-0/console.log").read_text()


def test_a_script_that_writes_into_the_checkout_is_told_how_and_then_gets_copies(mad: Any) -> None:
    before = listing(mad.folder)
    refused = go(mad, "writes")
    assert refused.returncode == 3
    assert "{'checkout': 'copy'}" in refused.stdout
    assert go(mad, "writes", checkout="copy").returncode == 0
    assert listing(mad.folder) == before


def test_what_url_names_is_cloned_with_submodules_and_repeated_by_its_commit(mad: Any, tmp_path: Path) -> None:
    for name in ("sub", "widget"):
        (tmp_path / name).mkdir()
        git(tmp_path / name, "init", "-q")
        (tmp_path / name / f"{name}.txt").write_text(f"{name}\n")
        if name == "widget":
            git(tmp_path / name, "submodule", "--quiet", "add", f"file://{tmp_path}/sub", "deps/sub")
            (tmp_path / name / "perf_c.csv").write_text("model,performance,metric\nold,9,x\n")
        git(tmp_path / name, "add", "-A")
        git(tmp_path / name, "commit", "-qm", "one")
    done = go(mad, "cloned", "--keep-model-dir")
    assert done.returncode == 0, done.stdout + done.stderr
    (record,) = mad.records()
    assert record["provenance"]["git_commit"] == git(tmp_path / "widget", "rev-parse", "HEAD").strip()
    assert [metric["model"] for metric in record["metrics"]] == ["b"]
    kept = newest(mad.folder, "cloned") / "node-0/output/widget"
    assert {"run.sh", "widget.txt", "perf_c.csv"} <= {path.name for path in kept.iterdir()}
    (tmp_path / "widget/widget.txt").write_text("newer\n")
    git(tmp_path / "widget", "commit", "-qam", "two")
    assert mad.run("run", "--plan", record["run_id"]).returncode == 0
    again = mad.records()[-1]
    assert again["provenance"]["git_commit"] == record["provenance"]["git_commit"]
    (mad.folder / "scripts/cloned/run.sh").write_text("echo other\n")
    refused = mad.run("run", "--plan", record["run_id"])
    assert refused.returncode == 4
    assert "changed since: the card's files" in refused.stderr


def test_an_address_that_cannot_be_cloned_ends_the_run_with_what_git_says(mad: Any) -> None:
    done = go(mad, "cloned")  # there is no widget
    assert done.returncode == 2
    assert "cannot be cloned: fatal:" in done.stdout


def test_everything_stands_ready_and_nothing_is_run(mad: Any) -> None:
    done = go(mad, "whole", "--skip-model-run", pre_scripts=[{"path": "scripts/steps/fails.sh"}])
    assert done.returncode == 0, done.stdout + done.stderr
    (record,) = mad.records()
    assert record["status"] == "SKIPPED"
    node = newest(mad.folder, "whole") / "node-0"
    assert "ready" in (node / "steps.log").read_text()
    assert (node / "console.log").read_text() == ""


def test_two_runs_at_once_share_what_they_download_and_the_next_finds_it(mad: Any) -> None:
    os.environ["XDG_CACHE_HOME"] = str(mad.folder.parent / "cache")
    try:
        both = [mad.start(*words_of(mad, "cached", {"model_args": "1"})) for _ in range(2)]
        assert [child.wait(120) for child in both] == [0, 0], [mad.output(child) for child in both]
    finally:
        del os.environ["XDG_CACHE_HOME"]
    assert go(mad, "cached").returncode == 0
    run = newest(mad.folder, "cached") / "node-0"
    assert (run / "console.log").read_text().splitlines() == ["found again", "/madrun/cache/hub", "performance: 1 x"]
    assert not (run / "output").exists()
    assert (mad.folder.parent / "cache/madrun/models/hub/models--org--m/blobs/1").read_text() == "w\n"


def test_a_container_that_is_kept_alive_is_entered_where_the_script_finds_the_checkout(mad: Any, engine: Any) -> None:
    child = mad.start(*words_of(mad, "cached", {}, "--keep-alive"))
    until(lambda: "kept alive: docker exec" in mad.output(child), 60, "the line to type")
    name = mad.output(child).partition("docker exec -it ")[2].split()[0]
    words = ["docker", "exec", name, "bash", "-c", "pwd; echo $MAD_MODEL_NAME; ls run_directory; ls scripts"]
    said = subprocess.run(words, capture_output=True, text=True, timeout=120)
    child.send_signal(signal.SIGINT)
    child.wait(60)
    assert said.stdout.split()[:3] == ["/myworkspace", "cached", "run.sh"], said.stderr
    assert "common" in said.stdout.split()


@pytest.mark.parametrize("end", ["interrupt", "kill"])
def test_an_end_by_force_leaves_nothing_in_the_checkout(mad: Any, end: str, engine: Any) -> None:
    before = listing(mad.folder)
    child = mad.start(*words_of(mad, "waits", {}))
    made = "results/runs/*-waits-*/node-0/box/work/run_directory/made"
    until(lambda: bool(list(mad.folder.glob(made))), 60, "the script's file")
    child.send_signal(signal.SIGINT if end == "interrupt" else signal.SIGKILL)
    child.wait(60)
    until(lambda: not containers(engine, mad.folder), 60, "the end of the container")
    assert listing(mad.folder) == before
    if end == "interrupt":
        assert (newest(mad.folder, "waits") / "node-0/output/made").read_text() == "x\n"


def foreign_in(home: Path) -> list[Path]:
    """What of the checkout and the caches does not belong to the owner of the checkout."""
    owner = (home / "mad").stat().st_uid
    paths = (path for name in ("mad", ".cache") for path in (home / name).rglob("*"))
    return [path for path in paths if path.lstat().st_uid != owner]


def test_files_caches_and_checkout_of_an_ordinary_user_stay_that_users_own(mad: Any, engine: Any) -> None:
    user = os.environ.get("MADRUN_TEST_USER", "")
    python = f"/usr/bin/python3.{sys.version_info.minor}"
    if os.getuid() != 0 or not user or not Path(python).exists():
        pytest.skip("needs root and MADRUN_TEST_USER, an ordinary user in the docker group (scripts/test.sh makes one)")
    home = Path(subprocess.run(["mktemp", "-d"], capture_output=True, text=True, check=True).stdout.strip())
    try:
        site = lay_packages(home)
        shutil.copytree(mad.folder, home / "mad", symlinks=True)
        (home / ".cache").mkdir()
        subprocess.run(["chown", "-R", f"{user}:", str(home / "mad"), str(home / ".cache")], check=True)
        before = listing(home / "mad")
        words = ["runuser", "-u", user, "--", "env", f"PYTHONPATH={site}", f"HOME={home}", python, "-m", "madrun"]
        command = [*words, *words_of(mad, "cached", {})]
        done = subprocess.run(command, cwd=home / "mad", capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr + shlex.join(command)
        assert listing(home / "mad") == before
        assert foreign_in(home) == []
        hub = home / ".cache/madrun/models/hub"
        assert (hub / "models--org--m/blobs/1").exists()
        child = subprocess.Popen([*command, "--arg", "600"], cwd=home / "mad", stdout=subprocess.DEVNULL)
        until(lambda: (hub / "began-600").exists(), 60, "the script in its container")
        for container in engine.containers():
            if any(str(mount.get("Source", "")).startswith(str(home)) for mount in container["Mounts"]):
                engine.kill(container["Id"])
        child.wait(60)
        assert foreign_in(home) == []  # the driver could give nothing back
        (home / "mad/scripts/closed").mkdir(mode=0)
        closed = [*words, *words_of(mad, "cached", {"checkout": "copy"})]
        done = subprocess.run(closed, cwd=home / "mad", capture_output=True, text=True, timeout=120)
        assert "scripts/closed: cannot be copied" in done.stdout + done.stderr
        assert not (newest(home / "mad", "cached") / "node-0/output").exists()  # no script has made anything
    finally:
        shutil.rmtree(home)
