"""What a person sees of a pull, how often, and what never reaches anybody."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.errors import BuildError
from madrun.runtimes.images import Stop, Watch
from madrun.runtimes.images.archive import archive
from madrun.runtimes.images.buildkit import _NOISE, _STEP, arguments
from madrun.runtimes.images.place import Order
from madrun.runtimes.images.progress import Layers
from madrun.runtimes.images.watch import Pace
from madrun.spec.plan import ImagePlan

MIB = 1 << 20


def event(layer, status, current=None, total=None):
    detail = {} if total is None else {"current": current, "total": total}
    return {"id": layer, "status": status, "progressDetail": detail}


def test_a_pull_is_summed_up_in_layers_and_bytes():
    layers = Layers()
    a, b, c = "5ec63f3da6af", "2b5990e475d6", "c07a1a72e6ac"
    assert layers.summary() == ""
    told = [
        layers.add({"id": "1", "status": "Pulling from team/x"}),
        layers.add(event(a, "Already exists")),
        layers.add(event(b, "Pulling fs layer")),
        layers.add(event(c, "Pulling fs layer")),
        layers.add(event(b, "Downloading", 3 * MIB, 8 * MIB)),
        layers.add(event(b, "Downloading", 4 * MIB, 8 * MIB)),
        layers.add(event(c, "Downloading", 0, 8 * MIB)),
    ]
    assert told[0] == "1 Pulling from team/x"
    assert told[-3:] == [f"{b} Downloading", "", f"{c} Downloading"]
    assert layers.summary() == "1 of 3 layers, 4 MiB of 16 MiB"
    layers.add(event(b, "Download complete"))
    layers.add(event(b, "Extracting", 1, 8 * MIB))
    layers.add(event(b, "Pull complete"))
    assert layers.summary() == "2 of 3 layers, 8 MiB of 16 MiB"
    assert layers.add({"status": "Digest: sha256:abc"}) == "Digest: sha256:abc"


def test_a_pull_by_podman_counts_what_is_there():
    """Events of podman 4.3.1, which names neither sizes nor the unpacking."""
    layers = Layers()
    for layer, status in (("a84d2652c2ec", "Pulling fs layer"), ("a84d2652c2ec", "Download complete")):
        layers.add(event(layer, status))
    assert layers.summary() == "1 of 1 layers"


STATUS = ["Downloading", "Waiting", "Pull complete", "Extracting", "Retrying in 5 seconds", ""]
AMOUNTS = st.fixed_dictionaries({}, optional={"current": st.integers(0), "total": st.integers(0)})
EVENTS = st.fixed_dictionaries(
    {},
    optional={
        "id": st.sampled_from(["5ec63f3da6af", "2b5990e475d6", "latest", ""]),
        "status": st.sampled_from(STATUS),
        "progressDetail": st.none() | AMOUNTS,
    },
)


@given(st.lists(EVENTS))
def test_any_events_are_summed_up(events):
    layers = Layers()
    for one in json.loads(json.dumps(events)):
        layers.add(one)
    summary = layers.summary()
    assert summary == "" or " of " in summary


def test_progress_comes_every_five_seconds_and_then_ever_more_seldom():
    clock = [0.0]
    pace = Pace(lambda: clock[0])
    due = []
    while clock[0] < 3600:
        clock[0] += 0.25
        if pace.due():
            due.append(clock[0])
    assert due[:3] == [5.0, 10.0, 15.0]
    assert len(due) < 60
    assert due[-1] - due[-2] > 300


def test_a_line_is_logged_and_shown_without_secrets_and_empty_ones_are_logged_alone():
    logged, shown = [], []
    watch = Watch(log=logged.append, show=shown.append, secrets={"A_TOKEN": "abcdefgh"})
    assert watch.line("x abcdefgh\r\n") == "x ***"
    watch.line("")
    watch.detail("abcdefgh")
    assert logged == ["x ***", "", "***"]
    assert shown == ["x ***"]


def test_a_stop_ends_what_is_under_way_and_what_begins_later_but_nothing_that_has_ended():
    stop, ended = Stop(), []
    with stop.ends(lambda: ended.append("before")):
        pass
    with stop.ends(lambda: ended.append("during")):
        stop.set()
    with stop.ends(lambda: ended.append("after")):
        pass
    assert (ended, stop.is_set) == (["during", "after"], True)


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        # Printed by `docker build --progress=plain`: 20.10.24, and the documented form of later ones.
        ("#1 sha256:c89d2e8e22ba7778bdb75a98eb10b16999e68b4b8b51e4eeb42857b73255aa57", "noise"),
        ("#1 transferring dockerfile: 91B done", "noise"),
        ("#4 DONE 1.1s", "noise"),
        ("#5 CACHED", "shown"),
        ("#9 ...", "noise"),
        ("", "noise"),
        ("#6 sha256:" + "a" * 64 + " 12.58MB / 29.15MB 3.2s", "step"),
        ("#6 extracting sha256:" + "a" * 64, "step"),
        ("#4 [2/2] RUN echo hi; sleep 1; echo there", "shown"),
        ("#4 0.063 hi", "shown"),
        ("#3 ERROR: failed to do request: Head", "shown"),
    ],
)
def test_lines_of_buildkit_that_say_nothing_are_kept_for_the_log(line, kind):
    found = "step" if _STEP.fullmatch(line) else "noise" if _NOISE.fullmatch(line) else "shown"
    assert found == kind


def test_a_secret_argument_is_on_the_command_line_by_name_alone():
    image = ImagePlan(
        kind="build", name="madrun/x:1", dockerfile="x.Dockerfile", build_args={"A": "1 2", "HF_TOKEN": "s3cr3t"},
        secrets=("MAD_SECRETS_HFTOKEN",),
    )  # fmt: skip
    order = Order(image=image, context={}, labels={"l": "v"}, text="", fresh=True)
    assert arguments("/usr/bin/docker", order, frozenset({"HF_TOKEN"})) == [
        "/usr/bin/docker", "build", "--progress=plain", "--network=host", "--file=x.Dockerfile", "--tag=madrun/x:1",
        "--label=l=v", "--build-arg=A=1 2", "--build-arg=HF_TOKEN",
        "--secret=id=MAD_SECRETS_HFTOKEN,env=MAD_SECRETS_HFTOKEN", "--no-cache", "-",
    ]  # fmt: skip


def test_a_file_of_the_context_that_has_gone_is_named(tmp_path):
    with pytest.raises(BuildError, match=rf"cannot be packed: {tmp_path}/gone: No such file"):
        archive({"gone": tmp_path / "gone"})


def test_equal_contexts_are_equal_archives(tmp_path):
    def pack(name, mode):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "a").write_text("x")
        (folder / "a").chmod(mode)
        (folder / "l").symlink_to("a")
        with archive({"d": folder, "d/a": folder / "a", "d/l": folder / "l"}) as packed:
            return packed.read()

    first = pack("first", 0o600)
    assert pack("second", 0o664) == first
    assert pack("third", 0o755) != first
    assert Path(tmp_path / "first/a").stat().st_mode & 0o777 == 0o600
