"""This host as one value."""

import os
import socket

from madrun.probe import host
from madrun.spec.facts import Engine


def test_the_facts_are_those_of_this_host():
    facts = host.facts(None, "nobody listens")
    assert (facts.hostname, facts.uid, facts.gid) == (socket.gethostname(), os.getuid(), os.getgid())
    assert facts.cpus == len(os.sched_getaffinity(0))
    assert facts.memory > 1 << 28
    assert facts.cpu
    assert (facts.engine, facts.engine_absent) == (None, "nobody listens")


def test_the_engine_comes_in_from_outside():
    engine = Engine(name="docker", version="27")
    assert host.facts(engine).engine == engine


def test_the_id_of_the_host_is_the_same_each_time():
    assert host.facts(None).host_id == host.facts(None).host_id
