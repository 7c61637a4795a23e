"""compose.yaml, by golden files and by what it must never hold."""

import shutil
import subprocess

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from madrun.backends.compose import render as compose
from madrun.backends.compose.backend import read, render
from madrun.backends.jobimage import job_image
from madrun.errors import ContextError
from madrun.spec.launch import NodeStart

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=20)

SERVICE = compose._service


def rendered(launch, nnodes=2, **values):
    """Its files for a launch of compose; `launch` makes it."""
    chosen, count = read({"user": "1000:1001", **values}, nnodes)
    return render(launch(backend="compose", nnodes=count), chosen)


def services(files):
    return yaml.safe_load(files["compose.yaml"])["services"]


GOLDEN = {
    "cpu": {},
    "nvidia": {"vendor": "nvidia", "image": "me/img:1", "gpus_per_node": 4, "madrun": "installed"},
    "amd": {"vendor": "amd", "image": "me/img:1", "gpus_per_node": 2, "mounts": {"/data": "/nfs/data:ro"}},
    "own": {
        "service": {"dns": ["10.0.0.2"], "environment": {"A": "$b"}, "cap_add": ["IPC_LOCK"]},
        "shm_size": "1g",
        "ulimits": {"memlock": -1},
        "stop_grace": 5,
    },
}


@pytest.mark.parametrize("name", GOLDEN)
def test_the_files_are_those_that_were_looked_at(launch, golden, name):
    golden(name, rendered(launch, **GOLDEN[name]))


def test_each_node_has_its_rank_and_all_have_node_0_as_master(launch):
    found = services(rendered(launch, nnodes=3))
    ranks = {name: one["environment"]["MADRUN_NODE_RANK"] for name, one in found.items()}
    assert ranks == {"node-0": "0", "node-1": "1", "node-2": "2"}
    assert {one["environment"]["MADRUN_MASTER_ADDR"] for one in found.values()} == {"node-0"}
    assert ["depends_on" in one for one in found.values()] == [False, True, True]


@pytest.mark.parametrize("name", GOLDEN)
def test_a_node_of_many_has_what_it_would_have_by_itself(launch, name):
    """All but the first are written as one with other numbers: no number of theirs may be taken for another's."""
    like = {"service": {"labels": {"a": "1000000000007", "b": "8000000000056", "c": "01000000000008"}}}
    chosen, count = read({"user": "1000:1001", **like, **GOLDEN[name]}, 13)
    one = launch(backend="compose", nnodes=count)
    found = services(render(one, chosen))
    assert list(found) == [f"node-{rank}" for rank in range(13)]
    for rank, host in enumerate(found):
        made = compose._service(
            one, chosen, NodeStart(rank, host, "node-0"), job_image(one, chosen.image, chosen.vendor)
        )
        assert found[host] == yaml.safe_load(compose._yaml(made)), host


def test_ten_thousand_nodes_take_the_work_of_a_few(launch, monkeypatch):
    """Written one by one they would take 20 s."""
    calls = []
    monkeypatch.setattr(compose, "_service", lambda *words: calls.append(words) or SERVICE(*words))
    found = rendered(launch, nnodes=10_000)["compose.yaml"]
    assert found.count("MADRUN_NODE_RANK") == 10_000
    assert "node-9999:\n    image" in found
    assert len(calls) < 5


def test_an_address_of_the_user_counts(launch):
    chosen, count = read({}, 2)
    files = render(launch(backend="compose", nnodes=count, master_addr="10.9.8.7"), chosen)
    assert {one["environment"]["MADRUN_MASTER_ADDR"] for one in services(files).values()} == {"10.9.8.7"}


def test_no_two_nodes_get_the_same_gpu(launch):
    found = services(rendered(launch, nnodes=4, vendor="nvidia", image="i", gpus_per_node=2)).values()
    devices = [one["deploy"]["resources"]["reservations"]["devices"][0]["device_ids"] for one in found]
    assert devices == [["0", "1"], ["2", "3"], ["4", "5"], ["6", "7"]]
    found = services(rendered(launch, nnodes=2, vendor="amd", image="i", gpus_per_node=2)).values()
    assert [one["environment"]["ROCR_VISIBLE_DEVICES"] for one in found] == ["0,1", "2,3"]


def test_nothing_private_is_in_the_files(launch):
    assert [text for text in rendered(launch).values() if "SECRET" in text or "HF_TOKEN" in text] == []


