"""The user's own words for the runner: none that contradicts the plan, none that a shell would change."""

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.errors import CardError, ContextError
from madrun.planning.runnerwords import check_named_configs, runner_notes, runner_words
from madrun.runners import RUNNERS
from madrun.spec.card import Card
from madrun.spec.context import Context, MultiNodeArgs
from madrun.spec.mad import MadCard
from madrun.spec.topology import Topology

TWO = Topology(
    nnodes=2,
    node_rank=0,
    nproc_per_node=2,
    master_addr="10.0.0.4",
    master_port=29501,
    control_port=29502,
    nccl_ifname="=eth0",
    gloo_ifname="eth0",
)


def words(said, runner="torchrun"):
    return runner_words(MultiNodeArgs(RUNNER=runner, RUNNER_ARGS=said), TWO, "cpu", None).args


def elastic(said, runner="torchrun"):
    return runner_words(MultiNodeArgs(RUNNER=runner, ELASTIC=said), TWO, "cpu", None).elastic


@pytest.mark.parametrize(
    ("runner", "said"),
    [
        ("torchrun", "--max_restarts 3 --role=a --no-python"),
        ("accelerate", "--mixed_precision=bf16 --use_fsdp"),
        ("deepspeed", "-q --bind_cores_to_rank --enable_each_rank_log logs"),
        ("mpirun", "-novm --map-by node --mca btl tcp,self"),
        ("plain", "-X dev"),
    ],
)
def test_words_that_say_nothing_of_the_plan_are_the_users(runner, said):
    assert words(said, runner) == tuple(said.split())


@pytest.mark.parametrize("runner", sorted(RUNNERS))
def test_no_words_are_right_for_every_runner(runner):
    assert words(None, runner) == words(" ", runner) == ()


@pytest.mark.parametrize(
    ("runner", "said", "text"),
    [
        ("torchrun", "--nnodes=2", "found '--nnodes=2', which would .*set multi_node_args.NNODES, and leave it out"),
        ("torchrun", "--role a --nnode 2", "found '--nnode', short for --nnodes, .*multi_node_args.NNODES,"),
        ("torchrun", "--nproc-per-node 2", "that is --nproc_per_node, .*multi_node_args.NPROC_PER_NODE"),
        ("torchrun", "--rdzv_backend c10d", "set multi_node_args.ELASTIC"),
        ("torchrun", "--standalone", "RUNNER 'torchrun'; leave it out: madrun sees to it"),
        ("accelerate", "--num-processes 3", "set multi_node_args.NNODES and NPROC_PER_NODE"),
        ("accelerate", "--config_file x", "set multi_node_args.CONFIG_FILE"),
        ("deepspeed", "-Hfile", "that is -H, .*set multi_node_args.NNODES"),
        ("deepspeed", "--host file", "short for --hostfile"),
        ("deepspeed", "--master_port 1", "set multi_node_args.MASTER_PORT"),
        ("mpirun", "-np 4", "set multi_node_args.NNODES and NPROC_PER_NODE"),
        ("mpirun", "--hostfile h", "set multi_node_args.HOST_LIST"),
        ("script", "--x", "RUNNER 'script', which starts no program"),
    ],
)
def test_a_word_that_would_contradict_the_plan_is_refused_with_the_key_that_says_it(runner, said, text):
    with pytest.raises(ContextError, match=f"multi_node_args.RUNNER_ARGS: .*{text}"):
        words(said, runner)


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ("--role 'a b'", "'a b', which holds a blank"),
        ("--role a*", "which holds '.', which a shell replaces by names of files"),
        ("--role '\"'", "which holds a quote"),
        ("--role $HOME", r"which holds '\$'"),
        ("--role ''", "an empty word"),
        ("--role 'a", "an unbalanced quote"),
        ("--role a\\", "a backslash at the end"),
    ],
)
def test_a_word_that_a_script_would_split_or_replace_is_refused(said, text):
    with pytest.raises(ContextError, match=f"multi_node_args.RUNNER_ARGS: found .*{text}"):
        words(said)


