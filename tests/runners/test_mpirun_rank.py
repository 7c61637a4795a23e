"""madrun-rank tells a rank in torch's words who it is, whichever MPI started it."""

import shutil
import subprocess
from pathlib import Path

import pytest

import madrun.runners

HERE = Path(madrun.runners.__file__).parent
OPEN_MPI = {
    "OMPI_COMM_WORLD_RANK": "3",
    "OMPI_COMM_WORLD_SIZE": "4",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
}
HYDRA = {"PMI_RANK": "3", "PMI_SIZE": "4", "MPI_LOCALRANKID": "1", "MPI_LOCALNRANKS": "2"}
NODE = {"NNODES": "2", "NPROC_PER_NODE": "2", "NODE_RANK": "1", "PATH": "/usr/bin:/bin"}
SHOW = 'echo "$RANK $LOCAL_RANK $WORLD_SIZE $LOCAL_WORLD_SIZE $GROUP_RANK"'


@pytest.fixture
def box(tmp_path):
    made = tmp_path / "box"
    for folder in ("bin", "ranks", "work"):
        (made / folder).mkdir(parents=True)
    shutil.copy(HERE / "mpi-rank.sh", made / "bin/madrun-rank")
    shutil.copy(HERE / "rank.py", made / "rank.py")
    return made


@pytest.fixture
def rank(box):
    """Runs one rank to its end, below a shell whose environment is that of the MPI daemon."""

    def run(*words, given, daemon=None):
        env = {**NODE, "MADRUN_BOX": str(box), **given}
        text = ["env", "-i", *(f"{name}={value}" for name, value in env.items()), "bash", str(box / "bin/madrun-rank")]
        # the shell stays, so that it is the parent
        return subprocess.run(
            ["bash", "-c", '"$@"; exit $?', "daemon", *text, *words], env=daemon or env, capture_output=True, text=True
        )

    return run


@pytest.mark.parametrize("given", [OPEN_MPI, HYDRA], ids=["Open MPI", "Hydra"])
def test_the_words_of_torch_come_from_those_of_mpi(rank, box, given):
    done = rank("bash", "-c", SHOW, given=given)
    assert (done.stdout, done.returncode) == ("3 1 4 2 1\n", 0)
    assert (box / "ranks/rank-3.log").read_text() == done.stdout


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"OMPI_COMM_WORLD_SIZE": "2"}, "mpirun made 2 ranks, planned are 2 x 2"),
        ({"OMPI_COMM_WORLD_RANK": "0"}, "mpirun put rank 0 on node 1"),
        ({"OMPI_COMM_WORLD_LOCAL_SIZE": "4"}, "one of 4 there; planned are 2 a node"),
        ({"OMPI_COMM_WORLD_RANK": ""}, "started by no MPI that is known"),
    ],
)
def test_ranks_that_are_not_those_of_the_plan_do_not_start(rank, change, words):
    done = rank("bash", "-c", SHOW, given=OPEN_MPI | change)
    assert (done.returncode, done.stdout) == (96, "")
    assert words in done.stderr


def test_variables_of_the_user_reach_the_rank_whatever_their_names(rank):
    given = {"size": "large", "rank": "first", "name": "llama", "box": "a", "python": "b", "own": "c", "program": "d"}
    done = rank("bash", "-c", 'echo "$size $rank $name $box $python $own $program"', given=OPEN_MPI | given)
    assert done.stdout == "large first llama a b c d\n"


def test_a_python_file_is_started_by_python_and_other_programs_as_they_are(rank, tmp_path):
    (tmp_path / "main.py").write_text("import os, sys; print(os.environ['RANK'], sys.argv[1:])")
    assert rank(str(tmp_path / "main.py"), "a b", given=OPEN_MPI).stdout == "3 ['a b']\n"
    assert rank("printf", "%s|", "a b", "c", given=OPEN_MPI).stdout == "a b|c|"
    missing = rank("no-such-program", given=OPEN_MPI)
    assert (missing.returncode, missing.stderr) == (96, "madrun-rank: no-such-program: no such program on PATH\n")


def test_a_rank_that_fails_under_hydra_ends_by_a_signal_for_only_that_ends_the_others(rank, box):
    """Hydra waits for the others where a rank that has never called MPI ends with a code alone."""
    assert rank("bash", "-c", "exit 7", given=OPEN_MPI).returncode == 7
    assert rank("bash", "-c", "exit 7", given=HYDRA).returncode == 128 + 15
    codes = [line.split()[1] for line in (box / "ranks/rank-3.end").read_text().splitlines()]
    assert codes == ["7", "7"]


def test_where_mpi_hands_out_node_zeros_variables_the_ranks_still_get_their_nodes_own(rank):
    mine = {**NODE, "NCCL_SOCKET_IFNAME": "=eth1", "MADRUN_HOLD": "1"}
    handed = HYDRA | {"NODE_RANK": "0", "NCCL_SOCKET_IFNAME": "=eth0", "MADRUN_HOLD": "1", "OF_THE_RANK": "x"}
    done = rank("bash", "-c", f'{SHOW}; echo "$NODE_RANK $NCCL_SOCKET_IFNAME $OF_THE_RANK"', given=handed, daemon=mine)
    assert (done.stdout, done.stderr) == ("3 1 4 2 1\n1 =eth1 x\n", "")


def test_on_a_host_of_its_own_files_the_rank_works_in_its_own_box(rank, box):
    given = OPEN_MPI | {"MADRUN_HEAD_BOX": "/far/node-0/box", "MADRUN_DIRECTORY": str(box / "work")}
    done = rank("bash", "-c", 'pwd; echo "$0"', "/far/node-0/box/work/a", given=given)
    assert done.stdout == f"{box}/work\n{box}/work/a\n"


def test_the_console_of_the_node_gets_what_a_rank_there_prints(rank, tmp_path):
    console = tmp_path / "console"
    console.touch()
    done = rank("bash", "-c", SHOW, given=OPEN_MPI | {"MADRUN_CONSOLE": str(console)})
    assert (done.stdout, console.read_text()) == ("", "3 1 4 2 1\n")
