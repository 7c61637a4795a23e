"""Wrong inputs through the command itself: what is named, what is allowed, and the exit code."""

import json
import os
import socket
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow  # each starts a Python of its own

RUN = ("run", "--runtime", "process", "--tags", "one")
SCRIPT = "echo performance: 5 tok\n"


def context(**values):
    return ("-c", repr(values))


def nodes(**values):
    return context(multi_node_args=values)


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (("-c", "{'multi_node_args': "), ["--additional-context", "neither JSON nor a Python literal"]),
        (("-c", "[1]"), ["--additional-context", "found list", "a map"]),
        (nodes(NNODES="two"), ["--additional-context: multi_node_args.NNODES", "'two'", "a whole number"]),
        (nodes(NNODES="2", NODE_RANK="2"), ["multi_node_args.NODE_RANK", "found 2 with NNODES 2", "0 to 1"]),
        (nodes(RUNNER="torchrum"), ["multi_node_args.RUNNER", "'torchrum'", "did you mean 'torchrun'?", "plain"]),
        (
            nodes(MASTER_ADDR="192.0.2.1", NNODES=2),
            ["multi_node_args.MASTER_ADDR", "192.0.2.1", "not an address of this"],
        ),
        (nodes(MASTER_ADDR="no such host"), ["multi_node_args.MASTER_ADDR", "'no such host'", "cannot resolve"]),
        (nodes(MASTER_PORT="99999"), ["multi_node_args.MASTER_PORT", "'99999'", "<= 65535"]),
        (("--timeout", "soon"), ["--timeout", "'soon'", "1h30m"]),
        (("--runtime", "podmann"), ["--runtime", "'podmann'", "'auto', 'docker', 'podman' or 'process'"]),
        (("-f", "none.json"), ["--additional-context-file", "none.json does not exist"]),
        (("--site", "none.yaml"), ["--site", "none.yaml does not exist"]),
        (context(docker_mounts={"/in": "/no/such/place"}), ["docker_mounts", "/no/such/place", "does not exist"]),
        (context(docker_env_vars={"NODE_RANK": 1}), ["docker_env_vars.NODE_RANK", "multi_node_args"]),
        (context(docker_env_vars={"WORLD_SIZE": 1}), ["docker_env_vars.WORLD_SIZE", "set by madrun"]),
        (context(model_args="it's"), ["--additional-context: model_args", "unbalanced quote in args"]),
        (nodes(RUNNER="plain", NPROC_PER_NODE=4), ["multi_node_args.NPROC_PER_NODE", "found 4", "one process"]),
        (("--timeout", ""), ["--timeout", "found ''", "1h30m"]),
        (context(docker_env_vars={"A": "\ud800"}), ["docker_env_vars.A"]),
        (context(docker_env_vars={"A": "x\0y"}), ["docker_env_vars.A"]),
    ],
)
def test_a_wrong_context_ends_with_4(madrun, write_card, repository, words, parts):
    write_card(script=SCRIPT)
    done = madrun(*(("run", "--tags", "one") if "--runtime" in words else RUN), *words)
    assert done.returncode == 4, done.stderr
    assert [part for part in parts if part not in done.stderr] == []
    assert not (repository / "results").exists()


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (("--tags", "oen"), ["--tags", "'oen'", "nearest: one"]),
        (("--tags", "../one"), ["--tags", "'../one'", "allowed: a card's name"]),
        (("--tags", "one;reboot"), ["--tags", "'one;reboot'", "allowed: a card's name"]),
        (("--tags", "one:x=$(id)"), ["--tags", "'x=$(id)'", "without shell characters"]),
        ((), ["--tags", "nothing is selected"]),
        (("--tags", "one", "--repo", "none"), ["--repo", "none is not a directory"]),
        (("--tags", "one", "--force-mirror-local", "none"), ["--force-mirror-local", "none does not exist"]),
        (("--tags", "one", "--runtime", "docker"), ["no docker engine answers", "no-engine.sock", "--runtime process"]),
        (("--tags", "wants_data"), ["data.json", "no data source 'corpsu'", "did you mean 'corpus'?"]),
        (("--tags", "wants_gone"), ["data.json", "gone", "/no/such/place does not exist"]),
        (("--tags", "one", "--results", "file"), ["--results", "cannot be written"]),
    ],
)
def test_what_cannot_be_carried_out_as_typed_ends_with_2(madrun, write_card, repository, words, parts):
    write_card(script=SCRIPT)
    write_card("wants_data", "data: corpsu\n")
    write_card("wants_gone", "data: gone\n")
    (repository / "file").touch()
    sources = {"corpus": {"local": {"path": "x"}}, "gone": {"local": {"path": "/no/such/place"}}}
    (repository / "data.json").write_text(json.dumps(sources))
    runtime = () if "--runtime" in words else ("--runtime", "process")
    done = madrun("run", *runtime, *words)
    assert done.returncode == 2, done.stderr
    assert [part for part in parts if part not in done.stderr] == []
    assert not (repository / "results").exists()


def test_a_broken_card_that_is_asked_for_is_named_with_its_line(madrun, write_card):
    write_card(yaml="argz: x\n")
    done = madrun(*RUN)
    assert done.returncode == 2
    assert "models/one/model.yaml:3: argz: unknown key (did you mean 'args'?)" in done.stderr


