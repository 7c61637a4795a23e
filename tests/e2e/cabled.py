"""Network namespaces as hosts: own addresses and interfaces, and a cable between them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


def ip(*words: str) -> None:
    """`ip WORDS`; fails where it does."""
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@contextmanager
def namespaces(names: Sequence[str]) -> Iterator[None]:
    """Namespaces of these names, each with its loopback up; gone afterwards."""
    try:
        for name in names:
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        yield
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)


@contextmanager
def cabled(names: tuple[str, str], addresses: tuple[str, str]) -> Iterator[None]:
    """Two namespaces with a cable between them: `fab0` in the first, `fab1` in the second."""
    with namespaces(names):
        ip("link", "add", "fab0", "netns", names[0], "type", "veth", "peer", "name", "fab1", "netns", names[1])
        for name, link, address in zip(names, ("fab0", "fab1"), addresses, strict=True):
            ip("-n", name, "addr", "add", f"{address}/24", "dev", link)
            ip("-n", name, "link", "set", link, "up")
        yield
