"""`madrun plan`: the very object that a run executes, and nothing is started."""

import json

import pytest

NODES = "{'multi_node_args': {'NNODES': '2', 'NODE_RANK': '0', 'RUNNER': 'plain'}}"


@pytest.fixture
def plan(madrun, write_card):
    write_card(yaml="metrics: {tok: {unit: tok/s, primary: true}}\n", script="touch /tmp/never\n")

    def make(*words, command="plan"):
        done = madrun(command, "--runtime", "process", "--tags", "one", *words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return make


def test_a_plan_for_people_shows_job_environment_command_and_driver(plan, repository):
    text = plan("-c", "{'docker_env_vars': {'NCCL_DEBUG': 'INFO'}}")
    for part in (
        "card      one",
        "NCCL_DEBUG=INFO",
        "MULTI_NODE_RUNNER=torchrun --nnodes 1",
        "bash ./run.sh",
        "tok tok/s",
    ):
        assert part in text
    assert not (repository / "results").exists()


def test_a_plan_is_the_same_each_time_and_the_same_as_a_dry_run(plan):
    first = json.loads(plan("--json"))
    assert json.loads(plan("--json")) == first
    assert json.loads(plan("--dry-run", "--json", command="run")) == first


def test_a_run_executes_the_plan_that_was_printed(plan, madrun, repository):
    printed = json.loads(plan("--json"))
    madrun("run", "--runtime", "process", "--tags", "one")
    (saved,) = [json.loads(path.read_text()) for path in repository.glob("results/runs/*/plan.json")]
    assert saved["job"] == printed["job"]
    assert saved["job_hash"] == printed["job_hash"]
    (run,) = repository.glob("results/runs/*")
    filled = json.dumps(printed["nodes"]).replace("{run_id}", run.name).replace("{run_dir}", str(run))
    assert json.dumps(saved["nodes"]) == filled


def test_for_several_nodes_the_line_to_type_on_each_is_printed(plan):
    lines = plan("-c", NODES).split("type on each node:\n")[1].splitlines()
    assert len(lines) == 2
    for rank, line in enumerate(lines):
        assert line.strip().startswith("madrun run --runtime process --tags one")
        assert f"'NODE_RANK': '{rank}'" in line


def test_the_job_hash_of_both_nodes_is_the_same(plan):
    hashes = [json.loads(plan("--json", "-c", NODES.replace("'0'", f"'{rank}'")))["job_hash"] for rank in (0, 1)]
    assert hashes[0] == hashes[1]


@pytest.mark.parametrize("words", [(), ("--json",)])
@pytest.mark.parametrize("nnodes", [1, 2])
def test_a_secret_is_in_no_plan(plan, words, nnodes):
    context = {"docker_env_vars": {"HF_TOKEN": "hf_very_secret"}, "multi_node_args": {"NNODES": nnodes}}
    text = plan("-c", repr(context), *words)
    assert "HF_TOKEN" in text
    assert "hf_very_secret" not in text


def test_layers_from_site_file_to_flag_replace_each_other(plan, repository):
    def limit(*words):
        return json.loads(plan("--json", *words))["job"]["timeout_s"]

    (repository / "madrun-site.yaml").write_text("timeout: 1h\ndocker_env_vars: {A: site}\n")
    assert limit() == 3600
    card = repository / "models" / "one" / "model.yaml"
    card.write_text(card.read_text() + "timeout: 50m\n")
    assert limit() == 3000
    (repository / "c.yaml").write_text("timeout: 40m\n")
    assert limit("-f", "c.yaml") == 2400
    assert limit("-f", "c.yaml", "-c", "{'timeout': '30m'}") == 1800
    assert limit("-f", "c.yaml", "-c", "{'timeout': '30m'}", "--timeout", "20m") == 1200
    (repository / "other.yaml").write_text("docker_env_vars: {A: other}\n")
    assert json.loads(plan("--json", "--site", "other.yaml"))["job"]["env"]["A"] == "other"


@pytest.mark.parametrize(
    ("name", "text"), [("c.json", '{"timeout": 7}'), ("c.txt", "{'timeout': 7}"), ("c.yml", "timeout: 7\n")]
)
def test_a_context_file_is_json_yaml_or_a_python_literal(plan, repository, name, text):
    (repository / name).write_text(text)
    assert json.loads(plan("--json", "-f", name))["job"]["timeout_s"] == 7
