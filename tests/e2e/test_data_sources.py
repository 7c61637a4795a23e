"""data.json as a user of a model repository has it: providers, options, and what reaches the script."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from e2e_parts import containers, until

pytestmark = [pytest.mark.e2e, pytest.mark.beside]
SHOW = 'echo "home ${MAD_DATAHOME-unset} name ${MAD_DATANAME-unset}"\necho "performance: 1 x"\n'


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def describe(repository: Any, file: str = "data.json", **names: Any) -> None:
    (repository.folder / file).write_text(json.dumps(names))


def console(repository: Any) -> str:
    (record,) = repository.records()[-1:]
    return str((repository.folder / "results/runs" / record["run_id"] / "node-0/console.log").read_text())


@pytest.fixture
def host(host_repository: Any) -> Any:
    """A card with data `c`, of which the repository has a directory."""
    host_repository.add("one", SHOW, data="c")
    (host_repository.folder / "c").mkdir()
    (host_repository.folder / "c/f").write_text("12345")
    return host_repository


def run(repository: Any, *words: str, code: int = 0) -> str:
    done = repository.run("run", "--tags", "one", "--runtime", "process", *words)
    assert done.returncode == code, done.stdout + done.stderr
    return str(done.stdout + done.stderr)


def test_a_name_without_a_provider_sets_nothing_and_is_said(host: Any) -> None:
    describe(host, c={})
    assert "c has no provider: the card runs without these data" in run(host)
    assert "home unset name unset" in console(host)


def test_another_file_of_data_sources_can_be_named_in_both_spellings(host: Any) -> None:
    describe(host, c={})
    describe(host, "other.json", c={"local": {"path": "c"}})
    for option in ("--data-config", "--data-config-file-name"):
        run(host, option, "other.json")
        assert f"home {host.folder}/c name c" in console(host)
    row = (host.folder / "results/perf.csv").read_text().splitlines()[-1]
    assert ",c,local,5,0.000," in row


def test_the_context_counts_before_data_json(host: Any) -> None:
    describe(host, c={"local": {"path": "none"}})
    assert "c: no provider of it can be had from this host: local: " in run(host, code=2)
    run(host, "-c", "{'data': {'c': {'local': {'path': 'c'}}}}")
    assert f"home {host.folder}/c name c" in console(host)
    run(host, "-c", "{'data': {'c': None}}")
    assert "home unset" in console(host)


def test_a_script_fetches_on_the_host_where_that_is_the_runtime(host: Any, cache: Path) -> None:
    describe(host, c={"custom": {"path": "get.sh", "args": "'a  b'"}})
    (host.folder / "get.sh").write_text('echo "[$1] $MAD_DATANAME"; echo x >from-script')
    assert "mirrored c to" in run(host)
    (place,) = cache.glob("madrun/data/*/c")
    assert [path.name for path in place.iterdir()] == ["from-script"]
    assert f"home {place} name c" in console(host)
    (log,) = host.folder.glob("results/runs/*/node-0/data-c.log")
    assert log.read_text() == "[a  b] c\n"
    assert "mirrored" not in run(host)
    before = len(list(host.folder.glob("results/runs/*")))
    assert "--data-config: /no/such/file does not exist" in run(host, "--data-config", "/no/such/file", code=2)
    assert len(list(host.folder.glob("results/runs/*"))) == before, "a wrong option is no result of a card"
    (host.folder / "get.sh").write_text("echo broken pipe-line; exit 5")
    text = run(host, code=2)
    assert "the script ended with exit code 5; it said last: broken pipe-line" in text


@pytest.mark.docker
def test_a_script_fetches_in_a_container_of_the_image_and_ends_with_its_agent(
    docker_repository: Any, engine: Any, cache: Path
) -> None:
    docker_repository.add("two", SHOW + "ls $MAD_DATAHOME", data="c")
    describe(docker_repository, c={"custom": {"path": "get.sh", "args": "'a  b' \"$MAD_DATANAME\"", "home": "/in"}})
    (docker_repository.folder / "get.sh").write_text(
        'echo "[$1] [$2] in $PWD, $MAD_DATAHOME"\n[ -e half ] && touch rest && exit\ntouch half\nsleep 600\n'
    )
    child = docker_repository.start("run", "--tags", "two")
    until(lambda: list(cache.glob("madrun/data/*/.c.part-*/data/half")) != [], 60, "half of the data")
    child.kill()
    child.wait()
    until(lambda: not containers(engine, docker_repository.folder), 60, "the end of the container")
    done = docker_repository.run("run", "--tags", "two")
    assert done.returncode == 0, done.stdout + done.stderr
    text = console(docker_repository)
    assert "home /in_0 name c" in text
    assert "half\nrest\n" in text
    logs = sorted(docker_repository.folder.glob("results/runs/*/node-0/data-c.log"))
    assert logs[-1].read_text() == "[a  b] [c] in /in_0, /in_0\n"
