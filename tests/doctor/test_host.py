import socket

import pytest

from madrun.doctor.host import of_topology
from madrun.spec.topology import Topology


def topology(**changes):
    values = {
        "nnodes": 2,
        "node_rank": 0,
        "nproc_per_node": 2,
        "master_addr": "10.0.0.5",
        "master_port": 0,
        "control_port": 0,
        "nccl_ifname": "=eth0",
        "gloo_ifname": "eth0",
        "network": "10.0.0.0/24",
    }
    return Topology(**(values | changes))


@pytest.fixture
def up(monkeypatch):
    monkeypatch.setattr("madrun.doctor.host.interface_states", lambda: {"lo": "up", "eth0": "up"})


def states(found):
    return {finding.name: finding.state for finding in found}


def test_a_busy_port_is_a_failure_that_names_who_listens(make_facts, up):
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
        found = of_topology(topology(master_port=port), make_facts())
    assert states(found) == {"MASTER_PORT": "FAIL", "interfaces": "PASS"}
    assert found[0].text.startswith(f"{port} is in use on this host")
    assert "another port on every node" in found[0].advice


def test_a_port_that_a_run_has_is_not_to_be_freed_for_a_look(make_facts, up, monkeypatch):
    trouble = "is in use on this host by process 7 (python -m madrun run ...); end what listens there, or give another"
    monkeypatch.setattr("madrun.doctor.host.port_trouble", lambda port: trouble)
    found = of_topology(topology(master_port=29501), make_facts())[0]
    assert (found.state, "wait until that is over" in found.advice, "end what" in found.advice) == ("FAIL", True, False)


def test_only_node_0_is_asked_for_its_ports(make_facts, up):
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
        found = of_topology(topology(node_rank=1, master_port=port, control_port=port), make_facts())
    assert states(found) == {"interfaces": "PASS"}


def test_on_one_node_nothing_listens_for_others(make_facts, up):
    found = of_topology(topology(nnodes=1, master_port=21999, control_port=21998), make_facts())
    assert set(states(found)) == {"MASTER_PORT", "interfaces"}


def test_a_port_that_outgoing_connections_may_take_is_told(make_facts, up, monkeypatch):
    monkeypatch.setattr("madrun.probe.network._sysctl", lambda name, default: (32768, 60999))
    monkeypatch.setattr("madrun.doctor.host.port_trouble", lambda port: "")
    (found, _) = of_topology(topology(master_port=40000), make_facts())
    assert found.state == "WARN"
    assert found.text.startswith("40000 lies among the ports that this host gives to outgoing connections")


def test_an_interface_that_is_not_there_is_a_failure(make_facts, up):
    (found,) = of_topology(topology(gloo_ifname="nope0"), make_facts())
    assert found.state == "FAIL"
    assert "nope0" in found.text
    assert "eth0" in found.text


def test_a_doubt_about_the_chosen_interface_is_told(make_facts, up):
    (found,) = of_topology(topology(doubts=("eth0 is in another network than MASTER_ADDR",)), make_facts())
    assert (found.state, "another network" in found.text) == ("WARN", True)


def test_interfaces_that_cannot_be_listed_are_unknown(make_facts, up):
    (found,) = of_topology(topology(), make_facts(interfaces=()))
    assert found.state == "UNKNOWN"
