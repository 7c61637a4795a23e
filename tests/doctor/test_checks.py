"""Every check of the table against every way in which its source may fail: a new check cannot escape these tests."""

import pytest
from broken_sources import Hanging, Saying, broken
from host_tree import HostTree
from hypothesis import given
from hypothesis import strategies as st

from madrun.doctor.asked import Asked
from madrun.doctor.checks import CHECKS
from madrun.doctor.host import look
from madrun.probe.health.source import Source, Unreadable
from madrun.spec.fabric import Hca, HcaPort
from madrun.spec.facts import Accelerator, Engine, Gpu

ROCE = (HcaPort(number=1, state="ACTIVE", link_layer="Ethernet", netdev="eth1"),)
IN_CONTAINER = Asked(nnodes=2, nproc_per_node=8, shm_size=8 << 30, results="/results")
ON_HOST = Asked(nnodes=2, nproc_per_node=8, in_container=False, results="/results")
NAMES = [f"{place} {check.name}" for place, check in enumerate(CHECKS)]
# No address of a name, and no process of AMD's driver, are answers.
ANSWERS = [("host name", "empty"), ("GPU processes", "empty")]
FAULTS = ["missing", "forbidden", "failing", "hanging tool", "empty", "garbage", "of another kind"]


@pytest.fixture(scope="module")
def rich_facts(make_facts):
    """A host that has everything there is to look at, with GPUs of this vendor."""

    def make(vendor, ports=ROCE):
        gpus = tuple(Gpu(index=index, bus=f"0000:{index + 1:02x}:00.0", model="GPU") for index in range(2))
        return make_facts(
            accelerator=Accelerator(vendor=vendor, gpus=gpus, driver="1"),
            infiniband=("/dev/infiniband/uverbs0",),
            hcas=(Hca(name="mlx5_0", bus="0000:11:00.0", ports=ports),) if ports else (),
            engine=Engine(name="docker", version="27.0"),
        )

    return make


def cases_of(check, rich_facts):
    """The hosts and runs that the check applies to. The adapters come with the facts: their fault is that none came."""
    facts = [rich_facts("nvidia"), rich_facts("amd")]
    if check.name == "RDMA ports":
        facts = [rich_facts("nvidia", ports=()), rich_facts("amd", ports=(HcaPort(number=1),))]
    return [(one, asked) for one in facts for asked in (IN_CONTAINER, ON_HOST) if check.applies(one, asked)]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two GPUs in the kernel's topology of AMD's driver, of which nothing else can be read."""
    tree = HostTree(tmp_path_factory.mktemp("root"))
    for node in (1, 2):
        tree.gpu_node(node)
    return tree.root


@pytest.mark.parametrize("check", CHECKS, ids=NAMES)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_source_that_cannot_be_read_is_unknown_and_says_why(check, fault, rich_facts, root, monkeypatch):
    cases = cases_of(check, rich_facts)
    assert cases, "no host of this test has what the check looks at: give rich_facts that"
    monkeypatch.setattr("madrun.doctor.host.CHECKS", (check,))
    for facts, asked in cases:
        found = look(facts, asked, broken(root)[fault])
        found = [finding for finding in found if (finding.name, fault) not in ANSWERS]
        assert found or (check.name, fault) in ANSWERS
        assert {finding.state for finding in found} <= {"UNKNOWN"}, found
        assert all(finding.text.strip() and "look at it failed" not in finding.text for finding in found), found


@pytest.mark.parametrize("check", CHECKS, ids=NAMES)
def test_a_source_that_hangs_is_unknown_and_holds_nothing_up(check, rich_facts, root, monkeypatch):
    monkeypatch.setattr("madrun.doctor.host.CHECKS", (check,))
    source = Hanging(root)
    try:
        for facts, asked in cases_of(check, rich_facts):
            found = look(facts, asked, source, limit_s=0.01)
            assert {finding.state for finding in found} == {"UNKNOWN"}, found
            if check.name != "RDMA ports":  # whose facts came with the host's
                assert "no answer within 0.01 s" in found[0].text
    finally:
        source.release.set()


@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKS, ids=NAMES)
@given(content=st.binary(max_size=200), names=st.lists(st.text(max_size=8), max_size=3), text=st.text(max_size=40))
def test_whatever_a_source_says_is_a_fact_or_said_to_be_unreadable(check, content, names, text, rich_facts, root):
    info = {"ServerVersion": text, "Warnings": [text], "Runtimes": {text: 1}, "DockerRootDir": text, "Driver": content}
    source = Saying(root, content, names, info, addresses=[text])
    for facts, asked in cases_of(check, rich_facts):
        try:
            found = check.read(source, facts, asked)
        except Unreadable:
            continue
        assert check.judge(found, facts, asked)


class Hasty(Source):
    """This machine, without the time between two looks at its load."""

    def wait(self, seconds):
        return seconds


def test_a_defect_of_a_check_is_unknown_and_stops_no_other(make_facts, tmp_path, monkeypatch):
    def defect(source, facts, asked):
        raise KeyError("forgotten")

    first, second = CHECKS[0], CHECKS[1]
    broken_one = type(first)(name=first.name, read=defect, judge=first.judge)
    monkeypatch.setattr("madrun.doctor.host.CHECKS", (broken_one, second))
    found = look(make_facts(), Asked(), Source())
    assert (found[0].name, found[0].state) == (first.name, "UNKNOWN")
    assert "KeyError" in found[0].text
    assert [finding.name for finding in found[1:]] == ["locked memory"]


def test_what_is_not_here_is_not_in_the_list(make_facts):
    names = {finding.name for finding in look(make_facts(), Asked(in_container=False), Hasty())}
    gpus = {"GPU state", "GPU memory", "GPU processes", "GPU errors", "IOMMU", "PCI ACS", "GPU peer memory"}
    assert not names & (gpus | {"RDMA ports", "flow control", "engine"})
    assert "GPUs" in names


def test_every_warning_says_what_to_do_and_where_that_is_from(make_facts, tmp_path):
    """Of this machine, whatever it has: a PASS needs no advice, and an UNKNOWN has none."""
    found = look(make_facts(), Asked(nnodes=2, shm_size=1 << 20, results=str(tmp_path)), Hasty())
    bad = [finding for finding in found if finding.state in ("WARN", "FAIL")]
    assert {"shared memory", "engine"} <= {finding.name for finding in bad}
    assert all(finding.advice and finding.source.startswith("https://") for finding in bad)
    assert not [finding for finding in found if finding.state == "PASS" and finding.advice]
