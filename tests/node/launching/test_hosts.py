"""What the nodes are called in front of mpirun, and whom a name means."""

from madrun.node.launching.hosts import ranks_by_name
from madrun.spec.record import Gate


def test_names_and_addresses_mean_their_nodes_and_the_names_of_host_list_too():
    gate = Gate(hosts=(("alpha", "10.0.0.4"), ("beta", "10.0.0.5")))
    assert ranks_by_name(2, gate, ("a.lab", "b.lab")) == {
        **{"localhost": 0, "alpha": 0, "10.0.0.4": 0, "a.lab": 0},
        **{"madrun-node-1": 1, "beta": 1, "10.0.0.5": 1, "b.lab": 1},
    }


def test_what_means_two_nodes_means_none():
    gate = Gate(hosts=(("vm", "127.0.0.1"), ("vm", "127.0.0.1")))
    assert ranks_by_name(2, gate) == {"localhost": 0, "madrun-node-1": 1}
    assert ranks_by_name(2, None) == {"localhost": 0, "madrun-node-1": 1}
