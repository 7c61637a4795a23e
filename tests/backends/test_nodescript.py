"""The script of a node, run by real shells: what stands in a launch reaches madrun as it is."""

import shutil
import subprocess
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from madrun.backends.launchfolder import LaunchFolder
from madrun.backends.nodescript import node_script, private_text
from madrun.spec.launch import LAUNCH, PRIVATE, SCRIPT

SHELLS = ("dash", "bash")
NASTY = "a b'c\"d$HOME`x`\\e\nf*g;h&i|j#k~l!m}n{o"
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
NAMES = st.from_regex(r"[A-Z][A-Z0-9_]{0,8}", fullmatch=True).map(lambda name: f"X_{name}")
FOLDERS = count()


@pytest.fixture
def made(launch, tmp_path):
    """A launch in this test's folder, whose repository exists."""

    def make(**changes):
        home = tmp_path / f"l{next(FOLDERS)}"
        (tmp_path / "repo").mkdir(exist_ok=True)
        values = {"folder": str(home), "repository": str(tmp_path / "repo"), "results": str(tmp_path / "results")}
        return launch(**(values | changes))

    return make


@pytest.mark.slow
@pytest.mark.parametrize("shell", SHELLS)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.lists(TEXT, max_size=4), env=st.dictionaries(NAMES, TEXT, max_size=3), secret=TEXT)
def test_words_and_values_reach_madrun_as_they_are(made, start_node, shell, words, env, secret):
    one = made(words=tuple(words), env=env, files={}, given={})
    seen = start_node(one, {"X_TOKEN": secret}, shell)
    assert seen["words"] == ["run", *words, "--results", one.results]
    assert {name: seen["env"][name] for name in env} == env
    assert seen["env"]["X_TOKEN"] == secret


@pytest.mark.parametrize("shell", SHELLS)
def test_paths_may_hold_what_a_shell_takes_for_its_own(made, start_node, tmp_path, shell):
    home = tmp_path / NASTY
    home.mkdir()
    folder = tmp_path / f"launch {NASTY}"
    one = made(folder=str(folder), repository=str(home), results=str(home / "r"), given={"--site": "site.yaml"})
    seen = start_node(one, shell=shell)
    assert seen["cwd"] == str(home)
    assert seen["words"][-4:] == ["--site", str(folder / "site.yaml"), "--results", str(home / "r")]


@pytest.mark.parametrize(
    ("env", "rank"),
    [
        ({}, "0"),
        ({"SKYPILOT_NODE_RANK": "3"}, "3"),
        ({"JOB_COMPLETION_INDEX": "2", "SKYPILOT_NODE_RANK": "3"}, "2"),
        ({"SLURM_NODEID": "1", "JOB_COMPLETION_INDEX": "2"}, "1"),
        ({"MADRUN_NODE_RANK": "5", "SLURM_NODEID": "1"}, "5"),
    ],
)
def test_the_rank_is_what_the_backend_says_else_its_scheduler(made, start_node, env, rank):
    seen = start_node(made(), **env)["env"]
    assert seen["MADRUN_NODE_RANK"] == rank


def test_a_node_is_told_its_launch_its_size_and_its_ports(made, start_node):
    seen = start_node(made(backend="slurm", nnodes=7), MADRUN_MASTER_ADDR="10.0.0.1")["env"]
    told = {name: value for name, value in seen.items() if name.startswith("MADRUN_") and name != "MADRUN_PROGRAM"}
    assert told == {
        LAUNCH: "slurm:20261121T000000Z-one-a1b2c3",
        "MADRUN_NNODES": "7",
        "MADRUN_NODE_RANK": "0",
        "MADRUN_MASTER_ADDR": "10.0.0.1",
        "MADRUN_MASTER_PORT": "20468",
        "MADRUN_CONTROL_PORT": "20469",
        "MADRUN_COMMAND": '["madrun", "run"]',
    }


def test_a_node_may_have_its_repository_and_results_elsewhere(made, start_node, tmp_path):
    place = tmp_path / "it's elsewhere"
    place.mkdir()
    seen = start_node(made(), MADRUN_REPOSITORY=str(place), MADRUN_RESULTS="/r $1")
    assert seen["cwd"] == str(place)
    assert seen["words"][-2:] == ["--results", "/r $1"]


def test_private_values_stand_in_a_file_of_the_owner_alone(made, tmp_path):
    one = made()
    LaunchFolder.create(one, {}, {"HF_TOKEN": "geheim"})
    folder = tmp_path / one.folder
    assert (folder / PRIVATE).stat().st_mode & 0o777 == 0o600
    holders = [path.name for path in folder.iterdir() if "geheim" in path.read_text()]
    assert holders == [PRIVATE]


def test_without_the_private_file_a_node_starts_all_the_same(made, start_node, tmp_path):
    one = made()
    LaunchFolder.create(one, {}, {"A": "b"}).forget_private()
    assert "A" not in start_node(one)["env"]


def test_the_exit_code_is_that_of_madrun(made, start_node):
    start_node(made(), code=3)


def test_modules_are_loaded_before_madrun_starts(made, start_node, tmp_path):
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "module").write_text('#!/bin/sh\necho "$@" >"$0.asked"\n')
    (tools / "module").chmod(0o755)
    path = f"{tools}:/usr/bin:/bin"
    assert start_node(made(modules=("rocm/6.2", "it's one")), PATH=path)["words"][0] == "run"
    assert (tools / "module.asked").read_text() == "load rocm/6.2 it's one\n"
    (tools / "module").write_text("#!/bin/sh\nexit 1\n")
    told = start_node(made(modules=("rocm/6.2",)), code=2, PATH=path)
    assert "madrun: error: module load rocm/6.2 failed on " in told


def test_madrun_is_the_one_of_the_head_where_the_node_has_it_else_that_on_path(made, start_node, recorder, tmp_path):
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nif [ "$1" = -c ]; then exit "$NO_MADRUN"; fi\nexec {recorder} "$@"\n')
    python.chmod(0o755)
    (tmp_path / "madrun").symlink_to(recorder)
    path = f"{tmp_path}:/usr/bin:/bin"
    seen = start_node(made(python=str(python)), MADRUN_PROGRAM=None, NO_MADRUN="0", PATH=path)
    assert seen["words"][:3] == ["-m", "madrun", "run"]
    seen = start_node(made(python=str(python)), MADRUN_PROGRAM=None, NO_MADRUN="1", PATH=path)
    assert seen["words"][0] == "run"
    seen = start_node(made(python=str(tmp_path / "none")), MADRUN_PROGRAM=None, PATH=path)
    assert seen["words"][0] == "run"


@pytest.mark.slow
@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_shellcheck_finds_nothing(launch, tmp_path, shell):
    if shutil.which("shellcheck") is None:
        pytest.skip("needs shellcheck")
    nasty = launch(modules=(NASTY,), repository=NASTY, results=NASTY, words=(NASTY,))
    # A `$` between single quotes is only worth a remark.
    for one, severity in ((launch(modules=("rocm/6.2",)), "style"), (nasty, "warning")):
        (tmp_path / SCRIPT).write_text(node_script(one))
        words = ["shellcheck", "-s", shell, "-S", severity, str(tmp_path / SCRIPT)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
        assert done.stdout == ""


@given(values=st.dictionaries(NAMES, TEXT, max_size=3))
def test_the_private_file_has_one_statement_for_each_value(values):
    import shlex

    words = shlex.split(private_text(values))
    assert words == [word for name, value in values.items() for word in ("export", f"{name}={value}")]
