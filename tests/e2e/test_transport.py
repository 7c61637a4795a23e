"""A run that asked for RDMA and used sockets is no success, whatever it measured: seen on two nodes of their own.

The nodes get an adapter that is none: a tree laid over /sys/class, a device file that is that of /dev/null, and a
library without content. The ranks talk over sockets in all these runs. What NCCL would have said of it they print from
lines that it said elsewhere; where RDMA is to have been used, the adapter's counters are moved by hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bed import Bed
from e2e_parts import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.docker]
LOGS = ROOT / "tests/results/nccl_logs"
HCA = {
    "node_type": "1: CA",
    "hca_type": "MT4129",
    "fw_ver": "28.39.1002",
    "device/vendor": "0x15b3",
    "device/uevent": "DRIVER=mlx5_core\nPCI_SLOT_NAME=0000:17:00.0",
    "ports/1/state": "4: ACTIVE",
    "ports/1/phys_state": "5: LinkUp",
    "ports/1/rate": "400 Gb/sec (4X NDR)",
    "ports/1/link_layer": "InfiniBand",
    "ports/1/lid": "0x1",
    "ports/1/gids/0": "fe80:0000:0000:0000:a088:c203:0054:0a01",
    "ports/1/counters/port_rcv_data": "1000",
    "ports/1/counters/port_xmit_data": "1000",
}
PLANT = """
mkdir -p plant/class plant/lib /dev/infiniband
cp -a /sys/class/net plant/class
cp -a hca plant/class/infiniband
touch plant/lib/libibverbs.so.1 plant/lib/libmlx5-rdmav34.so
[ -e /dev/infiniband/uverbs0 ] || mknod /dev/infiniband/uverbs0 c 1 3
mount --bind plant/class /sys/class
"""
UPROOT = "while umount /sys/class 2>/dev/null; do :; done; rm -rf /dev/infiniband"
# 64 MiB from node 1 to node 0, then what NCCL would have said.
TALK = """
python3 - <<'PROGRAM'
import os, socket, time
to, size = (os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])), 64 << 20
began = time.monotonic()
if os.environ["NODE_RANK"] == "0":
    with socket.create_server(to) as server, server.accept()[0] as peer:
        while size > 0:
            size -= len(peer.recv(1 << 20)) or size
else:
    while True:
        try:
            peer = socket.create_connection(to, 10)
            break
        except ConnectionRefusedError:
            time.sleep(0.05)
    peer.settimeout(None)
    peer.sendall(bytes(size))
    peer.close()
print(f"performance: {64 / (time.monotonic() - began):.1f} MiB_per_s")
PROGRAM
[ -z "$SAYS" ] || grep -v '^#' "$SAYS.log"
if [ -n "$MOVES" ]; then
    for way in rcv xmit; do echo 99999999 >/sys/class/infiniband/mlx5_0/ports/1/counters/port_${way}_data; done
fi
"""


@pytest.fixture
def bed(three: list[Any], tmp_path: Path) -> Iterator[Bed]:
    """Two nodes with an adapter each."""
    made = Bed(three[:2], f"mark-{tmp_path.name}", runtime="process", multi={"TRANSPORT": "rdma", "RUNNER": "plain"})
    try:
        for node in made.nodes:
            for name, text in HCA.items():
                file = node.folder / "hca/mlx5_0" / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(f"{text}\n")
            node.run("bash", "-ec", PLANT)
        made.add("talk", TALK, metrics={"MiB_per_s": {"across_nodes": "min"}})
        for node in made.nodes:
            for log in LOGS.iterdir():  # the interface of the node in the place of the one that was recorded
                text = log.read_text().replace("enp1s0", "eth0").replace("enp220s0np0", "eth0")
                (node.folder / "models/talk" / log.name).write_text(text)
        yield made
    finally:
        for node in made.nodes:
            node.run("bash", "-c", UPROOT)
        made.clean()


def talk(bed: Bed, code: int, **env: str) -> dict[str, Any]:
    given = {"LD_LIBRARY_PATH": "/bed/plant/lib", "SAYS": "", "MOVES": ""} | env
    for node in bed.nodes:
        for counter in (node.folder / "plant/class/infiniband/mlx5_0/ports/1/counters").iterdir():
            counter.write_text("1000\n")
    started = bed.start("talk", context={"docker_env_vars": given})
    assert bed.codes(started, 120) == [code, code], [one.output for one in started]
    return bed.record() | {"said": started[0].output}


def test_rdma_that_was_asked_for_and_was_sockets_is_invalid_and_the_same_run_over_rdma_is_not(bed: Bed) -> None:
    record = talk(bed, 3, SAYS="nccl_sockets")
    (reason,) = record["reasons"]
    assert (record["status"], record["valid"], record["culprit"]) == ("FAILURE", False, None)
    assert reason.startswith("node 0 (n0), node 1 (n1): TRANSPORT rdma was asked for, and NCCL used NET/Socket on eth0")
    assert f"invalid: {reason}" in record["said"]
    assert record["metrics"][0]["metric"] == "MiB_per_s"  # it did measure
    assert record["nodes"][1]["transport"]["bytes"]["eth0"]["sent"] > 64 << 20

    record = talk(bed, 0, SAYS="nccl_2.19.3_roce", MOVES="yes")
    assert (record["status"], record["valid"], record["reasons"]) == ("SUCCESS", True, [])
    assert "transport  NCCL 2.19.3+cuda12.3, NET/IB on mlx5_10, mlx5_11" in record["said"]
    assert record["nodes"][0]["transport"]["rdma_bytes"] == (99999999 - 1000) * 4

    (reason,) = talk(bed, 3)["reasons"]
    assert "nothing shows it: no line of NCCL or RCCL names a network, and its RDMA ports moved 0 B" in reason
