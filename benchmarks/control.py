"""Join, gate and barrier of many simulated nodes over loopback, against torch's TCPStore doing the same rendezvous.

    python benchmarks/control.py [--nodes 1000] [--store-nodes 50] [--rounds 3] [--clients 5]

Node 0 is madrun's own server with its own judges, in a process of its own. The nodes are light asyncio clients in a
few processes, which speak the real protocol with real payloads: hello, with a secret the proofs, questions for
the clock, the stages of the gate (what each node offers of itself, whom it reached), the begin of the run, the proof
of one data source, image, barrier. Time is from the
first connection to the last node past the barrier. The nodes' calls among themselves are not made. Memory is that of
the server's process, before and at its peak.

TCPStore does what torchrun's static rendezvous does with it: each client sets a key, adds to a counter, and waits
until the last one is there. It takes minutes for 1,000 clients where addresses have no names; --store-nodes asks for
fewer, and madrun does the same number in the same run. Needs a Python with torch; else that half is left out by name.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import multiprocessing
import os
import resource
import socket
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

SECRET = b"a secret of this benchmark alone"
STAGES = ("join/jobs", "join/reach", "0/begin", "0/sentinels", "0/shared", "0/prepared", "0/ready")
PINGS, GOOD_S = 2, 0.02
LIMIT_S = 600.0
Payload = Callable[[int, str], Any]


def payloads(nnodes: int) -> Payload:
    """What node `rank` sends at a stage: a plan of the size of a real one, offered as `madrun run` offers it."""
    from madrun.node.joining.gate import greeting, offer
    from madrun.spec.facts import Accelerator, Gpu, HostFacts
    from madrun.spec.plan import HostProcess, ImagePlan, JobPlan, NodePlan, make_plan

    job = JobPlan(
        card="llama2_7b", tags=("pretrain",), script="run.sh", args="--steps 50 --mbs 2", script_hash="0" * 64,
        runtime="process", vendor="nvidia", runner="torchrun", nnodes=nnodes, nproc_per_node=8,
        env={f"VARIABLE_{n}": "value" for n in range(20)}, secrets=("HF_TOKEN",), image=ImagePlan(kind="none"),
        data=(), metrics={}, multiple_results=None, timeout_s=7200.0, grace_s=5.0, lease_s=10.0, driver="x" * 4000,
    )  # fmt: skip
    gpus = tuple(Gpu(index=n, model="MI300X", arch="gfx942", memory=192 << 30, uuid="") for n in range(8))

    def make(rank: int, stage: str) -> Any:
        host = f"node{rank:04d}"
        if stage == "join/jobs":
            facts = HostFacts(
                hostname=host, host_id=f"boot-{rank}", kernel="6.8", cpu="EPYC 9654", cpus=192, memory=1 << 40,
                uid=1000, gid=1000, python="3.11", accelerator=Accelerator(vendor="amd", gpus=gpus),
            )  # fmt: skip
            node = NodePlan(
                node_rank=rank, hostname=host, role="script", master_addr="10.0.0.0", master_port=29501,
                control_port=29502, nccl_ifname="=eth0", gloo_ifname="eth0", card_folder="/models/llama2_7b", files=(),
                repository="/models", data_sources={}, mirrors={}, owner="", gpus=tuple(range(8)),
                process=HostProcess(command=("bash",), workdir="/", env={}),
            )  # fmt: skip
            plan = make_plan("0.0", job, node)
            at = {"at": [[f"10.0.{rank >> 8}.{rank & 255}", 40_000]], "nonce": f"{rank:032x}"}
            return greeting([plan], facts) | {"offer": offer(plan, facts) | at}
        if stage == "join/reach":
            found = {"hostname": host, "interface": "eth0", "address": f"10.0.{rank >> 8}.{rank & 255}"}
            return found | {"tried": 9, "failed": [], "offset_s": 0.0001}
        if stage == "0/begin":
            return {"run": "20261121T024501Z-llama2_7b-3f9a1c-1", "token": "0" * 32} if rank == 0 else None
        if stage == "0/sentinels":
            return {}
        if stage == "0/shared":
            samples = [[f"shard-{n:05d}.bin", f"{n:012d}"] for n in range(32)]
            prints = {"files": 1000, "bytes": 1 << 40, "names": "0" * 16, "samples": samples, "incomplete": False}
            data = {"path": "/data/corpus", "fs": "nfs4 server:/data at /data", "there": True, "source": False}
            data["print"] = prints | {"error": ""}
            return {"hostname": host, "local": False, "mirror": None, "data": {"corpus": data}, "mounts": {}}
        return {"image": "sha256:" + "0" * 64, "hostname": host} if stage == "0/prepared" else None

    return make


class Node:
    """One simulated node, in the loop of its process: each answer brings the next message."""

    def __init__(self, rank: int, nnodes: int, secret: bytes, lines: list[bytes], done: Callable[[], None]) -> None:
        from madrun.node.channel import auth, protocol

        self.rank, self.secret, self.lines, self.done = rank, secret, lines, done
        self.auth, self.protocol = auth, protocol
        hello = protocol.hello(rank, nnodes, f"node{rank:04d}", "llama2_7b")
        self.hello = protocol.encode({**hello, "nonce": auth.nonce()} if secret else hello)
        self.challenge, self.up, self.down = "", None, None
        self.step, self.buffer = -PINGS, b""

    def connect(self, port: int, loop: asyncio.AbstractEventLoop) -> None:
        """Connects and says hello; on loopback that takes microseconds."""
        self.connection = socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.asked, self.loop = time.monotonic(), loop
        self.connection.sendall(self.hello)
        loop.add_reader(self.connection, self.receive)

    def receive(self) -> None:
        """Bytes of node 0: as many whole messages as there are."""
        data = self.connection.recv(1 << 18)
        if not data:
            self.loop.remove_reader(self.connection)
            if self.step <= len(STAGES):
                sys.exit(f"node {self.rank}: its connection ended")
        *lines, self.buffer = (self.buffer + data).split(b"\n")
        for line in lines:
            whole = line + b"\n"
            self.take(self.protocol.decode(self.down.open(whole) if self.down else whole))

    def send(self, line: bytes) -> None:
        """One message, sealed where there is a secret."""
        self.asked = time.monotonic()
        self.connection.sendall(self.up.close(line) if self.up else line)

    def take(self, message: dict[str, Any]) -> None:
        """One message of node 0."""
        kind = message["type"]
        if kind == "challenge":
            self.challenge = message["nonce"]
            answer = self.auth.proof(self.secret, self.auth.NODE, self.hello, self.challenge)
            self.send(self.protocol.encode({"type": "answer", "proof": answer}))
        elif kind == "welcome":
            if self.secret:
                keys = self.auth.session(self.secret, self.hello, self.challenge)
                at = self.challenge + message["at"]
                assert message["proof"] == self.auth.proof(self.secret, self.auth.NODE_0, self.hello, at)
                self.up, self.down = self.auth.Seals(keys.up), self.auth.Seals(keys.down)
            self.advance()
        elif kind in ("pong", "release"):
            self.advance()
        elif kind not in ("waiting", "beat"):
            sys.exit(f"node {self.rank} was told: {message}")

    def advance(self) -> None:
        """The next question for the clock, or the next stage."""
        if self.step < 0 and time.monotonic() - self.asked < GOOD_S:
            self.step = 0
        if self.step < 0:
            line = self.protocol.encode({"type": "ping", "n": self.step})
        elif self.step < len(STAGES):
            line = self.lines[self.step]
        else:
            line = b""
            self.done()
        self.step += 1
        if line:
            self.send(line)


def nodes(pipe: Connection, ranks: list[int], nnodes: int, port: int, secret: bytes) -> None:
    """A process with some of the nodes; tells when the last of them is past the barrier."""
    from madrun.node.channel.protocol import encode

    raise_limit()
    make = payloads(nnodes)
    sent = {
        rank: [encode({"type": "reach", "stage": s, "payload": make(rank, s), "final": False}) for s in STAGES]
        for rank in ranks
    }

    async def all_of_them() -> None:
        loop = asyncio.get_running_loop()
        over, left = asyncio.Event(), len(ranks)

        def done() -> None:
            nonlocal left
            left -= 1
            if not left:
                over.set()

        members = [Node(rank, nnodes, secret, sent[rank], done) for rank in ranks]
        pipe.send("ready")
        await loop.run_in_executor(None, pipe.recv)
        for member in members:
            member.connect(port, loop)
        await asyncio.wait_for(over.wait(), LIMIT_S)
        pipe.send(time.monotonic())
        await loop.run_in_executor(None, pipe.recv)

    asyncio.run(all_of_them())


def node_0(pipe: Connection, nnodes: int, port: int, secret: bytes) -> None:
    """The process of node 0: listens, and says at the end what it took."""
    from madrun.node.channel.server import Server
    from madrun.node.joining.judges import JUDGES

    server = Server("127.0.0.1", port, nnodes, JUDGES, secret=secret)
    before = rss()
    cpu = time.process_time()
    pipe.send("ready")
    pipe.recv()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    pipe.send((before, peak, time.process_time() - cpu))
    pipe.recv()
    server.close()


def store_0(pipe: Connection, nnodes: int, port: int) -> None:
    """The process of the TCPStore's server."""
    from torch.distributed import TCPStore

    before = rss()
    store = TCPStore("127.0.0.1", port, nnodes, is_master=True, wait_for_workers=False)
    pipe.send("ready")
    pipe.recv()
    pipe.send((before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, time.process_time()))
    pipe.recv()
    del store


