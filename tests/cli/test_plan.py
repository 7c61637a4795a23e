"""`madrun plan`: the very object that a run executes, and nothing is started."""

import json

import pytest

from madrun.cli.secretvalues import secrets_of
from madrun.errors import ContextError
from madrun.spec.card import Card, ImageSource
from madrun.spec.context import Context
from madrun.spec.masking import without_secrets

pytestmark = pytest.mark.slow

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


@pytest.mark.parametrize("form", ["-c{}", "--additional-context={}"])
def test_an_attached_context_is_changed_in_its_place(plan, form):
    lines = plan(form.format(NODES)).split("type on each node:\n")[1].splitlines()
    for rank, line in enumerate(lines):
        assert line.count("multi_node_args") == 1
        assert "'NNODES': '2'" in line
        assert f"'NODE_RANK': '{rank}'" in line


def test_a_plan_takes_every_option_of_a_run_and_says_them_again(plan):
    text = plan("--results", "elsewhere", "--join-timeout", "30s", "-c", NODES)
    assert text.count("--results elsewhere --join-timeout 30s") == 2


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


def test_a_secret_of_the_build_is_in_no_plan(plan):
    context = {"docker_build_arg": {"HF_TOKEN": "hf_very_secret"}, "multi_node_args": {"NNODES": 2}}
    text = plan("-c", repr(context))
    assert "hf_very_secret" not in text
    assert "'HF_TOKEN': '***'" in text


def test_a_secret_of_one_character_leaves_the_command_readable(plan):
    text = plan("--additional-context", repr({"docker_build_arg": {"HF_TOKEN": "x"}, "multi_node_args": {"NNODES": 2}}))
    assert text.count("--additional-context \"{'docker_build_arg': {'HF_TOKEN': '***'}") == 2


@pytest.mark.parametrize("secret", ["a'b\"c\\d", "line\nbreak", "gehe\u00efm"])
@pytest.mark.parametrize("spell", [repr, json.dumps])
def test_a_secret_is_masked_however_it_is_spelled(secret, spell):
    (word,) = without_secrets((spell({"HF_TOKEN": secret}),), {"HF_TOKEN": secret})
    assert word in ("{'HF_TOKEN': '***'}", '{"HF_TOKEN": "***"}', "{'HF_TOKEN': \"***\"}")


def test_of_two_secrets_with_one_beginning_no_end_is_shown():
    assert without_secrets(("x abcdefgh",), {"A": "abcd", "B": "abcdefgh"}) == ("x ***",)


def test_a_secret_of_the_build_alone_is_no_variable_of_the_script(make_facts):
    image = ImageSource(dockerfile="d", args={"CARD_KEY": "k", "X": "1"})
    card = Card(name="one", folder="f", repository="r", source="s", script="x", images={"cpu": image})
    context = Context(docker_env_vars={"HF_TOKEN": "t", "A": "1"}, docker_build_arg={"HF_TOKEN": "t", "PIP_TOKEN": "p"})
    variables, arguments = secrets_of(card, context, make_facts())
    assert variables == {"HF_TOKEN": "t"}
    assert arguments == {"HF_TOKEN": "t", "PIP_TOKEN": "p", "CARD_KEY": "k"}


def test_a_variable_that_holds_a_secrets_value_is_a_secret_too(plan):
    text = plan("--env", "MY_TOKEN=s3cr3tvalue", "--env", "URL=https://u:s3cr3tvalue@h", "--env", "OTHER=1", "--json")
    assert "s3cr3tvalue" not in text
    env = json.loads(text)["nodes"][0]["process"]["env"]
    assert (env["URL"], env["MY_TOKEN"], env["OTHER"]) == ("{secret}", "{secret}", "1")


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"docker_build_arg": {"URL": "https://u:s3cr3tvalue@h"}}, "docker_build_arg.URL: found the value of a secret"),
        ({"model_args": "--token s3cr3tvalue"}, r"args: found the value of a secret in it.*write \$NAME"),
        ({"more_args": ("--token=s3cr3tvalue",)}, "args: found the value of a secret"),
    ],
)
def test_a_secret_in_what_files_show_is_refused(make_facts, values, text):
    card = Card(name="one", folder="f", repository="r", source="s", script="x")
    context = Context(docker_env_vars={"MY_TOKEN": "s3cr3tvalue"}, **values)
    with pytest.raises(ContextError, match=text) as caught:
        secrets_of(card, context, make_facts())
    assert "s3cr3tvalue" not in str(caught.value)


def test_a_short_secret_may_stand_in_other_texts_by_chance(make_facts):
    card = Card(name="one", folder="f", repository="r", source="s", script="x", args="--kind test")
    assert secrets_of(card, Context(docker_env_vars={"MY_KEY": "test"}), make_facts())[0] == {"MY_KEY": "test"}


def test_one_secret_name_with_two_values_is_an_error_that_shows_neither(make_facts):
    card = Card(name="one", folder="f", repository="r", source="s", script="x")
    context = Context(docker_env_vars={"HF_TOKEN": "first"}, docker_build_arg={"HF_TOKEN": "second"})
    with pytest.raises(ContextError, match="docker_build_arg.HF_TOKEN: found another value") as caught:
        secrets_of(card, context, make_facts())
    assert "first" not in str(caught.value)
    assert "second" not in str(caught.value)


def test_the_users_own_site_file_counts_where_the_repository_has_none(plan, repository):
    file = repository.parent / "home" / ".config" / "madrun" / "site.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("timeout: 7\n")
    assert json.loads(plan("--json"))["job"]["timeout_s"] == 7
    (repository / "madrun-site.yaml").write_text("timeout: 8\n")
    assert json.loads(plan("--json"))["job"]["timeout_s"] == 8


def test_an_interface_that_this_host_lacks_is_a_note_of_the_plan(plan):
    text = plan("-c", "{'multi_node_args': {'GLOO_SOCKET_IFNAME': 'ens14np0'}}")
    assert "note      GLOO_SOCKET_IFNAME: this host has no interface ens14np0; it has: lo" in text
