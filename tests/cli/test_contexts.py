"""The context of one card: the host's shell lowest, then card and command, in words that every card shares."""

import pytest

from madrun.cli.contexts import check_mounts, context_of
from madrun.cli.secretvalues import secrets_of
from madrun.errors import CardError, ContextError
from madrun.registry.mad.tools import Stack
from madrun.spec.card import Card
from madrun.spec.context import Context, Layer
from madrun.spec.mad import MadCard, Step

NAMES = ("NCCL_DEBUG", "NCCL_ALGO", "NNODES", "NODE_RANK", "MASTER_ADDR", "WORLD_SIZE", "MAD_LAUNCHER", "PRIMUS_X")


@pytest.fixture(autouse=True)
def bare_shell(monkeypatch):
    for name in (*NAMES, "MAD_MULTI_NODE_RUNNER"):
        monkeypatch.delenv(name, raising=False)


def card(mad=True, script="run.sh", repository="/r", **more):
    part = MadCard(short="one", dockerfile="d", **more) if mad else None
    return Card(name="one", folder="/r", repository=str(repository), source="m.json", script=script, mad=part)


@pytest.fixture
def context(make_facts):
    def make(one=None, below=None, scheduler=None, **said):
        above = [Layer("-c", said)] if said else []
        lower = [Layer("site", below)] if below else []
        return context_of(one or card(), lower, above, make_facts(scheduler=scheduler or {}))

    return make


def test_the_hosts_shell_is_the_lowest_layer_of_a_mad_card_alone(context, monkeypatch):
    monkeypatch.setenv("NCCL_DEBUG", "TRACE")
    monkeypatch.setenv("MASTER_ADDR", "10.9.9.9")
    found, origins, _ = context()
    assert found.docker_env_vars == {"NCCL_DEBUG": "TRACE"}
    assert found.multi_node_args.MASTER_ADDR == "10.9.9.9"
    assert {origin.said[0][0] for origin in origins} == {"this host's environment"}
    assert context(below={"docker_env_vars": {"NCCL_DEBUG": "INFO"}})[0].docker_env_vars == {"NCCL_DEBUG": "INFO"}
    assert context(card(mad=False))[0].docker_env_vars == {}


def test_what_of_the_shell_is_not_passed_on_is_named_unless_somebody_passes_it(context, monkeypatch):
    monkeypatch.setenv("NCCL_ALGO", "Ring")
    monkeypatch.setenv("WORLD_SIZE", "8")
    text = "\n".join(context()[2])
    assert "not passed on: NCCL_ALGO; --env NAME passes one" in text
    assert "WORLD_SIZE=8 has no effect" in text
    assert "NCCL_ALGO;" not in "\n".join(context(docker_env_vars={"NCCL_ALGO": "Ring"})[2])


def test_the_launcher_is_that_of_context_then_card_then_shell(context, monkeypatch):
    monkeypatch.setenv("MAD_LAUNCHER", "vllm")
    assert context()[0].multi_node_args.RUNNER == "script"
    torch = card(distributed={"launcher": "torchrun"})
    assert context(torch)[0].multi_node_args.RUNNER == "torchrun"
    assert context(torch, distributed={"launcher": "sglang"})[0].multi_node_args.RUNNER == "script"


def test_a_runner_is_kept_for_a_mad_card_with_a_note_and_refused_for_a_native_one(context, monkeypatch):
    given = {"docker_env_vars": {"MAD_MULTI_NODE_RUNNER": "mine"}}
    found, _, notes = context(**given)
    assert found.docker_env_vars == {"MAD_MULTI_NODE_RUNNER": "mine"}
    assert notes == ["MAD_MULTI_NODE_RUNNER is the one of -c, as it stands there"]
    with pytest.raises(ContextError, match="MAD_MULTI_NODE_RUNNER: is set by madrun itself"):
        context(card(mad=False), **given)
    monkeypatch.setenv("MAD_MULTI_NODE_RUNNER", "")
    assert context()[0].docker_env_vars == {"MAD_MULTI_NODE_RUNNER": ""}