def store_nodes(pipe: Connection, ranks: list[int], nnodes: int, port: int) -> None:
    """A process with some clients of the TCPStore, a thread for each, for its calls block."""
    from concurrent.futures import ThreadPoolExecutor
    from datetime import timedelta

    from torch.distributed import TCPStore

    def one(rank: int) -> None:
        store = TCPStore("127.0.0.1", port, nnodes, False, timedelta(seconds=LIMIT_S), wait_for_workers=False)
        store.set(f"node/{rank}", "x" * 1000)
        if store.add("joined", 1) == nnodes:
            store.set("all", "1")
        store.wait(["all"], timedelta(seconds=LIMIT_S))
        clients.append(store)

    clients: list[Any] = []
    pipe.send("ready")
    pipe.recv()
    with ThreadPoolExecutor(len(ranks)) as pool:
        list(pool.map(one, ranks))
    pipe.send(time.monotonic())
    pipe.recv()


def rss() -> float:
    """Memory of this process in MiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / (1 << 20)


def raise_limit() -> None:
    """As many open files as this host allows."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def measure(nnodes: int, clients: int, serve: Callable[..., None], join: Callable[..., None], *more: Any) -> Any:
    """Seconds until the last node is past the barrier, and of the server memory before, at its peak, and CPU time."""
    spawn = multiprocessing.get_context("spawn")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    shares = [list(range(part, nnodes, clients)) for part in range(clients)]
    started: list[tuple[Any, Connection]] = []

    def start(target: Callable[..., None], *args: Any) -> Connection:
        mine, theirs = spawn.Pipe()
        process = spawn.Process(target=target, args=(theirs, *args), daemon=True)
        process.start()
        theirs.close()  # so that the end of the process is the end of the pipe
        started.append((process, mine))
        assert mine.recv() == "ready"
        return mine

    try:
        server = start(serve, nnodes, port, *more)
        members = [start(join, share, nnodes, port, *more) for share in shares if share]
        began = time.monotonic()
        for pipe in members:
            pipe.send("go")
        seconds = max(pipe.recv() for pipe in members) - began
        server.send("how was it")
        return seconds, *server.recv()
    except EOFError:
        sys.exit("a process of this benchmark ended before its time; what it said stands above")
    finally:
        for process, pipe in started:
            with suppress(OSError):
                pipe.send("end")
            process.join(10)
            if process.is_alive():
                process.terminate()


