"""From a word or a file to hosts: every form that is read, and what is said of one that is wrong."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.backends.ssh.hosts import Host, parse_hosts, slots_of
from madrun.errors import ContextError


def names(text, files=None):
    return [host.name for host in parse_hosts(text, (files or {}).get)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a,b", ["a", "b"]),
        (" a , b ", ["a", "b"]),
        ("a,,b,", ["a", "b"]),
        ("root@a,b", ["root@a", "b"]),
        ("node[01-03]", ["node01", "node02", "node03"]),
        ("node[08-11]", ["node08", "node09", "node10", "node11"]),
        ("gpu[1,3-5]x", ["gpu1x", "gpu3x", "gpu4x", "gpu5x"]),
        ("me@n[9-10],m", ["me@n9", "me@n10", "m"]),
        ("r[1-2]n[1-2]", ["r1n1", "r1n2", "r2n1", "r2n2"]),
        ("n[1],fe80::1", ["n1", "fe80::1"]),
        ("a.example.org", ["a.example.org"]),
        (["a", "n[1-2]"], ["a", "n1", "n2"]),
        (("b slots=2",), ["b"]),
    ],
)
def test_hosts_are_listed_in_the_order_in_which_they_are_said(text, found):
    assert names(text) == found


FILE = """
# of the cluster
first slots=8   # the master
n[1-2] slots=8 max_slots=16

mpich:8
"""


def test_a_file_has_a_host_a_line_with_its_processes():
    hosts = parse_hosts("./hosts", {"./hosts": FILE}.get)
    assert hosts == (
        Host(name="first", slots=8, line=3),
        Host(name="n1", slots=8, line=4),
        Host(name="n2", slots=8, line=4),
        Host(name="mpich", slots=8, line=6),
    )
    assert slots_of(hosts) == 8
    assert [str(host) for host in hosts[:2]] == ["first slots=8", "n1 slots=8"]
    assert parse_hosts([str(host) for host in hosts], {}.get) == tuple(Host(name=host.name, slots=8) for host in hosts)


def test_a_file_is_preferred_to_a_host_of_its_name_and_lines_may_stand_in_the_context_itself():
    assert names("cluster", {"cluster": "a\nb\n"}) == ["a", "b"]
    assert names("cluster", {}) == ["cluster"]
    assert names("a\nb slots=2\n") == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "found no host in ''"),
        (",", "found no host"),
        ([], "found no host"),
        ("a,b,a", "found a twice"),
        ("n[1-3],n2", "found n2 twice"),
        ("-oProxyCommand=x", "'-oProxyCommand=x', which is no host"),
        ("root@-x", "which is no host"),
        ("a b", "found 'b' behind a"),
        ("a;b", "which is no host"),
        ("nöde", "which is no host"),
        ("node[16-01]", "the smaller number first"),
        ("node[1-016]", "ends of the same width"),
        ("node[01-016]", "ends of the same width"),
        ("node[09-100]", "ends of the same width"),
        ("node[a-b]", "allowed: numbers and ranges as [1,3-5]"),
        ("node[]", "allowed: numbers and ranges"),
        ("node[1-2", "brackets do not match"),
        ("node1-2]", "brackets do not match"),
        ("n[0-999999999]", "up to 100000 hosts"),
        pytest.param("n[0-999]x[0-999]", "more than 100000 hosts", marks=pytest.mark.slow),
        ("a:0", "found '0' processes"),
        ("a:x", "found 'x' processes"),
        ("a:2222", "the port of a host belongs in your ssh_config"),
        ("./nosuch", "'./nosuch', which is no file that can be read"),
    ],
)
def test_what_is_no_list_of_hosts_says_where_what_was_found_and_what_is_allowed(text, said):
    with pytest.raises(ContextError) as error:
        names(text)
    assert str(error.value).startswith("--hosts: ")
    assert said in str(error.value)
    assert "allowed" in str(error.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a slots=0\n", "--hosts: ./f: line 1: slots=0: found '0' processes, allowed: 1 to 1024"),
        ("a\n\nb slots=\n", "--hosts: ./f: line 3: slots=: found ''"),
        ("a slot=4\n", "--hosts: ./f: line 1: found 'slot=4' behind a; allowed there: slots=N"),
        ("a slots=1\nb\na slots=2\n", "--hosts: found a twice on lines 1 and 3; allowed: each host once"),
        ("# nothing\n", "found no host in './f'"),
    ],
)
def test_what_is_wrong_in_a_file_is_told_with_its_line(content, said):
    with pytest.raises(ContextError, match=re.escape(said)):
        names("./f", {"./f": content})


def test_hosts_with_different_numbers_of_processes_are_refused_where_that_number_is_wanted():
    hosts = parse_hosts("a:8,b:4,c:8", {}.get)
    with pytest.raises(
        ContextError, match=re.escape("found slots=8 for a and slots=4 for b; allowed: the same number")
    ):
        slots_of(hosts)
    with pytest.raises(ContextError, match=re.escape("found slots=8 for a and no slots for b")):
        slots_of(parse_hosts("a:8,b", {}.get))
    assert slots_of(parse_hosts("a,b", {}.get)) == 0


@pytest.mark.slow
def test_ten_thousand_hosts_are_ten_thousand():
    found = names("rack[000-099]node[001-100]")
    assert (len(found), found[0], found[-1]) == (10_000, "rack000node001", "rack099node100")


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=20, unique=True), st.integers(7, 9))
def test_numbers_of_one_width_come_back_as_they_were_written(numbers, width):
    written = [str(number).zfill(width) for number in numbers]
    assert names(f"n[{','.join(written)}]x") == [f"n{number}x" for number in written]


@given(st.integers(0, 5000), st.integers(0, 40))
def test_a_range_has_every_number_from_its_first_to_its_last(first, more):
    ends = (str(first), str(first + more))
    padded = [end.zfill(5) for end in ends]
    assert names(f"n[{'-'.join(padded)}]") == [f"n{number:05}" for number in range(first, first + more + 1)]
    if len(ends[0]) == len(ends[1]) or not first:
        assert names(f"n[{'-'.join(ends)}]") == [f"n{number}" for number in range(first, first + more + 1)]


@given(st.text(st.sampled_from("ab1209[]-,: \n@.=#/slots"), max_size=30))
def test_any_text_is_hosts_that_ssh_takes_or_a_told_error(text):
    try:
        found = names(text)
    except ContextError as error:
        assert "allowed" in str(error)
    else:
        assert found
        assert len(set(found)) == len(found)
        assert not [name for name in found if name.startswith("-") or re.search(r"[\s/\[\],#=]", name)]