@pytest.mark.slow
@settings(max_examples=20)
@given(folder=TEXT, results=TEXT, target=TEXT)
def test_any_path_stands_in_the_file_as_compose_will_read_it(launch, folder, results, target):
    chosen, _ = read({"mounts": {f"/{target}": "/here"}}, 1)
    one = launch(backend="compose", nnodes=1, folder=f"/{folder}", results=f"/{results}")
    (service,) = services(render(one, chosen)).values()
    # https://docs.docker.com/reference/compose-file/interpolation/: `$$` is a dollar sign
    places = [mount["target"].replace("$$", "$") for mount in service["volumes"]]
    assert places == [*dict.fromkeys(("/repo", f"/{results}", f"/{folder}")), f"/{target}"]
    assert service["entrypoint"][1].replace("$$", "$") == f"/{folder}/node.sh"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"imgae": "x"}, "compose.imgae: unknown key (did you mean 'image'?)"),
        ({"gpus_per_node": 0}, "compose.gpus_per_node: found 0 (int), allowed: a number >= 1"),
        ({"vendor": "intel"}, "compose.vendor: found 'intel' (str), allowed: 'amd', 'nvidia' or 'cpu'"),
        ({"mounts": {"data": "/x"}}, "compose.mounts: found 'data': '/x', allowed: absolute paths"),
        ({"mounts": {"/data": "x"}}, "compose.mounts: found '/data': 'x', allowed: absolute paths"),
    ],
)
def test_a_wrong_setting_is_named_with_what_is_allowed(values, said):
    with pytest.raises(ContextError) as caught:
        read(values, 2)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "values", "said"),
    [
        ({"images": {"cpu": ""}}, {}, "compose.image: is missing, and one names no ready image"),
        ({"images": {}}, {}, "compose.image: is missing, and one names no ready image"),
        ({"images": {"cpu": "a", "amd": "b"}}, {}, "compose.vendor: is missing, and one has images for amd, cpu"),
        ({}, {"vendor": "amd"}, "compose.vendor: found 'amd', but one has images for cpu"),
        ({"cards": ("one", "two")}, {}, "--on compose: found the cards one, two, whose images may differ"),
        ({}, {"gpus_per_node": 1}, "compose.gpus_per_node: found 1, but the image is for cpu"),
        ({"images": {"amd": "a"}}, {}, "compose.gpus_per_node: is missing; give how many of this machine's GPUs"),
    ],
)
def test_settings_that_do_not_fit_the_card_are_an_error(launch, changes, values, said):
    chosen, _ = read(values, 2)
    with pytest.raises(ContextError) as caught:
        render(launch(backend="compose", **changes), chosen)
    assert said in str(caught.value)


def test_one_image_may_serve_several_cards(launch):
    chosen, _ = read({"image": "both:1"}, 1)
    (service,) = services(render(launch(backend="compose", cards=("one", "two"), nnodes=1), chosen)).values()
    assert service["image"] == "both:1"


@pytest.mark.slow
def test_shellcheck_finds_nothing_in_the_script_around_it(launch, tmp_path):
    if shutil.which("shellcheck") is None:
        pytest.skip("needs shellcheck")
    (tmp_path / "up.sh").write_text(rendered(launch)["up.sh"])
    done = subprocess.run(["shellcheck", str(tmp_path / "up.sh")], capture_output=True, text=True, timeout=60)
    assert done.stdout == ""


FAKE = """#!/bin/sh
echo "$0 $*" >>"$ASKED"
case "$*" in *" up "*) if [ -n "${SIGNAL:-}" ]; then kill -s "$SIGNAL" "$PPID"; fi; exit "$UP" ;; esac
case "$*" in "compose version") exit "$VERSION" ;; esac
"""


@pytest.fixture
def bring_up(launch, tmp_path):
    """Runs up.sh with programs of this test as docker and docker-compose: its exit code, and what it asked them."""

    def start(up=0, version=0, signal=""):
        tools = tmp_path / "tools"
        tools.mkdir()
        for name in ("docker", "docker-compose"):
            (tools / name).write_text(FAKE)
            (tools / name).chmod(0o755)
        chosen, _ = read({}, 1)
        one = launch(backend="compose", nnodes=1, results=str(tmp_path / "it's $here"))
        (tmp_path / "up.sh").write_text(render(one, chosen)["up.sh"])
        asked = tmp_path / "asked"
        env = {"PATH": f"{tools}:/usr/bin:/bin", "ASKED": str(asked), "UP": str(up), "VERSION": str(version)}
        done = subprocess.run(
            ["sh", str(tmp_path / "up.sh")],
            env=env | {"SIGNAL": signal},
            timeout=30,
            start_new_session=True,
            check=False,
        )
        assert (tmp_path / "it's $here").is_dir()
        return done.returncode, [line.removeprefix(f"{tools}/") for line in asked.read_text().splitlines()]

    return start


P = "-p madrun-20261121t000000z-one-a1b2c3 -f compose.yaml"


def test_the_script_ends_with_node_0s_code_and_takes_all_down(bring_up):
    code, asked = bring_up(up=3)
    assert code == 3
    assert asked == [
        "docker compose version",
        f"docker compose {P} up --abort-on-container-exit --exit-code-from node-0",
        f"docker compose {P} down --timeout 30",
    ]


def test_the_older_program_is_taken_where_the_newer_is_missing(bring_up):
    code, asked = bring_up(version=1)
    assert code == 0
    assert [line.split()[0] for line in asked] == ["docker", "docker-compose", "docker-compose"]


@pytest.mark.parametrize("signal", ["INT", "TERM", "HUP"])
def test_an_interrupted_script_takes_all_down_and_is_no_success(bring_up, signal):
    code, asked = bring_up(signal=signal)
    assert code == 130
    assert asked[-1].endswith("down --timeout 30")
