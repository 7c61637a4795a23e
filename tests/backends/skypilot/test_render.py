"""task.yaml, by golden files, and by what SkyPilot's format allows."""

import shutil
import subprocess

import pytest
import yaml

from madrun.backends.skypilot.backend import read, render
from madrun.errors import ContextError

# https://docs.skypilot.co/en/latest/reference/yaml-spec.html
KEYS = {"name", "num_nodes", "resources", "workdir", "file_mounts", "secrets", "setup", "run"}

GOLDEN = {
    "cpu": {"cpus": "4+"},
    "gpus": {"vendor": "nvidia", "image": "me/img:1", "accelerators": "H100:8", "infra": "aws", "use_spot": False},
    "own": {"resources": {"disk_tier": "best", "any_of": [{"infra": "gcp"}]}, "setup": "a\nb\n", "madrun": "installed"},
}


def rendered(launch, nnodes=2, **values):
    chosen, count = read(values, nnodes)
    return render(launch(backend="skypilot", nnodes=count), chosen)


@pytest.mark.parametrize("name", GOLDEN)
def test_the_files_are_those_that_were_looked_at(launch, golden, name):
    golden(name, rendered(launch, **GOLDEN[name]))


@pytest.mark.parametrize("name", GOLDEN)
def test_the_task_has_keys_that_skypilot_knows_with_values_of_their_types(launch, name):
    task = yaml.safe_load(rendered(launch, **GOLDEN[name])["task.yaml"])
    assert set(task) <= KEYS
    assert type(task["num_nodes"]) is int
    assert task["resources"]["image_id"].startswith("docker:")
    assert {type(text) for text in (*task["file_mounts"], *task["file_mounts"].values())} == {str}


def test_secrets_are_named_and_their_values_come_with_the_command(launch):
    files = rendered(launch)
    assert yaml.safe_load(files["task.yaml"])["secrets"] == {"HF_TOKEN": None, "MADRUN_SECRET": None}
    assert "--secret HF_TOKEN --secret MADRUN_SECRET task.yaml" in files["up.sh"]
    assert "private.env" not in files["task.yaml"]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"acclerators": "x"}, "skypilot.acclerators: unknown key (did you mean 'accelerators'?)"),
        ({"use_spot": "maybe"}, "skypilot.use_spot: found 'maybe' (str), allowed: true or false"),
        ({"resources": "H100"}, "skypilot.resources: found 'H100' (str), allowed: a map of names to values"),
    ],
)
def test_a_wrong_setting_is_named_with_what_is_allowed(values, said):
    with pytest.raises(ContextError) as caught:
        read(values, 2)
    assert said in str(caught.value)


def test_an_image_for_gpus_needs_machines_with_gpus(launch):
    with pytest.raises(ContextError, match="skypilot.accelerators: is missing, and the image is for amd"):
        rendered(launch, vendor="amd", image="i")
    assert "MI300X:8" in rendered(launch, vendor="amd", image="i", accelerators="MI300X:8")["task.yaml"]


FAKE = """#!/bin/sh
echo "$(basename "$0") $*" >>"$ASKED"
case "$(basename "$0") $*" in
"sky launch "*) echo "token $HF_TOKEN" >>"$ASKED"
  if [ -n "${SIGNAL:-}" ]; then kill -s "$SIGNAL" "$PPID"; fi; exit "$LAUNCH" ;;
rsync*) exit "$RSYNC" ;;
esac
"""


@pytest.fixture
def bring_up(launch, tmp_path):
    """Runs up.sh with programs of this test as sky and rsync: its exit code, and what it asked them."""

    def start(code=0, rsync=0, signal=""):
        for name in ("sky", "rsync"):
            (tmp_path / name).write_text(FAKE)
            (tmp_path / name).chmod(0o755)
        chosen, _ = read({}, 1)
        one = launch(backend="skypilot", nnodes=1, results=str(tmp_path / "it's $here"))
        (tmp_path / "up.sh").write_text(render(one, chosen)["up.sh"])
        (tmp_path / "private.env").write_text("export HF_TOKEN=geheim\n")
        asked = tmp_path / "asked"
        env = {"PATH": f"{tmp_path}:/usr/bin:/bin", "ASKED": str(asked), "LAUNCH": str(code), "RSYNC": str(rsync)}
        words = ["sh", str(tmp_path / "up.sh")]
        done = subprocess.run(words, env=env | {"SIGNAL": signal}, timeout=60, start_new_session=True, check=False)
        return done.returncode, asked.read_text().splitlines()

    return start


NAME = "madrun-20261121t000000z-one-a1b2c3"


def test_the_script_brings_the_results_and_ends_with_the_tasks_code(bring_up, tmp_path):
    code, asked = bring_up(code=100)
    assert code == 100
    assert asked == [
        f"sky launch -y -c {NAME} --secret HF_TOKEN --secret MADRUN_SECRET task.yaml",
        "token geheim",
        f"rsync -a {NAME}:madrun-results/ {tmp_path}/it's $here/",
        f"sky down -y {NAME}",
    ]


@pytest.mark.parametrize("signal", ["INT", "TERM", "HUP"])
def test_an_interrupted_script_leaves_no_machines_up(bring_up, signal):
    code, asked = bring_up(signal=signal)
    assert code == 130
    assert asked[-2].startswith("rsync")
    assert asked[-1] == f"sky down -y {NAME}"


def test_machines_whose_results_could_not_be_brought_stay_up(bring_up):
    code, asked = bring_up(rsync=12)
    assert code == 2
    assert asked[-1].startswith("rsync")


@pytest.mark.slow
def test_shellcheck_finds_nothing_in_the_script_around_it(launch, tmp_path):
    if shutil.which("shellcheck") is None:
        pytest.skip("needs shellcheck")
    (tmp_path / "up.sh").write_text(rendered(launch)["up.sh"])
    done = subprocess.run(["shellcheck", str(tmp_path / "up.sh")], capture_output=True, text=True, timeout=60)
    assert done.stdout == ""
