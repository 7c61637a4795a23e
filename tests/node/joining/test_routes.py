"""Who tries whom stays far from the square of the nodes, and an unreachable pair is named both ways."""

import pytest

from madrun.node.joining.routes import ALL_UP_TO, HOSTS_UP_TO, assign, judge


def offers(nnodes):
    return {rank: {"offer": {"at": [[f"10.0.0.{rank}", 4000]], "nonce": f"n{rank}"}} for rank in range(nnodes)}


def found(rank, failed=(), **changes):
    values = {"hostname": f"h{rank}", "interface": "eth0", "address": f"10.0.0.{rank}", "tried": 2, "offset_s": 0.0}
    return values | {"failed": [list(one) for one in failed]} | changes


def test_few_nodes_try_all_others():
    given = assign(offers(3), ["a note"])
    assert [peer[0] for peer in given[1]["peers"]] == [0, 2]
    assert given[1]["peers"][0] == [0, [["10.0.0.0", 4000]], "n0"]
    assert [given[rank]["notes"] for rank in range(3)] == [["a note"], [], []]


def test_many_nodes_try_their_neighbours_and_node_0():
    given = assign(offers(ALL_UP_TO + 1), [])
    assert [peer[0] for peer in given[20]["peers"]] == [0, 16, 17, 18, 19, 21, 22, 23, 24]
    assert max(len(one["peers"]) for one in given.values()) <= 9
    tried = {peer[0] for one in given.values() for peer in one["peers"]}
    assert tried == set(range(ALL_UP_TO + 1))


def test_a_node_without_an_address_is_tried_by_nobody():
    given = offers(2)
    given[1]["offer"]["at"] = []
    assert assign(given, [])[0]["peers"] == []


def test_what_was_reached_becomes_the_record():
    data = judge({rank: found(rank, offset_s=rank * 2.0) for rank in range(2)}).data
    assert data["hosts"] == [["h0", "10.0.0.0"], ["h1", "10.0.0.1"]]
    assert (data["tried"], data["unreachable"]) == (4, [])
    assert data["offsets_s"] == {"0": 0.0, "1": 2.0}
    assert "2.0 s ahead" in data["notes"][0]


def test_hosts_are_left_out_where_one_has_no_address():
    assert judge({0: found(0), 1: found(1, address="")}).data["hosts"] == []


def test_an_unreachable_pair_is_refused_with_places_and_both_directions():
    failure = judge({0: found(0, [(1, "no packet came back")]), 1: found(1)}).failure
    assert failure.kind == "gate"
    for part in (
        "1 of 4 connections",
        "node 0 (h0, eth0 10.0.0.0) -> node 1 (h1, eth0 10.0.0.1): no packet came back; the other way round works",
        "firewall",
        "GLOO_SOCKET_IFNAME",
    ):
        assert part in failure.text


def test_a_pair_that_fails_both_ways_is_one_line():
    for back, said in (("y", "x; y\n"), ("x", "x\n")):
        text = judge({0: found(0, [(1, "x")]), 1: found(1, [(0, back)])}).failure.text
        assert f"node 0 (h0, eth0 10.0.0.0) <-> node 1 (h1, eth0 10.0.0.1), both ways: {said}" in text
        assert text.count("node 0 (h0") == 1
        assert "2 of 4 connections" in text


def test_the_table_of_several_nodes_shows_who_reaches_whom():
    lines = judge({0: found(0), 1: found(1, [(2, "x")]), 2: found(2)}).failure.text.splitlines()
    assert [line.split() for line in lines[-5:-1]] == [
        ["from\\to", "0", "1", "2"],
        ["0", "-", "+", "+"],
        ["1", "+", "-", "x"],
        ["2", "+", "+", "-"],
    ]


@pytest.mark.parametrize("nnodes", [HOSTS_UP_TO, HOSTS_UP_TO + 1, 1000])
def test_beyond_some_nodes_only_node_0_hears_all_addresses(nnodes):
    ruling = judge({rank: found(rank) for rank in range(nnodes)})
    assert len((ruling.each.get(0) or ruling.data)["hosts"]) == nnodes
    if nnodes > HOSTS_UP_TO:
        assert ruling.each[5]["hosts"] == [["h0", "10.0.0.0"], ["h5", "10.0.0.5"]]


def test_a_thousand_silent_nodes_are_a_message_of_a_screen():
    failure = judge({rank: found(rank, [((rank + 1) % 1000, "x")]) for rank in range(1000)}).failure
    assert len(failure.text) < 3000


def test_an_unreachable_pair_is_a_note_where_node_0_was_told_so():
    data = judge({0: found(0, [(1, "no packet came back")], check_reach=False), 1: found(1)}).data
    assert data["unreachable"] == [[0, 1]]
    assert "1 of 4 connections" in data["notes"][0]
    assert "no packet came back" in data["notes"][0]


def test_a_refusal_names_the_way_out():
    failure = judge({0: found(0), 1: found(1, [(0, "refused")], check_reach=False)}).failure
    assert "'check_reach': False in the context of node 0" in failure.text
