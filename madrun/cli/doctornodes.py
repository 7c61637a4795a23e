"""`madrun doctor --nodes`: the same visit started on each host by ssh, and one answer put together from theirs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

from madrun import __version__
from madrun.backends.ssh.connection import Connections, Reply
from madrun.backends.ssh.hosts import parse_hosts
from madrun.backends.ssh.settings import SshSettings, check, read_text
from madrun.backends.ssh.visit import host_behind
from madrun.cli.doctor import answer
from madrun.cli.doctorplan import DEFAULT_CARD
from madrun.cli.launchsecrets import without_values
from madrun.cli.layers import site_layer, user_layers
from madrun.cli.options import RunOptions
from madrun.cli.repository import find_repository
from madrun.cli.request import make_request
from madrun.cli.words import words_of
from madrun.doctor import remote
from madrun.doctor.bandwidth import not_run
from madrun.doctor.report import Examination, NodeReport
from madrun.errors import ContextError, UsageError
from madrun.planning.layers import parse_text, resolve
from madrun.probe import network
from madrun.spec.codec import from_plain
from madrun.spec.finding import Finding
from madrun.spec.validation import Invalid

_KEY = "multi_node_args"
_OWN = ("additional_context", "join_timeout")  # said to each host in another way
_NOT_ALL = "5s"  # how long those that can be visited wait for one that cannot


def visit_nodes(options: RunOptions, nodes: str, brief: bool, as_json: bool) -> int:
    """The exit code of the visit to all hosts; `UsageError` and `ContextError` for what is typed wrongly."""
    settings = _settings(options, nodes)
    hosts, options = settings.names, without_values(options)
    context = _context(options)
    said = context.get(_KEY) or {}
    if not isinstance(said, dict):
        raise ContextError(f"{_KEY}: found {type(said).__name__}, allowed: a map of names to values")
    sys.stderr.write(f"madrun: looking at {', '.join(hosts)} by ssh\n")
    common = {"MASTER_ADDR": said.get("MASTER_ADDR") or _address(hosts[0])} if len(hosts) > 1 else {}
    with Connections(settings) as connections:
        wrong = remote.versions(connections, hosts, remote.here())
        able = [rank for rank, finding in enumerate(wrong) if finding is None]
        words = []
        for rank in able:
            own = context | {_KEY: {**said, **common, "NNODES": len(hosts), "NODE_RANK": rank}}
            words.append(_words(options, json.dumps(own), any(wrong)))
        replies = remote.visits(connections, [hosts[rank] for rank in able], remote.here(), words)
    return answer(merged(hosts, wrong, dict(zip(able, replies, strict=True)), _card(options)), brief, as_json)


def _settings(options: RunOptions, nodes: str) -> SshSettings:
    """What the site file and the command line say of ssh, with these hosts."""
    try:
        hosts = parse_hosts(nodes, read_text, "--nodes")
    except ContextError as error:
        raise UsageError(str(error)) from None
    request = make_request(replace(options, tags=options.tags or [DEFAULT_CARD]))
    said, _, _ = resolve([*site_layer(request, find_repository(request.repo)), *user_layers(request)], False)
    return replace(check(said.ssh), hosts=tuple(map(str, hosts)))


def _context(options: RunOptions) -> dict[str, Any]:
    if options.additional_context is None:
        return {}
    return dict(parse_text(options.additional_context, "--additional-context"))


def _address(host: str) -> str:
    """Node 0's address for all others, as this host finds it; the name itself where it means nothing here.

    So does one that means loopback here: this may be node 0, and each host says what it makes of its name.
    """
    name = host_behind(host)
    try:
        address = network.resolve(name)
    except ContextError:
        return name
    is_own = address not in (name, name.strip("[]")) and name != "localhost" and ip_address(address).is_loopback
    return name if is_own else address


def _words(options: RunOptions, context: str, not_all: bool) -> list[str]:
    """The command line of one host."""
    words = ["doctor", "--json", "--additional-context", context, *words_of(options, _OWN)]
    limit = _NOT_ALL if not_all else options.join_timeout
    return [*words, "--join-timeout", limit] if limit else words


def _card(options: RunOptions) -> str:
    return ", ".join(options.tags or [DEFAULT_CARD])


def merged(
    hosts: Sequence[str], wrong: Sequence[Finding | None], replies: Mapping[int, Reply], card: str
) -> Examination:
    """One answer: node 0's where it heard of a node, else the node's own, else why there is none."""
    documents = {rank: found for rank, reply in replies.items() if (found := remote.document_of(reply))}
    nodes: list[NodeReport] = []
    for rank, host in enumerate(hosts):
        told = (_of_node(documents[teller], rank) for teller in dict.fromkeys((0, rank)) if teller in documents)
        report = next((found for found in told if found is not None), None)
        if report is None:
            why = wrong[rank] or remote.unanswered(replies[rank])
            report = NodeReport(rank=rank, hostname=host, findings=(why,))
        nodes.append(report)
    first = documents.get(0)
    together = _findings(first.get("together")) if first else (not_run("node 0 could not be visited"),)
    return Examination(card=card, madrun=__version__, nodes=tuple(nodes), together=together)


def _of_node(document: Mapping[str, Any], rank: int) -> NodeReport | None:
    for node in document["nodes"]:
        if isinstance(node, dict) and node.get("rank") == rank:
            try:
                return from_plain(NodeReport, node)
            except Invalid:
                return None
    return None


def _findings(plain: Any) -> tuple[Finding, ...]:
    try:
        return tuple(from_plain(Finding, one) for one in plain)
    except (Invalid, TypeError):
        return (not_run("node 0's answer could not be read"),)