def row(name: str, rounds: int, budget: str, once: Callable[[], Any]) -> None:
    """One line: medians over the rounds, and the worst time."""
    found = [once() for _ in range(rounds)]
    seconds, before, peak, cpu = (statistics.median(column) for column in zip(*found, strict=True))
    worst = max(one[0] for one in found)
    print(f"{name:<44} {seconds:8.3f} {worst:8.3f} {cpu:8.3f} {before:8.1f} {peak:8.1f}   {budget}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--store-nodes", type=int, default=50, help="clients of the TCPStore, 0 for none")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", type=int, default=5, help="processes that the nodes share")
    options = parser.parse_args()
    raise_limit()
    few, many = min(options.store_nodes, options.nodes), options.nodes
    print(f"{'':<44} {'median s':>8} {'worst s':>8} {'cpu s':>8} {'MiB':>8} {'peak':>8}   budget")
    for count in dict.fromkeys((few, many)):
        for name, secret in (("", b""), (", with a secret", SECRET)):
            budget = "0.5 s" if count == 1000 else ""
            ours = (count, options.clients, node_0, nodes, secret)
            if count:
                row(f"{count} nodes: join, gate, barrier{name}", options.rounds, budget, lambda o=ours: measure(*o))
    if few and importlib.util.find_spec("torch") is None:
        print(f"torch's TCPStore: left out, {sys.executable} has no torch")
    elif few:
        theirs = (few, options.clients, store_0, store_nodes)
        row(f"{few} clients of torch's TCPStore: set, add, wait", 1, "", lambda: measure(*theirs))


if __name__ == "__main__":
    main()
