"""The habits of daily use, as a user types them: repeat a run, look into its container, many runs in one command."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from e2e_parts import containers, two_nodes, until
from own_ports import free_port

from madrun.results.rundir import RunDir

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.beside]
MEASURED = 'echo "performance: 2.5 speed"\n'
SEEN = 'env | sort | grep -v MADRUN_RUN_ID > seen.txt; printf "<%s>" "$@" > args.txt\n'
PRIMARY = {"speed": {"unit": "x/s", "primary": True}}


OWN_CARD = f"card{os.getpid()}"  # the port of a single node goes by the card's name: this is no other worker's


def newest(repository: Any) -> RunDir:
    return RunDir(sorted((repository.folder / "results/runs").iterdir())[-1])


def plan_of(run: RunDir) -> dict[str, Any]:
    """The saved plan without what belongs to the run itself."""
    text = (run.path / "plan.json").read_text().replace(str(run.path), "DIR").replace(run.run_id, "ID")
    data: dict[str, Any] = json.loads(text)
    return {name: value for name, value in data.items() if name != "checksum"}


def made(run: RunDir, name: str, rank: int = 0) -> str:
    return (run.node(rank) / "output" / name).read_text().replace(run.run_id, "ID").replace(str(run.path), "DIR")


def test_a_repeated_plan_has_the_same_job_hash_arguments_and_environment(repository: Any, runtime: str) -> None:
    """By its file, its directory or its id; and a repetition can be repeated."""
    repository.add(OWN_CARD, SEEN + MEASURED, args="--a 'b c'", metrics=PRIMARY)
    first = repository.run("run", "--tags", OWN_CARD, "--runtime", runtime, "-e", "LR=0.1", "--arg", "--lr $LR")
    assert first.returncode == 0, first.stderr
    was = newest(repository)
    assert made(was, "args.txt") == "<--a><b c><--lr><0.1>"
    assert "LR=0.1" in made(was, "seen.txt")
    repeated = [""]
    for word in (f"results/runs/{was.run_id}/plan.json", str(was.path), was.run_id, "the last one's id"):
        before = newest(repository)
        repeated.append(before.run_id if word == "the last one's id" else was.run_id)
        again = repository.run("run", "--plan", before.run_id if word == "the last one's id" else word)
        assert again.returncode == 0, again.stderr
        now = newest(repository)
        assert now != before
        assert plan_of(now) == plan_of(was)
        for file in ("args.txt", "seen.txt"):
            assert made(now, file) == made(was, file)
    records = repository.records()
    assert len({record["plan_hash"] for record in records}) == 1
    assert [record["provenance"].get("repeats", "") for record in records] == repeated
    report = json.loads(repository.run("report", "--json").stdout)
    assert [row["repeats"] for row in report] == repeated


def test_a_script_that_has_changed_cannot_be_repeated_and_the_commits_are_named(repository: Any, runtime: str) -> None:
    repository.add("card", MEASURED)
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@t", "-C", str(repository.folder)]
    for words in (["init", "-q"], ["add", "models"], ["commit", "-qm", "one"]):
        subprocess.run([*git, *words], check=True)
    assert repository.run("run", "--tags", "card", "--runtime", runtime).returncode == 0
    commit = repository.records()[0]["provenance"]["git_commit"]
    (repository.folder / "models/card/run.sh").write_text("echo performance: 9 speed\n")
    refused = repository.run("run", "--plan", newest(repository).run_id)
    assert refused.returncode == 4
    assert "changed since: the card's files" in refused.stderr
    assert f"(commit {commit[:12]} -> {commit[:12]} with changes)" in refused.stderr
    assert f"checkout {commit[:12]}" in refused.stderr
    assert len(repository.records()) == 1


def test_what_has_changed_since_is_named_first(repository: Any, runtime: str) -> None:
    repository.add("card", MEASURED)
    assert repository.run("run", "--tags", "card", "--runtime", runtime).returncode == 0
    run = newest(repository)
    host = run.node(0) / "host.json"
    facts = json.loads(host.read_text()) | {"kernel": "5.4.0", "hostname": "elsewhere"}
    facts["accelerator"]["driver"] = "570.1"
    host.write_text(json.dumps(facts))
    again = repository.run("run", "--plan", run.run_id)
    assert again.returncode == 0, again.stderr
    lines = again.stderr.splitlines()
    assert lines[0].startswith(f"madrun: repeats {run.run_id}, job hash ")
    assert lines[1].startswith("madrun: changed since: host elsewhere -> ")
    assert lines[2].startswith("madrun: changed since: kernel 5.4.0 -> ")
    assert lines[3] == "madrun: changed since: driver 570.1 -> none"
    assert any(note.startswith("changed since: driver") for note in repository.records()[1]["notes"])


def test_an_image_of_the_same_name_and_another_id_is_named(docker_repository: Any, engine: Any) -> None:
    tag = f"madrun-test-{os.getpid()}"
    engine.tag(docker_repository.image, tag, "one")
    try:
        docker_repository.add("card", MEASURED, images={"cpu": {"image": f"{tag}:one"}})
        assert docker_repository.run("run", "--tags", "card").returncode == 0
        was = engine.inspect_image(f"{tag}:one")["Id"]
        built = subprocess.run(
            ["docker", "build", "-q", "-t", f"{tag}:one", "-"],
            input=f"FROM {tag}:one\nLABEL another=1\n",
            text=True,
            capture_output=True,
            check=True,
        ).stdout.strip()
        again = docker_repository.run("run", "--plan", newest(docker_repository).run_id)
        assert again.returncode == 0, again.stderr
        line = f"changed since: image {was[:19]} -> {built[:19]}"
        assert line in again.stderr
        assert docker_repository.records()[-1]["notes"].count(line) == 1
    finally:
        engine.remove_image(f"{tag}:one", force=True)


def test_a_secret_of_a_repeated_plan_comes_from_the_environment(repository: Any, runtime: str) -> None:
    repository.add("card", 'echo "letters: ${#HF_TOKEN}"\n' + MEASURED)
    words = ("run", "--tags", "card", "--runtime", runtime, "--env", "HF_TOKEN")
    assert repository.run(*words, HF_TOKEN="first-secret").returncode == 0
    plan = newest(repository).run_id
    missing = repository.run("run", "--plan", plan)
    assert missing.returncode == 4
    assert "needs the secret HF_TOKEN" in missing.stderr
    again = repository.run("run", "--plan", plan, HF_TOKEN="second-one")
    assert "letters: 10" in again.stdout
    files = [path for path in repository.folder.glob("results/**/*") if path.is_file()]
    assert not [path for path in files for text in (b"first-secret", b"second-one") if text in path.read_bytes()]


def test_a_busy_port_is_replaced_and_said(host_repository: Any) -> None:
    import socket

    host_repository.add("card", 'echo "port $MASTER_PORT, $MULTI_NODE_RUNNER"\n' + MEASURED)
    assert host_repository.run("run", "--tags", "card", "--runtime", "process").returncode == 0
    port = plan_of(newest(host_repository))["nodes"][0]["master_port"]
    with socket.socket() as busy:
        busy.bind(("", port))
        busy.listen()
        again = host_repository.run("run", "--plan", newest(host_repository).run_id)
    assert again.returncode == 0, again.stderr
    (found,) = re.findall(rf"changed since: MASTER_PORT {port} -> (\d+)", again.stderr)
    assert f"port {found}, torchrun" in again.stdout
    assert f"--master_port {found}" in again.stdout


def test_two_nodes_repeat_their_plan_together(repository: Any, runtime: str) -> None:
    repository.add("pair", SEEN + MEASURED)
    words = ("run", "--tags", "pair", "--runtime", runtime, "-c")
    port = free_port()
    nodes = [repository.start(*words, two_nodes(rank, port)) for rank in (0, 1)]
    assert [node.wait(120) for node in nodes] == [0, 0]
    was = newest(repository)
    unsaid = repository.run("run", "--plan", was.run_id)
    assert unsaid.returncode == 4
    assert "say which this is" in unsaid.stderr
    ranks = [str({"multi_node_args": {"NODE_RANK": rank}}) for rank in (0, 1)]
    nodes = [repository.start("run", "--plan", was.run_id, "-c", context) for context in ranks]
    assert [node.wait(120) for node in nodes] == [0, 0], [repository.output(node) for node in nodes]
    now = newest(repository)
    assert plan_of(now) == plan_of(was)
    assert [node["node_rank"] for node in plan_of(now)["nodes"]] == [0, 1]
    for rank in (0, 1):
        assert made(now, "seen.txt", rank) == made(was, "seen.txt", rank)


def test_nodes_that_share_no_results_repeat_by_a_plan_of_their_own(host_repository: Any) -> None:
    host_repository.add("pair", MEASURED)
    places = [("--results", f"results{rank}") for rank in (0, 1)]
    words = ("run", "--tags", "pair", "--runtime", "process", "-c")
    port = free_port()
    nodes = [host_repository.start(*words, two_nodes(rank, port), *places[rank]) for rank in (0, 1)]
    assert [node.wait(120) for node in nodes] == [0, 0]
    (run_id,) = (path.name for path in (host_repository.folder / "results1/runs").iterdir())
    plans = [host_repository.folder / f"results{rank}/runs/{run_id}/plan.json" for rank in (0, 1)]
    held = [[node["node_rank"] for node in json.loads(plan.read_text())["nodes"]] for plan in plans]
    assert held == [[0, 1], [1]]
    ranks = [str({"multi_node_args": {"NODE_RANK": rank}}) for rank in (0, 1)]
    nodes = [host_repository.start("run", "--plan", run_id, "-c", ranks[rank], *places[rank]) for rank in (0, 1)]
    assert [node.wait(120) for node in nodes] == [0, 0], [host_repository.output(node) for node in nodes]
    other = host_repository.run("run", "--plan", run_id, "-c", ranks[0], *places[1])
    assert other.returncode == 4
    assert "node 0's plan.json holds them all" in other.stderr


def test_what_reached_the_container_is_explained(repository: Any, runtime: str) -> None:
    repository.add("card", MEASURED, env={"NCCL_DEBUG": "WARN"})
    words = ("run", "--tags", "card", "--runtime", runtime, "-e", "NCCL_DEBUG=INFO", "-e", "HF_TOKEN=hidden-away")
    assert repository.run(*words).returncode == 0
    assert not [
        path for path in newest(repository).path.rglob("*") if path.is_file() and b"hidden-away" in path.read_bytes()
    ]
    run = newest(repository).run_id
    values = json.loads(repository.run("explain", "--run", run, "--json").stdout)["values"]
    rows = {row["key"]: row for row in values}
    assert (rows["NCCL_DEBUG"]["value"], rows["NCCL_DEBUG"]["layer"]) == ("INFO", "--env")
    assert rows["NCCL_DEBUG"]["overrode"] == [["card card", "WARN"]]
    assert (rows["HF_TOKEN"]["value"], rows["HF_TOKEN"]["reached"]) == ("***", "yes")
    variables = [row for row in values if row["variable"]]
    assert len(variables) > 10
    assert [row["key"] for row in variables if row["reached"] != "yes"] == []
    assert "yes" in repository.run("explain", "--run", run, "NCCL_DEBUG").stdout
    assert repository.run("explain", "--run", run, "--node", "1").returncode == 2


def test_a_mount_is_read_only_where_that_was_said(docker_repository: Any, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "number").write_text("7")
    docker_repository.add("card", 'touch /in/new && echo wrote\necho "performance: $(cat /in/number) speed"\n')
    words = ("run", "--tags", "card", "--mount")
    refused = docker_repository.run(*words, "shared:/in:ro")
    assert "performance: 7 speed" in refused.stdout
    assert "wrote" not in refused.stdout
    assert "wrote" in docker_repository.run(*words, "shared:/in").stdout
    assert (shared / "new").exists()


def test_repetitions_have_a_run_each_and_one_spread(repository: Any, runtime: str) -> None:
    script = 'echo "performance: $(cat /proc/uptime | cut -d" " -f1) speed"\n'
    repository.add("card", script, metrics=PRIMARY)
    done = repository.run("run", "--tags", "card", "--runtime", runtime, "--repeat", "3")
    assert done.returncode == 0, done.stdout
    records = repository.records()
    assert [record["provenance"]["repetition"] for record in records] == ["1 of 3", "2 of 3", "3 of 3"]
    low, middle, high = sorted(record["metrics"][0]["value"] for record in records)
    summary = done.stdout[done.stdout.index("summary:") :]
    assert f"card: 3 of 3 runs valid, speed median {middle:.6g} x/s ({low:.6g} .. {high:.6g}," in summary
    assert summary.count("results/runs/") == 3


def test_nodes_that_repeat_differently_often_are_refused(host_repository: Any) -> None:
    host_repository.add("card", MEASURED)
    words = ("run", "--tags", "card", "--runtime", "process")
    port = free_port()
    nodes = [host_repository.start(*words, "--repeat", str(rank + 1), "-c", two_nodes(rank, port)) for rank in (0, 1)]
    assert [node.wait(120) for node in nodes] == [3, 3]
    assert "number of runs (cards x --repeat) differs: 1 on node 0, 2 on node 1" in host_repository.output(nodes[0])


def test_two_nodes_repeat_a_card_together(host_repository: Any) -> None:
    host_repository.add("card", MEASURED, metrics=PRIMARY)
    words = ("run", "--tags", "card", "--runtime", "process", "--repeat", "2", "-c")
    port = free_port()
    nodes = [host_repository.start(*words, two_nodes(rank, port)) for rank in (0, 1)]
    assert [node.wait(120) for node in nodes] == [0, 0]
    assert len(host_repository.records()) == 2
    assert "2 of 2 runs valid" in host_repository.output(nodes[0])


@pytest.fixture
def kept(docker_repository: Any, engine: Any) -> Any:
    """Starts a card with --keep-alive and waits for its container to stand; gives command, name and output."""

    def start(script: str, *words: str) -> tuple[subprocess.Popen[str], str]:
        docker_repository.add("card", script)
        child = docker_repository.start("run", "--tags", "card", "--keep-alive", *words)
        until(lambda: "kept alive: docker exec" in docker_repository.output(child), 60, "the line to type")
        (name,) = re.findall(r"kept alive: docker exec -it (\S+) bash", docker_repository.output(child))
        return child, name

    return start


@pytest.mark.parametrize(("script", "code"), [(MEASURED, 0), ("echo oh; exit 7\n", 3)], ids=["success", "failure"])
def test_a_container_is_kept_alive_until_ctrl_c_and_nothing_remains(
    docker_repository: Any, engine: Any, kept: Any, script: str, code: int
) -> None:
    child, name = kept("echo 1 > made.txt\n" + script)
    run = newest(docker_repository)
    assert (run.path / "record.json").exists()  # written before the wait
    assert (run.node(0) / "output" / "made.txt").read_text() == "1\n"
    assert ("SUCCESS" if code == 0 else "FAILURE") in docker_repository.output(child)
    inside = "cat made.txt; echo 2 > later.txt; echo $MAD_MODEL_NAME"
    seen = subprocess.run(["docker", "exec", name, "bash", "-c", inside], capture_output=True, text=True, check=True)
    assert seen.stdout == "1\ncard\n"
    child.send_signal(signal.SIGINT)
    assert child.wait(60) == code
    assert not containers(engine, docker_repository.folder)
    assert (run.node(0) / "kept-alive" / "later.txt").read_text() == "2\n"
    assert not (run.node(0) / "box").exists()
    assert len(docker_repository.records()) == 1


def test_a_time_out_and_its_container_can_be_looked_at(docker_repository: Any, engine: Any, kept: Any) -> None:
    child, name = kept("sleep 600 & sleep 600\n", "--timeout", "2s")
    seen = subprocess.run(["docker", "exec", name, "bash", "-c", "echo here"], capture_output=True, text=True)
    assert seen.stdout == "here\n"
    assert docker_repository.records()[0]["status"] == "FAILURE"
    child.send_signal(signal.SIGTERM)
    assert child.wait(60) == 3
    assert not containers(engine, docker_repository.folder)


def test_a_kept_container_ends_with_its_agent(docker_repository: Any, engine: Any, kept: Any) -> None:
    child, _ = kept(MEASURED)
    child.send_signal(signal.SIGKILL)
    child.wait(60)
    until(lambda: not containers(engine, docker_repository.folder), 60, "the end of the container")


def test_ctrl_c_on_one_node_ends_the_kept_containers_of_all(docker_repository: Any, engine: Any) -> None:
    docker_repository.add("pair", MEASURED)
    words = ("run", "--tags", "pair", "--keep-alive", "-c")
    port = free_port()
    nodes = [docker_repository.start(*words, two_nodes(rank, port)) for rank in (0, 1)]
    for node in nodes:
        until(lambda node=node: "kept alive: docker exec" in docker_repository.output(node), 60, "the line to type")
    assert len(containers(engine, docker_repository.folder)) == 2
    nodes[1].send_signal(signal.SIGINT)
    assert [node.wait(60) for node in nodes] == [0, 0]
    assert not containers(engine, docker_repository.folder)


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (("--runtime", "process"), ["--keep-alive: found runtime process", "allowed: runtime docker or podman"]),
        (("--repeat", "2"), ["--keep-alive: found 2 runs", "allowed: one card, without --repeat"]),
    ],
)
def test_what_cannot_be_kept_alive_is_refused(docker_repository: Any, words: tuple[str, ...], parts: list[str]) -> None:
    docker_repository.add("card", MEASURED)
    done = docker_repository.run("run", "--tags", "card", "--keep-alive", *words)
    assert done.returncode == 2
    assert [part for part in parts if part not in done.stderr] == []
    assert not (docker_repository.folder / "results").exists()


def test_several_cards_end_with_a_summary(repository: Any, runtime: str) -> None:
    repository.add("good", MEASURED, tags=["both"], metrics=PRIMARY)
    repository.add("bad", "exit 7\n", tags=["both"])
    done = repository.run("run", "--tags", "both", "--runtime", runtime)
    assert done.returncode == 3
    rows = [line.split() for line in done.stdout[done.stdout.index("summary:") :].splitlines()[1:]]
    assert rows[0] == ["card", "status", "value", "or", "cause", "time", "run"]
    assert [row[:3] for row in rows[1:]] == [["bad", "FAILURE", "script"], ["good", "SUCCESS", "2.5"]]
    assert [line for line in done.stdout.splitlines() if line.startswith("[")] == ["[1/2] bad", "[2/2] good"]
    assert "summary: 1 SUCCESS, 1 FAILURE\n" in done.stdout
    assert re.search(r"again: .* --tags bad\n", done.stdout)


def test_json_is_one_document_and_the_script_goes_to_stderr(repository: Any, runtime: str) -> None:
    repository.add("good", "echo from the script\n" + MEASURED, tags=["both"], metrics=PRIMARY)
    repository.add("bad", "exit 7\n", tags=["both"])
    done = repository.run("run", "--tags", "both", "--runtime", runtime, "--json")
    document = json.loads(done.stdout)
    assert document["exit_code"] == done.returncode == 3
    bad, good = document["runs"]
    assert (bad["status"], bad["culprit"]["kind"], bad["primary"]) == ("FAILURE", "script error", None)
    assert (good["status"], good["primary"]["text"], good["primary"]["unit"]) == ("SUCCESS", "2.5", "x/s")
    assert Path(good["run_dir"]).is_dir()
    assert "from the script" in done.stderr
    assert "--tags bad" in bad["again"]


def test_json_tells_of_an_error_too(repository: Any, runtime: str) -> None:
    repository.add("card", MEASURED)
    done = repository.run("run", "--tags", "crad", "--json")
    document = json.loads(done.stdout)
    assert (document["exit_code"], done.returncode, document["runs"]) == (2, 2, [])
    assert "nearest: card" in document["error"]


def test_quiet_prints_verdicts_alone_and_verbose_prints_the_command(repository: Any, runtime: str) -> None:
    repository.add("card", "echo from the script\n" + MEASURED)
    words = ("run", "--tags", "card", "--runtime", runtime)
    quiet = repository.run(*words, "-q")
    assert (quiet.returncode, quiet.stderr) == (0, "")
    assert quiet.stdout.startswith("SUCCESS card")
    verbose = repository.run(*words, "-v")
    assert ("docker run --rm" if runtime == "docker" else "bash '{run_dir}/node-0/box/driver.sh'") in verbose.stderr
    assert "timings:" in verbose.stdout
    both = repository.run(*words, "-q", "-v")
    assert both.returncode == 2
    assert "allowed: one of them" in both.stderr


@pytest.mark.parametrize(
    ("env", "coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
    ids=["terminal", "NO_COLOR", "dumb"],
)
def test_a_verdict_is_coloured_on_a_terminal_that_wants_it(
    host_repository: Any, env: dict[str, str], coloured: bool
) -> None:
    host_repository.add("card", MEASURED)
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "madrun", "run", "--tags", "card", "--runtime", "process"]
    clean = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | {"TERM": "xterm"} | env
    try:
        code = subprocess.run(
            command, cwd=host_repository.folder, env=clean, stdin=theirs, stdout=theirs, stderr=theirs, timeout=120
        ).returncode
        text = os.read(ours, 1 << 16).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert code == 0
    assert ("\x1b[32mSUCCESS\x1b[0m" in text) is coloured
    assert "SUCCESS" in text


def test_output_for_a_file_has_no_control_characters_and_says_when(repository: Any, runtime: str) -> None:
    repository.add("card", MEASURED)
    done = repository.run("run", "--tags", "card", "--runtime", runtime)
    text = done.stdout + done.stderr
    assert not [letter for letter in text if not letter.isprintable() and letter != "\n"]
    assert re.search(r"^madrun: \[\d+\.\d s\] running$", done.stderr, re.MULTILINE)


def test_an_image_whose_recipe_has_changed_is_not_repeated(docker_repository: Any, engine: Any) -> None:
    images = {"cpu": {"dockerfile": "cpu.Dockerfile", "base": docker_repository.image}}
    docker_repository.add(OWN_CARD, MEASURED, images=images)
    file = docker_repository.folder / f"models/{OWN_CARD}/cpu.Dockerfile"
    file.write_text("ARG BASE_DOCKER\nFROM $BASE_DOCKER\nENV MADE_BY=one\n")
    assert docker_repository.run("run", "--tags", OWN_CARD).returncode == 0
    run = newest(docker_repository)
    image = plan_of(run)["job"]["image"]["name"]
    try:
        again = docker_repository.run("run", "--plan", run.run_id)
        assert again.returncode == 0, again.stderr
        assert plan_of(newest(docker_repository)) == plan_of(run)
        engine.remove_image(image, force=True)
        rebuilt = docker_repository.run("run", "--plan", run.run_id)
        assert rebuilt.returncode == 0, rebuilt.stderr
        assert "changed since" not in rebuilt.stderr  # made again from the same recipe on the same base
        assert docker_repository.records()[-1]["nodes"][0]["image_identity"].startswith("recipe:")
        file.write_text("ARG BASE_DOCKER\nFROM $BASE_DOCKER\nENV MADE_BY=two\n")
        refused = docker_repository.run("run", "--plan", run.run_id)
        assert refused.returncode == 4
        assert "changed since: the recipe of its image" in refused.stderr
        file.unlink()
        gone = docker_repository.run("run", "--plan", run.run_id)
        assert gone.returncode == 4
        assert "cpu.Dockerfile, which has gone" in gone.stderr
        assert "make it readable" not in gone.stderr
    finally:
        engine.remove_image(image, force=True)


def test_a_base_whose_tag_was_moved_is_named_and_so_is_the_image_made_on_it(
    docker_repository: Any, engine: Any
) -> None:
    base = f"madrun-test-base:{os.getpid()}"
    engine.tag(docker_repository.image, *base.split(":"))
    docker_repository.add(OWN_CARD, MEASURED, images={"cpu": {"dockerfile": "cpu.Dockerfile", "base": base}})
    file = docker_repository.folder / f"models/{OWN_CARD}/cpu.Dockerfile"
    file.write_text("ARG BASE_DOCKER\nFROM $BASE_DOCKER\nENV MADE_BY=base-test\n")
    assert docker_repository.run("run", "--tags", OWN_CARD).returncode == 0
    run = newest(docker_repository)
    image = plan_of(run)["job"]["image"]["name"]
    try:
        recipe = io.BytesIO(f"FROM {docker_repository.image}\nLABEL another={os.getpid()}\n".encode())
        assert list(engine.build(fileobj=recipe, tag=base, rm=True))
        again = docker_repository.run("run", "--plan", run.run_id)
        assert again.returncode == 0, again.stderr
        moved = rf"changed since: base {base} sha256:\w{{12}} -> sha256:\w{{12}}"
        other = r"changed since: image recipe:\w{12} -> recipe:\w{12}"
        notes = "\n".join(docker_repository.records()[-1]["notes"])
        for pattern in (moved, other):
            assert re.search(pattern, again.stderr)
            assert len(re.findall(pattern, notes)) == 1
        third = docker_repository.run("run", "--plan", newest(docker_repository).run_id)
        assert "changed since" not in third.stderr
    finally:
        for name in (image, base):
            engine.remove_image(name, force=True)