@pytest.mark.parametrize(
    ("script", "words", "parts"),
    [
        ("echo because; exit 3\n", (), ["script error", "exit code 3", "because"]),
        ("exit 0\n", (), ["nothing was measured", "performance: <number> <metric>"]),
        ("echo performance: nan tok\n", (), ["tok", "nan", "not finite"]),
        ("echo performance: 5 other\n", (), ["declared metrics are missing: tok", "found: other"]),
        ("echo performance: -5 tok\n", (), ["tok is -5", "outside its declared bounds"]),
        ("sleep 60\n", ("--timeout", "0.3"), ["timeout", "time limit of 0.30 s"]),
    ],
)
def test_a_run_that_fails_ends_with_3_and_says_why_where_and_how_again(
    madrun, write_card, repository, script, words, parts
):
    write_card(yaml="metrics: {tok: {min: 0}}\n", script=script)
    done = madrun(*RUN, *words, "-c", "{'grace': 0.2}")
    assert done.returncode == 3, done.stderr
    assert "FAILURE one" in done.stdout
    assert [part for part in parts if part not in done.stdout] == []
    assert "again: madrun run" in done.stdout
    (log,) = [line.split()[-1] for line in done.stdout.splitlines() if line.strip().startswith("log: ")]
    assert (repository / log).exists()
    (record,) = repository.glob("results/runs/*/record.json")
    assert json.loads(record.read_text())["status"] == "FAILURE"


def test_a_run_that_prints_its_metric_is_a_success(madrun, write_card, repository):
    write_card(yaml="metrics: {tok: {unit: tok/s}}\n", script=SCRIPT)
    done = madrun(*RUN)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("performance: 5 tok\nSUCCESS one")
    assert "tok  5 tok/s" in done.stdout
    (record,) = repository.glob("results/runs/*/record.json")
    assert json.loads(record.read_text())["valid"] is True
    assert (repository / "results" / "perf.csv").read_text().count("\n") == 2


def test_a_run_without_an_engine_says_so_in_one_line_and_records_it(madrun, write_card, repository):
    write_card(script=SCRIPT)
    done = madrun("run", "--tags", "one")
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "runtime process" in line]
    assert "no-engine.sock" in line
    (record,) = repository.glob("results/runs/*/record.json")
    assert any("runtime process" in note for note in json.loads(record.read_text())["notes"])


def test_the_worst_of_several_cards_is_the_exit_code_and_all_run(madrun, write_card, repository):
    write_card("a", "tags: [x]\n", script="exit 5\n")
    write_card("b", "tags: [x]\n", script=SCRIPT)
    done = madrun("run", "--runtime", "process", "--tags", "x")
    assert done.returncode == 3
    assert "FAILURE a" in done.stdout
    assert "SUCCESS b" in done.stdout
    assert len(list(repository.glob("results/runs/*/record.json"))) == 2


def test_an_unknown_key_of_the_context_is_a_warning_with_the_nearest_one(madrun, write_card):
    write_card(script=SCRIPT)
    done = madrun("plan", "--runtime", "process", "--tags", "one", "-c", "{'docker_env_var': {}}")
    assert done.returncode == 0
    assert "unknown key docker_env_var has no effect (did you mean 'docker_env_vars'?)" in done.stdout + done.stderr


@pytest.mark.e2e
def test_a_master_port_in_use_ends_with_4(madrun, write_card):
    write_card(script=SCRIPT)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        done = madrun(*RUN, *nodes(NNODES=2, MASTER_PORT=port))
    assert done.returncode == 4
    assert f"multi_node_args.MASTER_PORT: {port} is in use" in done.stderr


def test_a_report_without_runs_ends_with_2(madrun):
    done = madrun("report")
    assert done.returncode == 2
    assert "--results: results holds no runs" in done.stderr


def _link_out(folder):
    (folder / "out").symlink_to("/etc")


def _loop(folder):
    (folder / "loop").symlink_to(".")


def _latin_name(folder):
    (folder / os.fsdecode(b"caf\xe9.txt")).touch()


@pytest.mark.parametrize(
    ("spoil", "parts"),
    [
        (_loop, ["models/one/loop", "a loop of links"]),
        (_link_out, ["models/one/out", "/etc", "outside"]),
        (_latin_name, ["models/one", "not UTF-8", "rename"]),
    ],
)
def test_what_is_wrong_in_a_cards_folder_ends_with_2_and_is_named(madrun, write_card, spoil, parts):
    spoil(write_card(script=SCRIPT).parent)
    done = madrun("plan", "--runtime", "process", "--tags", "one")
    assert done.returncode == 2, done.stderr
    assert [part for part in parts if part not in done.stderr] == []


def test_a_variable_of_the_host_that_is_not_utf8_is_left_out_with_a_note(madrun, write_card, repository):
    write_card(script=SCRIPT)
    done = madrun(*RUN, NCCL_X=os.fsdecode(b"\xff"))
    assert done.returncode == 0, done.stderr
    assert "the host's variable 'NCCL_X' is left out: it is not UTF-8" in done.stderr


@pytest.mark.parametrize("words", [("list", "--json"), ("explain", "--tags", "one"), ("plan", "--tags", "one")])
def test_a_full_disk_under_the_output_is_no_success_and_no_defect(repository, write_card, words):
    write_card()
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run(
            [sys.executable, "-m", "madrun", *words],
            cwd=repository,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"DOCKER_HOST": "unix:///nowhere"},
        )
    assert done.returncode == 2
    assert "could not be written: No space left on device" in done.stderr
    assert "defect" not in done.stderr
