"""Bytes of interfaces and RDMA ports, before and after."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.probe.telemetry.network import bytes_of_interfaces
from madrun.probe.traffic import Counters, moved, read_counters
from madrun.spec.transport import Moved

HEAD = "Inter-|   Receive |  Transmit\n face |bytes packets errs drop fifo frame compressed multicast|bytes\n"


@pytest.fixture
def host(tmp_path):
    """Writes counters: bytes in and out of interfaces, and files of the adapters."""

    def write(interfaces, hcas):
        (tmp_path / "proc/net").mkdir(parents=True, exist_ok=True)
        rows = [f"{name}: {rx} 1 0 0 0 0 0 0 {tx} 1 0 0 0 0 0 0\n" for name, (rx, tx) in interfaces.items()]
        (tmp_path / "proc/net/dev").write_text(HEAD + "".join(rows))
        for name in interfaces:
            home = tmp_path / "sys/class/net" / name
            home.mkdir(parents=True, exist_ok=True)
            (home / "type").write_text("32\n" if name.startswith("ib") else "1\n")
        for path, value in hcas.items():
            file = tmp_path / "sys/class/infiniband" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{value}\n")
        return read_counters(["=eth0", "ib0"], tmp_path)

    return write


def test_words_of_four_bytes_and_bytes_of_drivers_without_them_are_told_apart(host):
    files = {
        "mlx5_0/ports/1/counters/port_rcv_data": 10,
        "mlx5_0/ports/1/counters/port_xmit_data": 20,
        "rdmap0/ports/1/hw_counters/rx_bytes": 10,
        "rdmap0/ports/1/hw_counters/tx_bytes": 20,
        "silent0/ports/1/state": "4: ACTIVE",
    }
    before = host({"eth0": (100, 200), "docker0": (1, 1)}, files)
    after = host({"eth0": (150, 300)}, {name: value + 5 for name, value in files.items() if isinstance(value, int)})
    found, rdma = moved(before, after)
    assert found == {
        "eth0": Moved(received=50, sent=100),
        "mlx5_0:1": Moved(received=20, sent=20),
        "rdmap0:1": Moved(received=5, sent=5),
    }
    assert rdma == 25


def test_bytes_of_ip_over_infiniband_are_not_those_of_rdma(host):
    files = ("mlx5_0/ports/1/counters/port_rcv_data", "mlx5_0/ports/1/counters/port_xmit_data")
    before = host({"ib0": (0, 0)}, dict.fromkeys(files, 0))
    after = host({"ib0": (4000, 4000)}, dict.fromkeys(files, 1010))
    assert moved(before, after)[1] == 40


def test_a_bond_of_such_interfaces_counts_once_and_one_that_was_not_chosen_counts_too(host, tmp_path):
    files = ("mlx5_0/ports/1/counters/port_rcv_data", "mlx5_0/ports/1/counters/port_xmit_data")
    (tmp_path / "sys/class/net/ibbond/bonding").mkdir(parents=True)
    names = ("ib0", "ib7.8001", "ibbond")
    before = host(dict.fromkeys(names, (0, 0)), dict.fromkeys(files, 0))
    after = host({"ib0": (4000, 4000), "ib7.8001": (400, 400), "ibbond": (4000, 4000)}, dict.fromkeys(files, 2000))
    found, rdma = moved(before, after)
    assert (rdma, found["ib7.8001"]) == (8000 - 4400, Moved(received=400, sent=400))


def test_a_counter_that_stands_at_its_end_or_was_reset_says_nothing(host):
    files = ("mlx5_0/ports/1/counters/port_rcv_data", "mlx5_0/ports/1/counters/port_xmit_data")
    before = host({"eth0": (9, 9)}, dict(zip(files, (0, 50), strict=True)))
    after = host({"eth0": (10, 1)}, dict(zip(files, (0xFFFFFFFF, 7), strict=True)))
    found, rdma = moved(before, after)
    assert found == {"eth0": Moved(received=1), "mlx5_0:1": Moved()}
    assert rdma is None


def test_a_host_without_any_of_it_is_no_error(tmp_path):
    empty = read_counters(["=eth0"], tmp_path)
    assert empty == Counters(interfaces={}, ports={})
    assert moved(empty, empty) == ({}, None)


@given(st.text())
def test_any_text_of_interfaces_is_read(text):
    for rx, tx in bytes_of_interfaces(text).values():
        assert min(rx, tx) >= 0
