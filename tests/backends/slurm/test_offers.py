"""What is allowed in place of what was refused, as programs of SLURM (22.05) were recorded to tell it."""

import os
import pwd

import pytest

from madrun.backends.slurm.offers import POLICY, allowed

ME = pwd.getpwuid(os.getuid()).pw_name
RESERVED = (
    "ReservationName=theirs StartTime=2026-11-21T23:45:50 EndTime=2026-11-22T00:45:50 Duration=01:00:00 Nodes=n1 "
    "NodeCnt=1 CoreCnt=4 Features=(null) PartitionName=main Flags= TRES=cpu=4 Users={users} Groups=(null) "
    "Accounts={accounts} Licenses=(null) State=ACTIVE BurstBuffer=(null) Watts=n/a MaxStartDelay=(null)"
)


@pytest.mark.parametrize(
    ("key", "given", "program", "printed", "said"),
    [
        ("partition", {"partition": "x"}, "sinfo", "main\nmain\nbig\n", "found x, allowed: main, big"),
        ("account", {"account": "x"}, "sacctmgr", "b\na\n", f"found x, allowed for {ME}: b, a"),
        ("account", {}, "sacctmgr", "b\n", f"found none, allowed for {ME}: b"),
        ("account", {"account": "x"}, "sacctmgr", "", f"found x, allowed for {ME}: none"),
        ("account", {"account": "b"}, "sacctmgr", "b\n", f"{ME} has the account b, but not for this partition"),
        (
            "qos",
            {"qos": "x"},
            "sacctmgr",
            "normal,small\nsmall,big\n",
            f"found x, allowed for {ME}: normal, small, big",
        ),
        ("constraint", {"constraint": "x"}, "sinfo", "(null)\na,b\nb,c\n", "found x, allowed: a, b, c"),
        ("constraint", {"constraint": "x"}, "sinfo", "(null)\n", "found x, allowed: none"),
        ("constraint", {}, "sinfo", "(null)\n", ""),
        ("constraint", {"gpus-per-node": "9"}, "sinfo", "gpu:8\n", "found 9, allowed on a node: gpu:8"),
        ("gpus_per_node", {"gpus-per-node": "9"}, "sinfo", "gpu:8(S:0-1)\n", "found 9, allowed on a node: gpu:8"),
        (
            "gpus_per_node",
            {"gres": "gpu:9"},
            "sinfo",
            "gpu:a:4(S:0),gpu:b:2(S:1)\n",
            "found gpu:9, allowed on a node: gpu:a:4,gpu:b:2",
        ),
        ("gpus_per_node", {"gres": "gpu:9"}, "sinfo", "(null)\n", "found gpu:9, allowed on a node: none"),
        ("time", {"time": "9"}, "sinfo", "a|2:00\nb|infinite\n", "found 9, allowed by partition: a 2:00, b infinite"),
        ("nodelist", {"exclude": "x"}, "sinfo", "n[1-2]\n", "found --exclude=x, allowed: nodes of n[1-2]"),
        (POLICY, {"qos": "q"}, "sacctmgr", "node=1|2:00||\n", "QOS q allows a job: node=1, a job's time: 2:00"),
        (POLICY, {"qos": "q"}, "sacctmgr", "|||gres/gpu=8\n", "QOS q allows all jobs of a user: gres/gpu=8"),
        (POLICY, {}, "sacctmgr", "node=1|||\n", ""),
        ("mem", {"mem": "9T"}, "sinfo", "main\n", ""),
    ],
)
def test_what_there_is_stands_beside_what_was_found(slurm, key, given, program, printed, said):
    slurm.answers(program, f"printf '%s' '{printed}'")
    assert allowed(key, given) == said


def test_a_reservation_is_named_with_those_it_is_for(slurm):
    lines = [RESERVED.format(users="(null)", accounts="other"), RESERVED.format(users="al,bo", accounts="(null)")]
    (slurm.scene / "reservations").write_text("\n".join(lines))
    said = "found x, allowed: one of yours; there are: theirs (accounts other), theirs (users al,bo)"
    assert allowed("reservation", {"reservation": "x"}) == said
    (slurm.scene / "reservations").write_text("No reservations in the system\n")
    assert allowed("reservation", {"reservation": "x"}) == "found x, allowed: one of yours; there are: none"


def test_the_partition_and_the_account_that_were_given_count(slurm):
    allowed("constraint", {"constraint": "x", "partition": "a,b"})
    allowed("qos", {"qos": "x", "account": "perf"})
    assert slurm.calls[0] == "sinfo --noheader --format=%f --partition=a,b"
    assert slurm.calls[1].endswith(f"where user={ME} account=perf format=qos")


def test_of_very_many_the_first_are_said(slurm):
    slurm.answers("sinfo", "seq 30")
    assert allowed("partition", {}).endswith("19, 20 and 10 more")


@pytest.mark.parametrize(
    "key", ["partition", "account", "qos", "constraint", "time", "nodelist", "reservation", POLICY]
)
def test_a_cluster_that_does_not_tell_is_no_error(slurm, key):
    for program in ("sinfo", "sacctmgr"):
        slurm.answers(program, "echo 'You are not running a supported accounting_storage plugin' >&2; exit 1")
    assert allowed(key, {"qos": "q", "nodelist": "x"}) == ""


def test_a_host_without_the_program_is_no_error(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert allowed("partition", {"partition": "x"}) == ""