@given(st.text(max_size=30))
def test_any_text_is_refused_or_becomes_words_without_white_space(said):
    try:
        found = words(said, "plain")
    except ContextError:
        return
    assert " ".join(found).split() == list(found)


def test_every_letter_that_is_allowed_survives_expansion_and_eval(tmp_path):
    kept = words("a_@%+=:,./-Z9 --x=1,2 @f %3", "plain")
    script = 'printf "%s|" $W; echo; eval "printf \'%s|\' $W"'
    run = subprocess.run(
        ["bash", "-c", script], env={"W": " ".join(kept)}, cwd=tmp_path, capture_output=True, text=True
    )
    assert run.stdout.splitlines() == ["".join(f"{word}|" for word in kept)] * 2


@pytest.mark.parametrize("said", ["1:2", "2:2", "02:4"])
def test_a_range_holds_the_number_of_nodes(said):
    assert elastic(said) == ":".join(str(int(part)) for part in said.split(":"))


@pytest.mark.parametrize("said", ["2", "0:2", "3:4", "1:1", "2:1", "a:b", "1:2:3", " 1:2", "1:99999999", ""])
def test_another_range_is_refused(said):
    with pytest.raises(
        ContextError, match="multi_node_args.ELASTIC: found .*1 <= MIN <= NNODES <= MAX, and NNODES is 2"
    ):
        elastic(said)


def test_a_range_is_for_torchrun_alone():
    with pytest.raises(ContextError, match="ELASTIC: found '1:2' with RUNNER 'accelerate', .*allowed with: torchrun"):
        elastic("1:2", "accelerate")


def test_the_plan_says_what_a_range_means(make_job):
    assert runner_notes(make_job()) == ()
    (note,) = runner_notes(make_job(nnodes=2, elastic="1:2"))
    assert "torchrun numbers the nodes itself" in note
    assert "waits 30 s" in runner_notes(make_job(nnodes=2, elastic="2:4"))[1]


CARD = Card(name="one", folder="/r/one", repository="/r", source="/r/one/model.yaml:1", script="run.sh")
FILES = ("run.sh", "ds.json", "conf/ds.json")


@pytest.mark.parametrize(
    "args",
    [
        "--deepspeed_config ds.json",
        "--deepspeed ./conf/ds.json --x",
        "--deepspeed",
        "--deepspeed --deepspeed_config=ds.json",
        "--deepspeed_config /etc/ds.json",
        '--deepspeed_config "$HOME/other.json"',
        "--deepspeed_config",
        "--deepspeed zero",
        "",
    ],
)
def test_a_deepspeed_configuration_that_is_there_or_cannot_be_known_is_none_of_our_business(args):
    check_named_configs(CARD, Context(), args, FILES)


@pytest.mark.parametrize("args", ["--deepspeed_config no.json", "--deepspeed=no.json", "--deepspeed ../no.json"])
def test_one_that_is_missing_is_an_error_of_who_named_it(args):
    with pytest.raises(CardError, match=r"/model.yaml:1: args: --deepspeed\S* names \S*no.json, .* add it to `files:`"):
        check_named_configs(CARD, Context(), args, FILES)
    with pytest.raises(ContextError, match="^args: --deepspeed"):
        check_named_configs(CARD, Context(model_args=args), args, FILES)
    with pytest.raises(ContextError, match="^args: --deepspeed"):
        check_named_configs(CARD, Context(more_args=tuple(args.split())), args, FILES)


def test_scripts_of_other_repositories_look_for_theirs_where_they_like():
    mad = Card(
        **{name: getattr(CARD, name) for name in ("name", "folder", "repository", "source", "script")},
        mad=MadCard(short="one", dockerfile="d"),
    )
    check_named_configs(mad, Context(), "--deepspeed_config no.json 'open", FILES)
