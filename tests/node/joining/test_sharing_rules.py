"""What is made of the proofs about paths: who refuses, who fills, who is told."""

import pytest

from madrun.node.joining.sharing_rules import filled, shared

HASHES = (("a.bin", "1234"),)


def a_print(files=2, names="n", samples=HASHES, **more):
    return {"files": files, "bytes": 100, "names": names, "samples": samples, "incomplete": False, "error": ""} | more


def entry(rank=0, there=True, source=True, **more):
    fs = f"ext4 /dev/{rank} at /"
    return {
        "path": "/d/corpus",
        "fs": fs,
        "there": there,
        "source": source,
        "print": a_print() if there else None,
    } | more


def a_mirror(rank, saw, left=True, error=""):
    return {"path": "/m", "fs": f"ext4 /dev/{rank} at /", "left": left, "saw": saw, "error": error}


def node(rank, mirror=None, local=False, mounts=None, **data):
    return {"hostname": f"h{rank}", "mirror": mirror, "local": local, "mounts": mounts or {}, "data": data}


def two(first, second, **both):
    return {0: node(0, corpus=first, **both), 1: node(1, corpus=second, **both)}


def seen(saw_0, saw_1):
    return {0: a_mirror(0, saw_0), 1: a_mirror(1, saw_1)}


def mirrored(mirrors, entries, local=False):
    return {rank: node(rank, mirrors[rank], local, corpus=entries[rank]) for rank in mirrors}


ABSENT = entry(there=False)


def test_equal_data_pass():
    assert shared(two(entry(0), entry(1))).failure is None


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (a_print(files=3, names="m"), "2 files of 100 B on node 0, 3 files of 100 B on node 1 (h1)"),
        (a_print(names="m"), "names or sizes of files differ"),
        (a_print(samples=(("a.bin", "9999"),)), "the contents differ, of a.bin: 1234 on node 0, 9999 on node 1 (h1)"),
    ],
)
def test_data_that_differ_are_refused_with_path_file_systems_and_what_to_do(other, words):
    failure = shared(two(entry(0), entry(1, print=other))).failure
    assert (failure.kind, failure.node) == ("gate", 1)
    for part in (
        "data corpus is not the same",
        words,
        "/d/corpus (ext4 /dev/1 at /) on node 1",
        "--force-mirror-local",
    ):
        assert part in failure.text


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (a_print(names="", samples=(), error="Permission denied"), "Permission denied on node 1 (h1)"),
        (a_print(names="", samples=(), incomplete=True), "it took too long to list on node 1 (h1)"),
    ],
)
def test_what_could_not_be_compared_is_a_note(other, words):
    ruling = shared(two(entry(0), entry(1, print=other)))
    assert ruling.failure is None
    assert words in ruling.data["notes"][0]


def test_fewer_samples_of_a_slow_node_are_compared_as_far_as_they_go():
    many = a_print(samples=(*HASHES, ("b.bin", "5678")))
    assert shared(two(entry(0, print=many), entry(1))).failure is None


def test_a_shared_mirror_is_filled_by_the_first_node_that_has_the_source():
    entries = [entry(0, there=False, source=False), entry(1, there=False)]
    assert shared(mirrored(seen([1], [0]), entries)).data["fill"] == {"corpus": [1]}
    assert shared(mirrored(seen([1], [0]), [ABSENT, ABSENT])).data["fill"] == {"corpus": [0]}


@pytest.mark.parametrize(("saw_0", "saw_1"), [([], []), ([1], []), ([], [0])])
def test_a_mirror_that_is_not_seen_both_ways_is_refused_with_the_way_out(saw_0, saw_1):
    failure = shared(mirrored(seen(saw_0, saw_1), [ABSENT, ABSENT])).failure
    for part in (
        "--force-mirror-local is not one directory",
        "node 1 (h1)",
        "/m (ext4 /dev/0 at /) on node 0",
        "--local-data",
    ):
        assert part in failure.text


def test_local_data_lets_each_node_fill_its_own():
    ruling = shared(mirrored(seen([], []), [ABSENT, ABSENT], local=True))
    assert ruling.data["fill"] == {"corpus": [0, 1]}


def test_local_data_without_the_source_on_a_node_is_refused():
    entries = [ABSENT, entry(1, there=False, source=False)]
    failure = shared(mirrored(seen([], []), entries, local=True)).failure
    assert "its source of data.json is not there on node 1 (h1)" in failure.text


def test_what_every_node_fetches_by_itself_needs_no_directory_for_all():
    mine = ABSENT | {"own": True}
    assert shared(two(mine, mine)).data["fill"] == {"corpus": [0, 1]}
    assert shared(two(entry(0, own=True), mine)).data["fill"] == {"corpus": [1]}
    lacking = entry(1, there=False, source=False, own=False)
    assert "its source of data.json is not there on node 1 (h1)" in shared(two(mine, lacking)).failure.text


def test_a_mirror_whose_source_is_nowhere_is_refused():
    entries = [entry(rank, there=False, source=False) for rank in (0, 1)]
    assert "not there on any node" in shared(mirrored(seen([1], [0]), entries)).failure.text


def test_a_directory_that_takes_no_file_is_refused_with_the_reason():
    mirrors = {rank: a_mirror(rank, [], left=False, error="Permission denied") for rank in (0, 1)}
    failure = shared(mirrored(mirrors, [ABSENT, ABSENT])).failure
    assert "the directory takes no file: Permission denied on every node" in failure.text


def test_a_complete_mirror_that_takes_no_file_is_compared_by_samples():
    mirrors = {rank: a_mirror(rank, [], left=False, error="Read-only") for rank in (0, 1)}
    assert shared(mirrored(mirrors, [entry(0), entry(1)])).data["fill"] == {}
    other = entry(1, print=a_print(names="m"))
    assert "not the same" in shared(mirrored(mirrors, [entry(0), other])).failure.text


def test_a_mirror_on_one_node_alone_is_refused():
    failure = shared({0: node(0, a_mirror(0, []), corpus=ABSENT), 1: node(1, corpus=entry(1))}).failure
    assert "--force-mirror-local differs: given on node 0, not given on node 1 (h1)" in failure.text


def test_after_filling_every_node_must_see_the_same():
    assert filled(two(entry(0), entry(1))).failure is None
    assert "node 1 (h1) cannot see it" in filled(two(entry(0), ABSENT)).failure.text
    assert "not the same" in filled(two(entry(0), entry(1, print=a_print(files=1, names="m")))).failure.text


def test_mounts_that_differ_are_notes():
    def with_mount(one, other):
        mounts = [{"/out": one} if one else {}, {"/out": other} if other else {}]
        return shared({rank: node(rank, mounts=mounts[rank]) for rank in (0, 1)}).data["notes"]

    assert with_mount(a_mirror(0, [1]), a_mirror(1, [0])) == []
    assert "is not one directory for all nodes" in with_mount(a_mirror(0, []), a_mirror(1, []))[0]
    assert "is not mounted on node 1 (h1)" in with_mount(a_mirror(0, [1]), None)[0]
    read_only = [a_mirror(rank, [], left=False) | {"print": a_print(names=str(rank))} for rank in (0, 1)]
    assert "docker_mounts /out is not the same on all nodes" in with_mount(*read_only)[0]
