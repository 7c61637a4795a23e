"""What starts a node, as its shell reads it and as a user would type it."""

import os
import shlex
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.backends.ssh.backend import render
from madrun.backends.ssh.settings import read
from madrun.backends.ssh.start import check_words, node_command, starts
from madrun.errors import UsageError
from madrun.spec.launch import LEASE, PROGRAM, RESULTS, SCRIPT, NodeStart

WORDS = st.text(st.characters(exclude_characters="\0\n", exclude_categories=["Cs"]), min_size=1, max_size=20)


def test_ranks_follow_the_order_of_the_hosts():
    assert starts(["b", "a"], "10.0.0.1") == [NodeStart(0, "b", "10.0.0.1"), NodeStart(1, "a", "10.0.0.1")]


@given(WORDS, WORDS, WORDS)
def test_every_shell_of_posix_reads_the_very_words(folder, master, program):
    words = shlex.split(node_command(NodeStart(7, "h", master), folder, {PROGRAM: program, RESULTS: ""}))
    said = dict(word.split("=", 1) for word in words[2:-2])
    node = {"MADRUN_NODE_RANK": "7", "MADRUN_MASTER_ADDR": master, PROGRAM: program, LEASE: "stdin"}
    assert (words[:2], said, words[-2:]) == (["exec", "env"], node, ["sh", f"{folder}/{SCRIPT}"])


def test_the_script_for_those_who_start_by_hand(launch, golden):
    settings, nnodes = read({"hosts": "me@n[01-03]"}, None)
    golden("three-hosts", render(launch(nnodes=nnodes), settings))


@pytest.mark.slow
def test_the_script_by_hand_keeps_the_leases_and_ends_with_the_code_of_node_0(launch, tmp_path):
    """A stand-in for ssh runs what it is given, here."""
    (tmp_path / "bin").mkdir()
    ssh = tmp_path / "bin/ssh"
    ssh.write_text('#!/bin/sh\nshift 2\nexec sh -c "$1"\n')
    ssh.chmod(0o755)
    made = launch(folder=str(tmp_path / "my launch"))
    (tmp_path / "my launch").mkdir()
    node = 'read a && read b && echo "$MADRUN_NODE_RANK at $MADRUN_MASTER_ADDR by $MADRUN_LEASE"\n'
    (tmp_path / "my launch" / SCRIPT).write_text(f"{node}exit $((5 - MADRUN_NODE_RANK))\n")
    settings, _ = read({"hosts": "a,b", "master_addr": "10.0.0.9"}, None)
    text = render(made, settings)["ssh.sh"].replace("sleep 2", "sleep 0.05")
    env = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}
    done = subprocess.run(["sh", "-c", text], env=env, capture_output=True, text=True, timeout=30)
    assert sorted(done.stdout.splitlines()) == ["0 at 10.0.0.9 by stdin", "1 at 10.0.0.9 by stdin"]
    assert done.returncode == 5, done.stderr


def test_what_node_0_would_leave_on_its_own_disk_is_refused(launch):
    words = ("--tags", "one", "--summary-output", "/home/me/s.json", "--mad-files")
    check_words(launch(words=words), shared=True)
    check_words(launch(), shared=False)
    with pytest.raises(UsageError, match="--summary-output, --mad-files: found with a node 0 that does"):
        check_words(launch(words=words), shared=False)
