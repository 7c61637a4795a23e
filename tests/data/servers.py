"""Real servers for the tests of data: S3 in this process, an sshd of the machine's own."""

from __future__ import annotations

import itertools
import logging
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from own_ports import free_port

from madrun.data.s3 import Account

USER = {"USERNAME": "someone", "PASSWORD": "geheim-s3"}


@dataclass
class S3:
    """A server with S3's own protocol; `asked` is what it was asked for, `delay_s` what an object takes."""

    endpoint: str
    client: Any
    asked: list[str] = field(default_factory=list)
    delay_s: float = 0.0
    _held: Iterator[threading.Event | None] = field(default_factory=lambda: itertools.repeat(None))
    _free: threading.Event = field(default_factory=threading.Event)

    @property
    def account(self) -> Account:
        """Whoever may do everything."""
        return Account(user=USER["USERNAME"], password=USER["PASSWORD"], endpoint=self.endpoint)

    def put(self, bucket: str, **objects: bytes | str) -> None:
        """A bucket with these objects; `__` in a name is a slash."""
        self.client.create_bucket(Bucket=bucket)
        for name, body in objects.items():
            self.client.put_object(Bucket=bucket, Key=name.replace("__", "/"), Body=body)

    def hold(self, after: int) -> None:
        """So many more objects come whole; of the others hardly a byte comes until `let_go`."""
        self._free.clear()
        self._held = itertools.chain(itertools.repeat(None, after), itertools.repeat(self._free))

    def let_go(self) -> None:
        """All objects come whole again."""
        self._free.set()

    def give(self, body: Iterable[bytes]) -> Iterator[bytes]:
        """An object as it is sent; one that is held comes so slowly that no client gives it up."""
        held, left = next(self._held), b"".join(body)
        while held is not None and not held.wait(1):
            yield left[:1]
            left = left[1:]
        yield left

    def gets(self) -> list[str]:
        """The objects that were fetched since the last call, once for each part."""
        found = [line.split(" ", 1)[1] for line in self.asked if line.startswith("GET") and "list-type" not in line]
        self.asked.clear()
        return found


@contextmanager
def s3_server() -> Iterator[S3]:
    """moto's server on a free port."""
    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    client = boto3.session.Session().client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=USER["USERNAME"],
        aws_secret_access_key=USER["PASSWORD"],
        region_name="us-east-1",
    )
    found = S3(endpoint, client)
    app = server._server.app

    def told(environ: Any, start: Any) -> Any:
        found.asked.append(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}?{environ.get('QUERY_STRING', '')}")
        if environ["REQUEST_METHOD"] == "GET" and "list-type" not in environ.get("QUERY_STRING", ""):
            time.sleep(found.delay_s)
            return found.give(app(environ, start))
        return app(environ, start)

    server._server.app = told
    try:
        yield found
    finally:
        client.close()
        server.stop()


@dataclass(frozen=True)
class Sshd:
    """An sshd on loopback: the user and key that it lets in."""

    port: int
    user: str
    key: Path
    folder: Path

    def entry(self, **changes: str) -> dict[str, str]:
        """As NAS_NODES of credential.json says it."""
        values = {"NAME": "shelf", "HOST": "127.0.0.1", "PORT": str(self.port), "USERNAME": self.user}
        return values | {"SSH_KEY_FILE": str(self.key)} | changes


@contextmanager
def sshd(folder: Path) -> Iterator[Sshd]:
    """Lets the present user in with a key of its own; its host key is as new as the server."""
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    shutil.copy(folder / "user.pub", folder / "authorized")
    port = free_port()
    Path("/run/sshd").mkdir(exist_ok=True)
    options = {
        "Port": port,
        "ListenAddress": "127.0.0.1",
        "HostKey": folder / "host",
        "AuthorizedKeysFile": folder / "authorized",
        "StrictModes": "no",
        "UsePAM": "no",
        "PidFile": folder / "pid",
        "PermitRootLogin": "yes",
    }
    config = folder / "sshd_config"
    config.write_text("".join(f"{name} {value}\n" for name, value in options.items()))
    server = subprocess.Popen(["/usr/sbin/sshd", "-D", "-f", str(config), "-E", str(folder / "log")])
    try:
        _await(port)
        yield Sshd(port, os.environ.get("USER") or "root", folder / "user", folder)
    finally:
        server.terminate()
        server.wait()


def _await(port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise TimeoutError("sshd does not answer")
