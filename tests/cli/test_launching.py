"""From the words of one command to what all nodes are given: words, files, private values, sizes and ports."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.backends.table import BACKENDS
from madrun.cli.app import run
from madrun.cli.launching import Asked, asked_of, make_launch
from madrun.cli.launchoptions import LaunchOptions
from madrun.cli.launchwords import node_words
from madrun.cli.layers import set_values
from madrun.cli.madoptions import RepositoryOptions, RunFiles
from madrun.cli.options import RunOptions, Show
from madrun.errors import ContextError, UsageError


@pytest.fixture
def make(write_card, repository, tmp_path, monkeypatch):
    """A launch of card `one`, by Compose on two nodes where nothing else is said."""
    write_card(yaml="images: {cpu: {image: example/one:1}}\n")
    monkeypatch.chdir(repository)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("MADRUN_SECRET", raising=False)

    def launch(on="compose", launch=None, files=None, plan=None, **options):
        chosen = LaunchOptions(on=on, **({"nodes": 2} if launch is None else launch))
        typed = RunOptions(**{"tags": ["one"]} | options)
        asked = Asked(options=typed, launch=chosen, files=files or RunFiles(), plan=plan)
        return make_launch(asked, tmp_path / "launch")

    return launch


def test_words_are_carried_but_for_those_that_name_something_of_this_host(make, repository):
    made = make(repo=str(repository), results="r", arg=["--lr 1"], timeout="5m", set_key=["shm_size=1g"]).launch
    words = " ".join(made.words)
    assert words == "--tags one --arg --lr 1 --set shm_size=1g --timeout 5m --runtime process"
    assert made.repository == str(repository)
    assert made.results == str(repository / "r")


def test_files_of_this_host_go_along_by_their_text(make, tmp_path):
    (tmp_path / "my context.yaml").write_text("timeout: 9m\n")
    (tmp_path / "site file").write_text("{'shm_size': '2g'}")
    made = make(additional_context_file=str(tmp_path / "my context.yaml"), site=str(tmp_path / "site file")).launch
    assert made.given == {"--additional-context-file": "additional-context-file.yaml", "--site": "site"}
    assert made.files == {"additional-context-file.yaml": "timeout: 9m\n", "site": "{'shm_size': '2g'}"}
    assert str(tmp_path / "my context.yaml") not in made.words


def test_the_site_file_that_is_found_by_itself_goes_along_too(make, repository):
    (repository / "madrun-site.yaml").write_text("compose: {shm_size: 3g}\nmodules: [rocm/6.2]\n")
    made = make()
    assert made.launch.files == {"site.yaml": "compose: {shm_size: 3g}\nmodules: [rocm/6.2]\n"}
    assert made.launch.given == {"--site": "site.yaml"}
    assert json.loads(made.launch.env["MADRUN_LAYERS"]) == {"--site": f"site file {repository}/madrun-site.yaml"}
    assert made.settings.shm_size == "3g"
    assert made.launch.modules == ("rocm/6.2",)


def test_layers_of_a_backends_settings_are_merged_the_later_one_counts(make, repository):
    (repository / "madrun-site.yaml").write_text("compose: {shm_size: 3g, stop_grace: 7, cap_add: [A]}\n")
    made = make(additional_context="{'compose': {'shm_size': '4g', 'cap_add': ['B']}}", set_key=["compose.shm_size=5g"])
    assert (made.settings.shm_size, made.settings.stop_grace, made.settings.cap_add) == ("5g", 7, ("B",))


@pytest.mark.parametrize("word", ["HF_TOKEN", "HF_TOKEN=geheim"])
def test_secret_values_are_private_and_go_by_name(make, monkeypatch, word):
    monkeypatch.setenv("HF_TOKEN", "geheim")
    made = make(env=[word], set_key=["compose.madrun=installed"])
    assert made.private["HF_TOKEN"] == "geheim"
    assert "geheim" not in repr(made)
    assert made.launch.secrets == ("HF_TOKEN", "MADRUN_SECRET")
    assert made.launch.words[4:6] == ("--env", "HF_TOKEN")
    folder = made.folder()
    assert [path.name for path in folder.path.iterdir() if path.is_file() and "geheim" in path.read_text()] == [
        "private.env"
    ]


def test_a_variable_of_this_host_goes_by_name_and_a_given_value_as_it_is(make, monkeypatch):
    monkeypatch.setenv("MINE", "a b")
    made = make(env=["MINE", "THEIRS=$c d"])
    assert made.launch.words[2:6] == ("--env", "MINE", "--env", "THEIRS=$c d")
    assert made.private["MINE"] == "a b"


def test_a_variable_that_this_host_lacks_is_an_error(make, monkeypatch):
    monkeypatch.delenv("LACKING", raising=False)
    with pytest.raises(ContextError, match="--env: LACKING is not set on this host"):
        make(env=["LACKING"])


def test_the_nodes_share_a_secret_which_is_the_users_where_there_is_one(make, monkeypatch):
    assert make().private["MADRUN_SECRET"] != make().private["MADRUN_SECRET"]
    monkeypatch.setenv("MADRUN_SECRET", "ours")
    assert make().private["MADRUN_SECRET"] == "ours"


def test_a_secret_that_is_no_text_is_an_error(make, monkeypatch):
    monkeypatch.setenv("MADRUN_SECRET", "\udcff")
    with pytest.raises(UsageError, match="MADRUN_SECRET: found bytes that are no UTF-8; allowed: a text"):
        make()


def test_inside_of_an_allocation_it_is_asked_for_the_number_of_nodes(make, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_JOB_NUM_NODES", "3")
    assert make(on="slurm", launch={}).launch.nnodes == 3
    with pytest.raises(ContextError, match="slurm.nodes: found 4 inside job 7, which has 3"):
        make(on="slurm", launch={"nodes": 4})


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ({"MASTER_PORT": 65535}, "found 65535, and CONTROL_PORT is MASTER_PORT"),
        ({"CONTROL_PORT": 7, "MASTER_PORT": 7}, "found 7, which is"),
    ],
)
def test_ports_that_cannot_be_are_an_error_before_any_node_starts(make, said, found):
    with pytest.raises(ContextError, match=found):
        make(additional_context=str({"multi_node_args": said}))


@pytest.mark.parametrize(
    ("context", "nodes", "found"),
    [({}, 3, 3), ({"NNODES": 4}, None, 4), ({"NNODES": 4}, 4, 4), ({"NNODES": 1}, None, 1), ({}, None, 1)],
)
def test_the_number_of_nodes_is_said_by_flag_or_context(make, context, nodes, found):
    made = make(additional_context=str({"multi_node_args": context}), launch={"nodes": nodes})
    assert made.launch.nnodes == found


def test_two_different_numbers_of_nodes_are_an_error(make):
    with pytest.raises(ContextError, match="--nodes: found 2, but multi_node_args.NNODES is 3; leave one out"):
        make(additional_context="{'multi_node_args': {'NNODES': 3}}")


def test_a_plan_that_is_repeated_says_the_number_of_nodes(make, tmp_path, monkeypatch):
    monkeypatch.setattr("madrun.cli.launchplan.check_plan", lambda file, repository: None)
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps({"job": {"card": "one", "nnodes": 3}}))
    assert make(launch={}, plan=str(plan), tags=None).launch.nnodes == 3
    with pytest.raises(ContextError, match="--nodes: found 2, but the plan is of 3; leave --nodes out"):
        make(plan=str(plan), tags=None)


def test_a_rank_beside_a_launch_is_an_error_that_names_where_it_stands(make):
    text = (
        "--additional-context: multi_node_args.NODE_RANK: found 1 beside --on compose, which gives each node its rank"
    )
    with pytest.raises(ContextError) as caught:
        make(additional_context="{'multi_node_args': {'NODE_RANK': 1}}")
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("on", "launch", "said"),
    [
        (
            "slrum",
            {},
            "--on: found 'slrum' (did you mean 'slurm'?), allowed: ssh, slurm, kubernetes, compose, skypilot",
        ),
        ("compose", {"partition": "p"}, "--on compose: found --partition, which mean nothing there; leave them out"),
        ("slurm", {"hosts": "a,b"}, "--on slurm: found --hosts, which mean nothing there; leave them out"),
        ("ssh", {"kube_context": "c", "hosts": "a"}, "--on ssh: found --kube-context, which mean nothing there"),
    ],
)
def test_a_backend_or_a_flag_that_means_nothing_is_an_error(make, on, launch, said):
    with pytest.raises(UsageError) as caught:
        make(on=on, launch=launch)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--nodes", "2"), "found --nodes without --on; allowed with --on ssh, slurm, kubernetes"),
        (("--partition", "p", "--nodes", "2"), "found --nodes, --partition without --on; allowed with --on slurm"),
        (("--hosts", "a,b"), "found --hosts without --on; allowed with --on ssh"),
        (("--hosts", "a", "--qos", "q"), "found --hosts, --qos without --on; allowed with --on ssh, slurm, kubernetes"),
    ],
)
def test_flags_of_launches_without_a_backend_are_an_error_that_names_those_that_take_them(
    write_card, repository, monkeypatch, capsys, words, said
):
    write_card()
    monkeypatch.chdir(repository)
    assert run(["run", "--tags", "one", *words]) == 2
    assert f"{said}\n" in capsys.readouterr().err


def test_a_rendering_without_a_backend_names_the_backends(make):
    with pytest.raises(UsageError, match="--on: is missing; allowed: ssh, slurm, kubernetes, compose, skypilot"):
        make(on=None)


@pytest.mark.parametrize("flag", ["--results", "--to"])
def test_a_folder_that_cannot_be_written_is_told_with_its_flag(make, tmp_path, flag):
    (tmp_path / "launch").write_text("a file")
    (tmp_path / "file").write_text("another")
    made = make()
    if flag == "--results":
        made = replace(
            made, launch=replace(made.launch, results=str(tmp_path), folder=str(tmp_path / "file/launches/x"))
        )
    with pytest.raises(
        UsageError, match=rf"{flag}: {made.launch.folder} cannot be written: .*; name another directory"
    ):
        made.folder()


def test_ports_are_the_users_else_two_below_the_ephemeral_ones(make):
    made = make(additional_context="{'multi_node_args': {'MASTER_PORT': 29600}}").launch
    assert (made.master_port, made.control_port) == (29600, 29601)
    made = make(additional_context="{'multi_node_args': {'MASTER_PORT': 29600, 'CONTROL_PORT': 7}}").launch
    assert (made.master_port, made.control_port) == (29600, 7)
    for _ in range(20):
        made = make().launch
        assert made.master_port % 2 == 0
        assert 20000 <= made.master_port < 30000
        assert made.control_port == made.master_port + 1


def test_a_master_of_the_user_is_kept_and_the_default_is_none(make):
    assert make().launch.master_addr == ""
    assert make(additional_context="{'multi_node_args': {'MASTER_ADDR': '10.0.0.9'}}").launch.master_addr == "10.0.0.9"


def test_what_is_typed_again_is_the_script_that_brings_all_up(make, tmp_path):
    assert json.loads(make().launch.env["MADRUN_COMMAND"]) == ["sh", f"{tmp_path}/launch/up.sh"]


@pytest.mark.slow
def test_the_folder_holds_madrun_where_the_nodes_get_nothing_else(make, tmp_path):
    make().folder()
    program = tmp_path / "launch/madrun/bin/madrun"
    assert os.access(program, os.X_OK)
    with pytest.raises(UsageError, match="launch cannot be written: File exists"):
        make().folder()


def test_keep_alive_beside_a_launch_is_an_error():
    with pytest.raises(UsageError, match="--keep-alive: found beside --on"):
        asked_of(RunOptions(), LaunchOptions(on="ssh"), (RepositoryOptions(), RunFiles(), Show()), (None, 1, True))


def test_repeats_are_the_nodes_own():
    groups = (RepositoryOptions(), RunFiles(), Show())
    assert asked_of(RunOptions(), LaunchOptions(on="ssh"), groups, (None, 3, False)).more == ("--repeat", "3")
    assert asked_of(RunOptions(), LaunchOptions(on="ssh"), groups, (None, 1, False)).more == ()


def test_files_that_node_0_writes_are_meant_from_here(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    files = RunFiles(output="a.csv", summary_output="~/b.json")
    words = node_words(RunOptions(), (RepositoryOptions(), files, Show()), (), {})
    assert words == ["--output", f"{tmp_path}/a.csv", "--summary-output", str(Path.home() / "b.json")]


KEYS = st.lists(st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True), min_size=1, max_size=3)


@given(keys=KEYS, value=st.from_regex(r"[a-zA-Z][a-zA-Z0-9_/-]{0,10}", fullmatch=True).map(lambda text: f"x{text}"))
def test_a_key_and_a_word_are_a_map_as_deep_as_the_key(keys, value):
    found = set_values(f"{'.'.join(keys)}={value}", "--set")
    for key in keys:
        assert list(found) == [key]
        found = found[key]
    assert found == value


@given(text=st.text(max_size=30))
def test_any_word_of_set_is_a_map_or_an_error_that_names_it(text):
    try:
        found = set_values(text, "--set")
    except ContextError as error:
        assert "--set: found " in str(error)
    else:
        assert isinstance(found, dict)


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("a=1", 1),
        ("a=2h", "2h"),
        ("a=", ""),
        ("a=null", "null"),
        ("a=b=c", "b=c"),
        ("a=[1, x]", [1, "x"]),
        ("a={b: 2}", {"b": 2}),
        ("a=1:30:00", "1:30:00"),
        ("a=2026-11-21", "2026-11-21"),
        ("a=true", True),
        ("a='1'", "1"),
        ("a=1.5", 1.5),
    ],
)
def test_a_value_of_set_is_read_as_yaml_but_for_times_and_dates(word, value):
    found = set_values(word, "--set")["a"]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize("text", ["0123", "1_000", "0x10", "0b1", "1:30.5", "+5"])
def test_a_number_in_an_odd_notation_stays_the_text_that_was_typed(text):
    assert set_values(f"slurm.account={text}", "--set") == {"slurm": {"account": text}}


@pytest.mark.parametrize("word", ["a", "=1", "a..b=1", ".a=1", "a.=1", ""])
def test_a_word_without_a_key_is_an_error(word):
    with pytest.raises(ContextError, match="allowed: KEY=VALUE, where KEY is as madrun explain prints it"):
        set_values(word, "--set")


def test_a_value_that_is_no_yaml_is_an_error():
    for text in ("[1", "2026-13-45", "!!python/none 1"):
        with pytest.raises(ContextError, match="whose value is no YAML"):
            set_values(f"a={text}", "--set")


@pytest.fixture
def typed(make, capsys):
    """Types a command in the repository of `make`: its exit code, and what it printed."""

    def run_words(*words):
        return run(list(words)), *capsys.readouterr()

    return run_words


COMPOSE = ("--tags", "one", "--on", "compose", "--set", "compose.madrun=installed")


def test_render_writes_into_a_new_or_an_empty_folder_and_names_each_file(typed, repository):
    (repository / "empty").mkdir()
    for folder in ("new", "empty"):
        code, out, err = typed("render", *COMPOSE, "--to", folder)
        assert (code, err) == (0, f"madrun: nothing was started; to start it: sh {folder}/up.sh\n")
        names = ("compose.yaml", "launch.json", "node.sh", "private.env", "up.sh")
        assert out.splitlines() == [f"{folder}/{name}" for name in names]
    assert not (repository / "results").exists()
    code, _, err = typed("render", *COMPOSE, "--to", "new")
    assert code == 2
    assert err == "madrun: error: --to: found new, which is no empty folder; allowed: a new or an empty one\n"


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_to_be_typed_after_render_names_a_file_that_was_written(typed, repository, backend):
    words = ("--tags", "one", "--on", backend, "--nodes", "1", "--set", f"{backend}.madrun=installed")
    code, out, err = typed("render", *words, *(("--hosts", "a") if backend == "ssh" else ()), "--to", "new")
    assert code == 0, err
    how = err.splitlines()[-1].partition("to start it: ")[2]
    assert any(name in how for name in out.splitlines()), how


def test_what_is_wrong_is_told_before_anything_is_written(typed, repository):
    code, _, err = typed("render", *COMPOSE, "--set", "compose.gpus_per_node=2", "--to", "new")
    assert code == 4
    assert "compose.gpus_per_node: found 2, but the image is for cpu" in err
    assert not (repository / "new").exists()


def test_a_form_that_is_only_rendered_is_not_run(typed):
    code, _, err = typed("run", *COMPOSE)
    assert code == 2
    assert "madrun render writes the files of compose and skypilot for you to start" in err


def test_a_dry_run_prints_every_file_and_writes_none(typed, repository):
    code, out, _ = typed("run", "--tags", "one", "--on", "slurm", "--nodes", "2", "--dry-run")
    assert code == 0
    assert {"==> node.sh <==", "==> job.sh <=="} <= set(out.splitlines())
    assert "#SBATCH --nodes=2" in out
    assert not (repository / "results").exists()
