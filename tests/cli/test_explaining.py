"""`madrun explain`: where each value came from, for people and for programs."""

import json

import pytest

from madrun.cli.app import run

pytestmark = pytest.mark.slow  # real processes or commands in most of them

BASE = ("--runtime", "process", "--tags", "one")


@pytest.fixture
def card(write_card):
    write_card(yaml="env: {NCCL_DEBUG: WARN}\ntimeout: 1h\n")


def rows(madrun, *words):
    done = madrun("explain", *BASE, *words, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    return {row["key"]: row for row in document["values"]}


def test_each_layer_overrides_the_one_below_it(madrun, card, repository):
    (repository / "madrun-site.yaml").write_text("docker_env_vars: {NCCL_DEBUG: VERSION}\ngrace: 9\n")
    (repository / "c.json").write_text('{"docker_env_vars": {"NCCL_DEBUG": "TRACE"}}')
    words = ("-f", "c.json", "-c", "{'docker_env_vars': {'NCCL_DEBUG': 'ABORT'}}", "--env", "NCCL_DEBUG=INFO")
    found = rows(madrun, *words, "--timeout", "5m")
    debug = found["NCCL_DEBUG"]
    assert (debug["value"], debug["layer"]) == ("INFO", "--env")
    names = [layer for layer, _ in debug["overrode"]]
    assert names[0] == "--additional-context"
    assert names[1] == "--additional-context-file c.json"
    assert names[2] == "card one"
    assert names[3].endswith("madrun-site.yaml")
    assert [value for _, value in debug["overrode"]] == ["ABORT", "TRACE", "WARN", "VERSION"]
    assert (found["timeout"]["value"], found["timeout"]["layer"]) == (300.0, "--timeout")
    assert found["timeout"]["overrode"] == [["card one", 3600.0]]
    assert found["grace"]["overrode"] == [["default", 5]]
    assert found["join_timeout"]["layer"] == "default"


def test_the_schedulers_environment_is_a_layer(madrun, card):
    done = madrun("explain", *BASE, "NNODES", "--json", SLURM_STEP_NUM_NODES="2", SLURM_NODEID="0")
    (row,) = json.loads(done.stdout)["values"]
    assert (row["value"], row["layer"]) == (2, "scheduler's environment")


def test_what_a_launch_says_is_a_layer_of_its_name(madrun, card):
    env = {"MADRUN_LAUNCH": "slurm:x", "MADRUN_NNODES": "2", "MADRUN_NODE_RANK": "0", "SLURM_NODEID": "1"}
    done = madrun("explain", *BASE, "NNODES", "NODE_RANK", "--json", **env, MADRUN_MASTER_ADDR="127.0.0.1")
    rows = json.loads(done.stdout)["values"]
    assert {(row["key"], row["value"], row["layer"]) for row in rows} == {
        ("multi_node_args.NNODES", 2, "launched by slurm"),
        ("multi_node_args.NODE_RANK", 0, "launched by slurm"),
    }


def test_keys_narrow_the_answer_and_people_get_a_table(madrun, card):
    done = madrun("explain", *BASE, "-e", "NCCL_DEBUG=INFO", "NCCL_DEBUG", "multi_node_args.RUNNER")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[0] == ["KEY", "VALUE", "FROM", "OVERRODE"]
    assert lines[1] == ["NCCL_DEBUG", "INFO", "--env", "WARN", "(card", "one)"]
    assert lines[2] == ["multi_node_args.RUNNER", "torchrun", "default"]
    assert len(lines) == 3


def test_few_rows_are_whole_and_many_are_cut(madrun, card):
    long = "x" * 200
    assert long in madrun("explain", *BASE, "-e", f"LONG={long}", "LONG").stdout
    everything = madrun("explain", *BASE, "-e", f"LONG={long}").stdout
    assert long not in everything
    assert "xxx..." in everything


def test_an_unknown_key_ends_with_2_and_the_nearest(madrun, card):
    done = madrun("explain", *BASE, "NCCL_DEBUGG")
    assert done.returncode == 2
    assert "no key or variable 'NCCL_DEBUGG' (did you mean 'NCCL_DEBUG'?): nothing sets it" in done.stderr


def test_secrets_are_never_shown(madrun, card):
    done = madrun("explain", *BASE, "-e", "HF_TOKEN=hidden-away", MAD_SECRETS_X="hidden-too")
    assert "HF_TOKEN" in done.stdout
    assert "MAD_SECRETS_X" in done.stdout
    assert "hidden" not in done.stdout + done.stderr


def test_several_cards_are_several_documents(madrun, write_card):
    write_card("one", "tags: [both]\n")
    write_card("two", "tags: [both]\n")
    words = ("explain", "--runtime", "process", "--tags", "both", "timeout")
    assert [document["card"] for document in json.loads(madrun(*words, "--json").stdout)] == ["one", "two"]
    assert "card two" in madrun(*words).stdout


def test_explaining_starts_nothing_and_leaves_nothing(madrun, card, repository):
    assert madrun("explain", *BASE).returncode == 0
    assert not (repository / "results").exists()


def test_what_came_to_the_script_of_a_run_is_known(madrun, card, repository):
    assert madrun("run", *BASE, "-e", "NCCL_DEBUG=INFO").returncode == 0
    (made,) = (repository / "results" / "runs").iterdir()
    environment = made / "node-0" / "environment.json"
    kept = json.loads(environment.read_text())
    assert kept["NCCL_DEBUG"] == "INFO"
    environment.write_text(json.dumps(kept | {"NCCL_DEBUG": "WARN", "ADDED": "1"}))
    by_word = {"id": made.name, "path": str(made)}
    for word in by_word.values():
        found = {row["key"]: row for row in json.loads(madrun("explain", "--run", word, "--json").stdout)["values"]}
        assert found["NCCL_DEBUG"]["reached"] == "as WARN"
        assert found["ADDED"]["layer"] == "image or engine"
        assert found["WORLD_SIZE"]["reached"] == "yes"
        assert found["timeout"]["reached"] == ""
    plan = json.loads((made / "plan.json").read_text())
    plan["nodes"][0]["notes"] = ["memlock unlimited left out: the engine may not raise it above 8 MiB"]
    (made / "plan.json").write_text(json.dumps(plan))
    assert "left out" in madrun("explain", "--run", made.name, "memlock").stdout
    environment.unlink()
    done = madrun("explain", "--run", made.name, "NCCL_DEBUG")
    assert done.stdout.split()[-6:-3] == ["NCCL_DEBUG", "INFO", "--env"]
    assert "did not come to start" in done.stderr


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("--run", "none"), "'none' is neither a file nor a directory nor the id of a run below"),
        (("--run", "RUN", "--node", "3"), "--node: found 3, but"),
        (("--run", "RUN"), "context.json cannot be read: No such file"),
        (("--run", "RUN", "--tags", "one", "--timeout", "3"), "explain --run: found --tags, --timeout beside it"),
        ((), "--tags: nothing is selected"),
    ],
)
def test_what_cannot_be_explained_ends_with_2(repository, monkeypatch, capsys, words, part):
    monkeypatch.chdir(repository)
    (repository / "results" / "runs" / "RUN" / "node-0").mkdir(parents=True)
    assert run(["explain", *words]) == 2
    assert part in capsys.readouterr().err
