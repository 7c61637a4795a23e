"""HOST_LIST is that of the job, and the entry of this node's rank is this host."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from madrun.errors import ContextError
from madrun.planning.mpihosts import Host, check_hosts, host_list_notes, launch_notes, names_of, own_entry, parse_hosts
from madrun.spec.context import MultiNodeArgs
from madrun.spec.facts import Interface


def args(hosts, **changes):
    return MultiNodeArgs(**({"RUNNER": "mpirun", "HOST_LIST": hosts, "NNODES": 2, "NODE_RANK": 1} | changes))


@pytest.fixture
def beta(make_facts):
    return make_facts(hostname="beta.lab", interfaces=(Interface(name="eth0", addresses=("10.0.0.5", "fd00::5")),))


def test_the_forms_of_an_entry():
    assert parse_hosts("a:8, b.lab:8") == (Host("a", 8), Host("b.lab", 8))
    assert parse_hosts("10.0.0.4,[fd00::5]:2,[fd00::6]") == (Host("10.0.0.4"), Host("fd00::5", 2), Host("fd00::6"))
    assert parse_hosts(" ") == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,,b", "an empty entry is no host"),
        ("a,A:2", "a stands there twice"),
        ("a:0", "slots that are no number from 1 on"),
        ("a:x", "slots that are no number from 1 on"),
        ("a:", "no number of slots behind its colon"),
        ("fd00::5", "an IPv6 address stands in brackets"),
        ("[10.0.0.4]", "no address in brackets"),
        ("[fd00::5", "no address in brackets"),
        ("[fd00::5]8", "no address in brackets"),
        ("-oProxyCommand=x", "is no host"),
        ("a b", "is no host"),
    ],
)
def test_an_entry_that_is_wrong_is_named_with_what_is_allowed(text, words):
    with pytest.raises(ContextError) as caught:
        parse_hosts(text)
    assert words in str(caught.value)
    assert "allowed: one host for each node in the order of NODE_RANK" in str(caught.value)


@given(st.text(alphabet="ab0.:-_[], %") | st.text())
@example("[::1]:1,[::1%eth0]")
def test_any_text_is_hosts_or_an_error_that_says_so(text):
    try:
        hosts = parse_hosts(text)
    except ContextError as error:
        assert str(error).startswith("multi_node_args.HOST_LIST: found ")
        return
    assert len({host.name.lower() for host in hosts}) == len(hosts)
    assert all(host.name and (host.slots is None or host.slots > 0) for host in hosts)


@given(
    st.lists(
        st.tuples(st.from_regex(r"[a-z][a-z0-9-]{0,8}[a-z0-9]", fullmatch=True), st.integers(1, 99)),
        unique_by=lambda pair: pair[0],
    )
)
def test_hosts_are_read_as_they_are_written(pairs):
    assert parse_hosts(",".join(f"{name}:{slots}" for name, slots in pairs)) == tuple(Host(*pair) for pair in pairs)


@pytest.mark.parametrize(
    ("hosts", "resolved"),
    [
        ("alpha:2,beta:2", ()),
        ("alpha,BETA.lab", ()),
        ("alpha,10.0.0.5", ("10.0.0.5",)),
        ("alpha,[fd00::5]:2", ("fd00::5",)),
        ("alpha,other-name", ("10.0.0.5",)),
        ("alpha,localhost", ("127.0.0.1",)),
    ],
)
def test_a_name_or_an_address_of_this_host_is_its_entry(beta, hosts, resolved):
    check_hosts(args(hosts), 2, beta, resolved)


@pytest.mark.parametrize(
    ("hosts", "resolved", "words"),
    [
        ("beta:2,gamma:2", (), "found gamma as the host of NODE_RANK 1, but this host is beta.lab (10.0.0.5, fd00::5)"),
        ("beta,gamma", ("10.0.0.9",), "gamma means 10.0.0.9"),
        ("beta,10.0.0.9", ("10.0.0.9",), "10.0.0.9 is none of these"),
        ("alpha,beta.other", (), "is a name that this host does not know"),
        (
            "alpha:2,beta:4",
            (),
            "found beta with 4 slots, but every node starts 2 ranks (NPROC_PER_NODE); allowed: beta:2",
        ),
        ("alpha:1,beta:2", (), "found alpha with 1 slots"),
        ("alpha,beta,gamma", (), "it names 3 hosts, and NNODES is 2"),
        ("beta", (), "it names 1 host, and NNODES is 2"),
    ],
)
def test_a_stranger_or_a_wrong_count_is_an_error_that_says_what_this_host_is(beta, hosts, resolved, words):
    with pytest.raises(ContextError) as caught:
        check_hosts(args(hosts), 2, beta, resolved)
    assert words in str(caught.value)


def test_one_node_is_its_own_localhost(beta):
    check_hosts(args("localhost:2", NNODES=1, NODE_RANK=0), 2, beta, ("::1", "127.0.0.1"))


def test_who_has_to_be_looked_up_is_the_entry_of_this_rank():
    assert own_entry(args("alpha,beta:2")) == "beta"
    assert (own_entry(args("alpha")), own_entry(args(None))) == ("", "")
    assert names_of(args("alpha,beta:2")) == ("alpha", "beta")


def test_other_runners_take_no_part_in_it_and_say_so(beta):
    given = args("what ever", RUNNER="torchrun")
    check_hosts(given, 2, beta, ())
    assert (names_of(given), own_entry(given)) == ((), "")
    assert host_list_notes(given) == [
        "multi_node_args.HOST_LIST has no effect on RUNNER torchrun: the nodes are those that join at MASTER_ADDR"
    ]
    assert host_list_notes(given, "sglang-disagg") == host_list_notes(args("a,b")) == []
    assert host_list_notes(args(None, RUNNER="torchrun")) == []


def test_a_way_to_the_nodes_that_no_mpirun_takes_is_said():
    assert launch_notes(args(None, RUNNER="accelerate", MPI_LAUNCH="ssh")) == [
        "multi_node_args.MPI_LAUNCH has no effect on RUNNER accelerate, which needs no way to the other nodes"
    ]
    assert launch_notes(args(None, RUNNER="torchrun")) == launch_notes(args(None, MPI_LAUNCH="ssh")) == []
