"""The command: what is typed wrongly, what is a finding, and how it is shown."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from madrun.backends.ssh.connection import Reply
from madrun.cli import app, doctornodes
from madrun.cli.doctortable import tables
from madrun.cli.options import RunOptions
from madrun.doctor import remote
from madrun.doctor.report import Examination, NodeReport, document
from madrun.errors import ContextError
from madrun.node.task import Interrupt
from madrun.probe.host import facts as bare_facts
from madrun.spec.codec import to_json
from madrun.spec.finding import Finding

pytestmark = pytest.mark.slow

WELL = Finding(name="reach", state="PASS", text="2 other nodes")
SMALL = Finding(
    name="shm inside", state="FAIL", text="16 MiB", advice="set shm_size", source="https://docs.nvidia.com/x"
)
DIM = Finding(name="PCI ACS", state="UNKNOWN", text="only root may read it")


def node(rank, *findings):
    return NodeReport(rank=rank, hostname=f"n{rank}", findings=findings)


def whole(*nodes, together=()):
    return Examination(card="one", madrun="1", nodes=nodes, together=together)


def test_a_table_says_what_to_do_below_what_is_not_well_and_counts_at_the_end():
    lines = tables(whole(node(0, WELL), node(1, WELL, SMALL, DIM)))
    at = lines.index("node 1 (n1)")
    assert lines[at + 1].split() == ["NAME", "STATE", "FOUND"]
    assert lines[at + 2].split(maxsplit=2) == ["reach", "PASS", "2 other nodes"]
    assert [line.strip() for line in lines[at + 4 : at + 6]] == [
        "do: set shm_size",
        "source: https://docs.nvidia.com/x",
    ]
    assert lines[-2] == "node 1 (n1): 1 FAIL, 1 UNKNOWN, 1 PASS"
    assert (
        lines[-1]
        == "overall: FAIL: 1 FAIL, 1 UNKNOWN, 2 PASS; failed: shm inside on node 1; not known: PCI ACS on node 1"
    )
    assert all(line == line.rstrip() for line in lines)


def test_brief_tables_count_what_is_well_and_show_the_rest():
    lines = tables(whole(node(0, WELL, DIM)), brief=True)
    assert "  1 PASS" in lines
    assert not [line for line in lines if "2 other nodes" in line]
    assert [line for line in lines if "PCI ACS  UNKNOWN  only root" in line]


def test_the_state_has_its_colour_on_a_terminal_and_columns_stay_where_they_are():
    plain, coloured = (tables(whole(node(0, WELL, SMALL)), coloured=on) for on in (False, True))
    assert [line for line in coloured if "\x1b[31mFAIL   \x1b[0m" in line]
    for escape in ("\x1b[31m", "\x1b[32m", "\x1b[0m"):
        coloured = [line.replace(escape, "") for line in coloured]
    assert coloured == plain


def test_long_and_broken_lines_stay_beside_their_column_and_addresses_whole():
    address = "https://docs.example.org/" + "x" * 150
    long = Finding(name="image", state="FAIL", text="word " * 60 + "\nlast line", advice="do it", source=address)
    lines = tables(whole(node(0, long)))
    column = lines[1].index("FOUND")
    assert [line for line in lines[3:8] if line.strip() and line[:column].strip()] == []
    assert [line for line in lines if address in line]
    assert [line for line in lines if line.strip() == "last line"]


@pytest.mark.parametrize("columns", [80, 132, 200, 20])
def test_lines_fit_the_terminal_down_to_a_width_that_can_be_read(columns):
    long = Finding(name="image", state="FAIL", text="word " * 60, advice="do it " * 60, source="https://docs.x.org/y")
    lines = tables(whole(node(0, long)), columns=columns)
    assert max(map(len, lines[:-3])) <= max(columns, 62)
    assert max(map(len, lines[:-3])) > min(columns, 62) - 6


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--tags", "nosuch"], 2, "nosuch"),
        (["--tags", "one", "two"], 2, "found 2 cards (one, two); allowed: one"),
        (["--tags", "one", "-c", "{'a"], 4, "--additional-context"),
        (["--tags", "one", "-c", "{'multi_node_args': {'NNODES': 'two'}}"], 4, "NNODES"),
        (["--tags", "one", "-c", "{'multi_node_args': {'NNODES': 2, 'NODE_RANK': 2}}"], 4, "NODE_RANK"),
        (["--tags", "one", "--join-timeout", "soon"], 2, "--join-timeout"),
        (["--nodes", ""], 2, "--nodes"),
        (["--nodes", "n0,n0"], 2, "each host once"),
        (["--nodes", "n[02-1]"], 2, "ends of the same width"),
        (["--nodes", "-oProxyCommand=x"], 2, "--nodes"),
    ],
)
def test_what_is_typed_wrongly_ends_the_command_before_anything_is_looked_at(
    monkeypatch, capsys, repository, write_card, words, code, said
):
    for name in ("one", "two"):
        write_card(name)
    monkeypatch.chdir(repository)
    monkeypatch.setattr("madrun.cli.doctor.catch_signals", Interrupt)
    monkeypatch.setattr("madrun.cli.doctorplan.look", lambda *_: (bare_facts(None, "not looked for"), None))
    assert app.run(["doctor", *words]) == code
    out, err = capsys.readouterr()
    assert said in err
    assert out == ""
    assert [path.name for path in repository.iterdir()] == ["models"]


def test_the_hosts_may_be_ranges_and_are_reached_as_the_context_says(monkeypatch, repository, write_card):
    write_card("one")
    (repository / "madrun-site.yaml").write_text("ssh: {fanout: 8, hosts: 'others[1-9]'}\n")
    monkeypatch.chdir(repository)
    options = RunOptions(set_key=["ssh.options=[Port=2222]"])
    found = doctornodes._settings(options, "n[09-10],me@m")
    assert (found.names, found.fanout, found.options) == (("n09", "n10", "me@m"), 8, ("Port=2222",))
    assert "--set" in doctornodes._words(options, "{}", False)
    (repository / "hosts").write_text("a slots=8\nb slots=8\n")
    assert doctornodes._settings(options, "hosts").names == ("a", "b")


@pytest.mark.slow
def test_what_would_stop_a_run_is_a_finding_and_the_rest_is_looked_at(madrun, write_card, repository):
    write_card("one", "data: [nowhere]\n")
    multi = {"multi_node_args": {"NNODES": 2, "NODE_RANK": 0, "MASTER_ADDR": "no-such-host.invalid"}, "memlok": 1}
    done = madrun("doctor", "--tags", "one", "--runtime", "process", "--json", "-c", str(multi), "--join-timeout", "1s")
    assert done.returncode == 3, done.stderr
    found = json.loads(done.stdout)
    states = {finding["name"]: finding["state"] for finding in found["nodes"][0]["findings"]}
    assert (states["MASTER_ADDR"], states["nodes"], states["context"]) == ("FAIL", "FAIL", "WARN")
    assert states["open files inside"] in ("PASS", "WARN")
    assert found["card"] == "one"
    assert not (repository / "results").exists()


@pytest.mark.slow
def test_without_tags_the_sanity_card_stands_for_the_image(madrun, write_card):
    write_card("other")
    done = madrun("doctor", "--runtime", "process", "--json")
    assert json.loads(done.stdout)["card"] == "sanity"


@pytest.mark.parametrize(
    ("means", "address"), [("10.0.0.4", "10.0.0.4"), ("127.0.1.1", "n0"), (None, "n0"), ("::1", "n0")]
)
def test_a_first_host_whose_name_means_loopback_here_is_named_and_not_numbered(means, address, monkeypatch):
    def resolve(name):
        if means is None:
            raise ContextError("no such name")
        return means

    monkeypatch.setattr(doctornodes.network, "resolve", resolve)
    monkeypatch.setattr(doctornodes, "host_behind", lambda host: host.rpartition("@")[2])
    assert doctornodes._address("root@n0") == address


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_loopback_that_is_asked_for_is_taken(host, monkeypatch):
    monkeypatch.setattr(doctornodes, "host_behind", lambda host: host)
    assert doctornodes._address(host) in ("127.0.0.1", "::1")


def reply(*nodes, together=(), code=0, err=""):
    out = to_json(document(whole(*nodes, together=together))) if nodes else ""
    return Reply(host="h", code=code, out=out.encode(), err=err.encode())


def merged(wrong, replies):
    return doctornodes.merged([f"h{rank}" for rank in range(len(wrong))], wrong, replies, "one")


def test_node_0_speaks_for_all_that_it_heard_of():
    found = merged([None, None], {0: reply(node(0, WELL), node(1, SMALL), together=(WELL,)), 1: reply(node(1, WELL))})
    assert found.nodes == (node(0, WELL), node(1, SMALL))
    assert found.together == (WELL,)


def test_a_node_that_node_0_did_not_hear_of_speaks_for_itself():
    assert merged([None, None], {0: reply(node(0, WELL)), 1: reply(node(1, SMALL))}).nodes[1] == node(1, SMALL)


def test_a_host_that_gave_no_answer_is_a_fail_of_that_host():
    refused = Finding(name="ssh", state="FAIL", text="Permission denied", advice="a key")
    answers = {1: reply(code=2, err="Error: No such command 'doctor'.\n")}
    found = merged([refused, None], answers)
    assert found.nodes[0] == NodeReport(rank=0, hostname="h0", findings=(refused,))
    (other,) = found.nodes[1].findings
    assert (other.name, other.state) == ("madrun", "FAIL")
    assert "No such command" in other.text
    assert [finding.state for finding in found.together] == ["UNKNOWN"]
    assert found.exit_code == 3


@pytest.mark.parametrize("out", ["", "{", "[]", "{}", '{"nodes": 1}', '{"nodes": [{"rank": 0, "hostname": 5}]}'])
def test_an_answer_that_is_none_is_never_taken_for_a_healthy_node(out):
    assert merged([None], {0: Reply(host="h", code=0, out=out.encode())}).exit_code == 3


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["rank", "hostname", "findings", "name", "state", "text"]), inner, max_size=4)
    ),
)


@settings(max_examples=40)
@given(JSON, JSON)
def test_no_answer_of_a_host_breaks_the_reading(nodes, together):
    out = json.dumps({"nodes": nodes, "together": together})
    replies = {rank: Reply(host="h", code=code, out=out.encode()) for rank, code in enumerate((0, 3))}
    for report in merged([None, None], replies).nodes:
        assert report.rank in (0, 1)


@pytest.mark.parametrize(
    ("code", "name", "advice"), [(255, "ssh", "BatchMode"), (127, "madrun", "install"), (1, "madrun", "type it")]
)
def test_why_a_host_gave_no_answer_is_told_with_what_to_do(code, name, advice):
    found = remote.unanswered(Reply(host="h", code=code, err=b"\nlast words\n"))
    assert (found.name, found.state, advice in found.advice) == (name, "FAIL", True)
    assert "last words" in found.text