def test_what_the_card_asks_for_in_vain_is_its_own_error(context):
    with pytest.raises(CardError, match="m.json: card one: .*NO_SUCH_VARIABLE is not set"):
        context(card(docker_options="--hostname $NO_SUCH_VARIABLE"))


def test_arguments_of_a_mad_card_are_the_business_of_its_shell(context):
    text = "--a 'open\n--b \\"
    assert context(model_args=text)[0].model_args == text
    with pytest.raises(ContextError, match="model_args: found a line break"):
        context(card(mad=False), model_args=text)
    with pytest.raises(ContextError, match="without NUL"):
        context(model_args="a\0b")


def test_a_card_of_several_nodes_takes_the_schedulers_rank(context):
    many = card(distributed={"nnodes": 2})
    found = context(many, scheduler={"NNODES": "2", "NODE_RANK": "1"})[0].multi_node_args
    assert (found.NNODES, found.NODE_RANK) == (2, 1)


def test_a_path_that_options_mount_has_to_exist(context, tmp_path):
    missing = tmp_path / "missing"
    text = "missing does not exist on this host; the engine would make an empty"
    with pytest.raises(CardError, match=f"m.json: .*{text}"):
        context(card(docker_options=f"-v {missing}:/x"))
    with pytest.raises(ContextError, match=text):
        context(additional_docker_run_options=f"-v {missing}:/x")
    assert not missing.exists()
    assert context(card(docker_options=f"-v {tmp_path}:/x"))[0].additional_docker_run_options == f"-v {tmp_path}:/x"


def test_a_mount_the_wrong_way_round_is_told_and_nothing_is_made(tmp_path):
    missing = tmp_path / "missing"
    with pytest.raises(ContextError, match="the other way round"):
        check_mounts(Context(docker_mounts={str(tmp_path): str(missing)}))
    assert not missing.exists()


def test_credentials_of_the_card_are_secrets_of_its_run(make_facts, tmp_path):
    (tmp_path / "credential.json").write_text('{"HUB": {"username": "me", "token": "t0ps3cret"}}')
    one = card(repository=tmp_path, cred="HUB")
    variables, _ = secrets_of(one, Context(), make_facts())
    assert {"HUB_USERNAME": "me", "HUB_TOKEN": "t0ps3cret"}.items() <= variables.items()
    with pytest.raises(CardError, match="m.json: one: cred: .*no entry 'NONE'"):
        secrets_of(card(repository=tmp_path, cred="NONE"), Context(), make_facts())


@pytest.mark.parametrize(
    ("stack", "more", "where"),
    [
        (Stack(front="X=t0ps3cret"), {}, "encapsulate_script or cmd of a tool"),
        (Stack(pre=(Step(path="a", args="t0ps3cret"),)), {}, "pre_scripts"),
        (Stack(post=(Step(path="a", args="-t0ps3cret"),)), {}, "post_scripts"),
        (Stack(), {"additional_docker_run_options": "--label a=t0ps3cret"}, "additional_docker_run_options"),
    ],
)
def test_a_secret_that_files_of_the_run_would_show_is_refused(make_facts, tmp_path, stack, more, where):
    (tmp_path / "credential.json").write_text('{"HUB": {"token": "t0ps3cret"}}')
    with pytest.raises(ContextError, match=f"^{where}: found the value of a secret") as caught:
        secrets_of(card(repository=tmp_path, cred="HUB"), Context(**more), make_facts(), stack)
    assert "t0ps3cret" not in str(caught.value)


def test_a_user_name_may_stand_in_a_path(make_facts, tmp_path):
    (tmp_path / "credential.json").write_text('{"HUB": {"username": "jenkins", "token": "t0ps3cret"}}')
    options = Context(additional_docker_run_options="-v /home/jenkins/x:/x", model_args="--user jenkins")
    assert "HUB_USERNAME" in secrets_of(card(repository=tmp_path, cred="HUB"), options, make_facts())[0]
