"""What is written for a MAD card, and what is refused."""

import json
import stat

import pytest

from madrun.errors import UsageError
from madrun.registry.migrate.migration import migrate

FIELDS = {
    "args": "--a 'x y' --b $HOME",
    "tags": ["t", "u"],
    "timeout": 86400,
    "n_gpus": "8",
    "multiple_results": "perf.csv",
    "training_precision": "bf16",
}


def test_every_shared_field_is_carried_over(checkout):
    checkout.cards(FIELDS | {"data": "d"})
    checkout.write("data.json", '{"d": {"local": {"path": "data/d"}}, "other": {}}')
    outcome = checkout.migrate()
    assert (outcome.failed, outcome.notes, outcome.written) == ([], {}, {"a": ("a",)})
    card = checkout.native()["a"]
    assert (card.args, card.tags, card.timeout_s, card.gpus_per_node) == (FIELDS["args"], ("t", "u"), 86400, 8)
    assert (card.multiple_results, card.training_precision, card.data) == ("perf.csv", "bf16", ("d",))
    known = json.loads((checkout.target / "data.json").read_text())
    assert known == {"d": {"local": {"path": str(checkout.folder / "data/d")}}}


@pytest.mark.parametrize(("said", "means"), [(-1, 0), (0, 0), (None, None), (90, 90)])
def test_a_time_limit_means_the_same(checkout, said, means):
    checkout.cards({} if said is None else {"timeout": said})
    checkout.migrate()
    assert checkout.native()["a"].timeout_s == means


def test_a_script_that_needs_nothing_is_copied_beside_the_card_with_its_mode(checkout):
    helper = checkout.write("scripts/a/lib/help.sh", "echo\n")
    helper.chmod(0o755)
    checkout.migrate()
    home = checkout.target / "models/a"
    assert (home / "run.sh").read_text() == 'echo "performance: $1 tok"\n'
    assert stat.S_IMODE((home / "lib/help.sh").stat().st_mode) == 0o755
    assert not (checkout.target / "scripts").exists()


def test_a_script_that_reaches_out_gets_the_surroundings_that_it_names(checkout):
    checkout.write("scripts/a/run.sh", "bash ../scripts/common/x.sh > ../out; cat ../extra/e /myworkspace/notes.txt\n")
    checkout.write("scripts/common/x.sh", "echo\n")
    checkout.write("scripts/other/y.sh", "echo\n")
    checkout.write("extra/e", "1")
    checkout.write("notes.txt", "2")
    checkout.write("credential.json", "{}")
    checkout.migrate()
    home = checkout.target / "models/a"
    assert checkout.native()["a"].script == "run.sh"
    assert "bash run.sh" in (home / "run.sh").read_text()
    assert (home / "run_directory/run.sh").read_text().startswith("bash ../scripts/common")
    assert (home / "scripts/common/x.sh").is_file()
    assert (home / "extra/e").read_text() + (home / "notes.txt").read_text() == "12"
    assert not (checkout.target / "scripts/other").exists()
    assert not (checkout.target / "credential.json").exists()


def test_a_python_script_runs_without_the_runner_as_it_did(checkout):
    checkout.write("scripts/a/x.py", "print('performance: 1 x')\n")
    checkout.cards({"scripts": "scripts/a/x.py"})
    checkout.migrate()
    assert 'python3 x.py "$@"' in (checkout.target / "models/a/run.sh").read_text()


def test_the_images_go_by_the_vendor_of_the_header(checkout):
    checkout.write("docker/a.ubuntu.nvidia.Dockerfile", HEADER_OF("NVIDIA"))
    checkout.write("docker/other.Dockerfile", HEADER_OF("AMD"))
    checkout.write("docker/requirements.txt", "x")
    checkout.migrate()
    images = checkout.native()["a"].images
    assert {vendor: source.dockerfile for vendor, source in images.items()} == {
        "amd": "../../docker/a.ubuntu.amd.Dockerfile",
        "nvidia": "../../docker/a.ubuntu.nvidia.Dockerfile",
    }
    assert {source.context for source in images.values()} == {"docker"}
    copied = sorted(path.name for path in (checkout.target / "docker").iterdir())
    assert copied == ["a.ubuntu.amd.Dockerfile", "a.ubuntu.nvidia.Dockerfile", "requirements.txt"]


def HEADER_OF(vendor):
    return f"# CONTEXT {{'gpu_vendor': '{vendor}'}}\nFROM base\n"


def test_a_dockerfile_without_a_vendor_serves_all_that_are_left(checkout):
    checkout.write("docker/a.any.Dockerfile", "# CONTEXT {}\nFROM base\n")
    checkout.migrate()
    images = checkout.native()["a"].images
    assert {vendor: source.dockerfile[13:] for vendor, source in images.items()} == {
        "amd": "a.ubuntu.amd.Dockerfile",
        "nvidia": "a.any.Dockerfile",
        "cpu": "a.any.Dockerfile",
    }


def test_a_second_dockerfile_of_one_vendor_is_named_and_left_out(checkout):
    checkout.write("docker/a.centos.amd.Dockerfile", HEADER_OF("AMD"))
    (note,) = checkout.migrate().notes["a"]
    assert note.startswith("docker/a.ubuntu.amd.Dockerfile: left out: amd has one already")


def test_a_dockerfile_that_copies_from_the_tools_of_mad_is_named(checkout):
    checkout.write("docker/a.ubuntu.amd.Dockerfile", HEADER_OF("AMD") + "COPY --from=tools x /x\n")
    (note,) = checkout.migrate().notes["a"]
    assert "copies from `tools`" in note


def test_a_build_over_the_whole_repository_takes_what_the_dockerfile_copies(checkout):
    checkout.write("docker/a.ubuntu.amd.Dockerfile", HEADER_OF("AMD") + "COPY scripts/a /a\nCOPY --from=x y z\n")
    checkout.write("scripts/b/secret.sh", "echo\n")
    checkout.cards({"dockercontext": "."})
    checkout.migrate()
    assert (checkout.target / "scripts/a/run.sh").is_file()
    assert not (checkout.target / "scripts/b").exists()
    assert checkout.native()["a"].images["amd"].context == "."


LOST = {
    "url": "https://x/y",
    "cred": "KEY",
    "skip_gpu_arch": "gfx942",
    "additional_docker_run_options": "--x",
    "is_deprecated": True,
    "distributed": {"nnodes": 2},
    "slurm": {"nodes": 2},
    "env_vars": {"A": "b"},
    "log_error_patterns": ["oops"],
    "nnodes": 2,
}


@pytest.mark.parametrize("field", LOST)
def test_what_has_no_place_is_said_on_the_card_and_to_the_caller(checkout, field):
    checkout.cards({field: LOST[field]})
    (note,) = checkout.migrate().notes["a"]
    assert "not carried over" in note
    assert field.replace("log_error_patterns", "log_error_") in note
    assert note in (checkout.target / "models/a/model.yaml").read_text()


def test_variables_that_only_mad_cards_get_are_named(checkout):
    checkout.write("scripts/a/run.sh", 'echo "${MAD_SYSTEM_GPU_ARCHITECTURE} $MAD_MODEL_NAME"\n')
    checkout.write("scripts/a/of_another_card.sh", "echo $MAD_GUEST_OS\n")
    (note,) = checkout.migrate().notes["a"]
    assert "MAD_SYSTEM_GPU_ARCHITECTURE:" in note
    checkout.target = checkout.target.with_name("second")
    checkout.write("scripts/a/run.sh", "bash of_another_card.sh\n")
    (note,) = checkout.migrate().notes["a"]
    assert "MAD_GUEST_OS:" in note


def test_cards_that_differ_little_are_variants_of_one(checkout):
    checkout.cards({"args": "--x 1", "timeout": 5}, {"name": "b", "tags": ["t", "more"]}, {"name": "c", "tags": ["u"]})
    outcome = checkout.migrate()
    assert outcome.written == {"a": ("a", "b"), "c": ("c",)}
    cards = checkout.native()
    assert {name: (card.args, card.timeout_s, card.tags) for name, card in cards.items()} == {
        "a": ("--x 1", 5, ("t",)),
        "b": ("", None, ("t", "more")),
        "c": ("", None, ("u",)),
    }


def test_a_nested_card_keeps_its_folder_as_part_of_the_name_and_as_a_tag(checkout):
    card = {"name": "inner", "dockerfile": "../../docker/a", "scripts": "run.sh", "n_gpus": "1", "tags": ["x"]}
    checkout.write("scripts/a/models.json", json.dumps([card]))
    checkout.migrate()
    assert checkout.native()["a__inner"].tags == ("x", "a")
    assert not list(checkout.target.glob("**/models.json"))


def test_a_ready_image_is_taken_for_every_accelerator(checkout):
    checkout.cards({"dockerfile": "", "env_vars": {"DOCKER_IMAGE_NAME": "r/i:1"}})
    checkout.migrate()
    images = checkout.native()["a"].images
    assert {vendor: source.image for vendor, source in images.items()} == dict.fromkeys(
        ["amd", "nvidia", "cpu"], "r/i:1"
    )


IMPOSSIBLE = [
    ({"scripts": "scripts/a/gone.sh"}, "does not exist"),
    ({"scripts": "scripts/a/x.slurm"}, "allowed: a .sh or a .py file"),
    ({"dockerfile": "docker/gone"}, "no Dockerfile docker/gone.*"),
    ({"args": "--x 'open"}, "unbalanced quote"),
]


@pytest.mark.parametrize(("change", "text"), IMPOSSIBLE)
def test_a_card_that_cannot_be_migrated_is_named_and_the_others_are(checkout, change, text):
    checkout.write("scripts/a/x.slurm", "echo\n")
    checkout.cards({}, {"name": "b"} | change)
    outcome = checkout.migrate()
    (error,) = outcome.failed
    assert text in str(error)
    assert "b" in str(error)
    assert set(checkout.native()) == {"a"}


def test_two_cards_that_would_get_one_name_are_not_merged(checkout):
    checkout.cards({}, {"name": "a__b"})
    checkout.write("scripts/a/models.json", '[{"name": "b", "dockerfile": "../../docker/a", "scripts": "run.sh"}]')
    (error,) = checkout.migrate().failed
    assert "taken by" in str(error)


def test_nothing_is_replaced_and_nothing_half_done_stays(checkout):
    checkout.target.mkdir()
    checkout.migrate()
    with pytest.raises(UsageError, match="not empty"):
        migrate([], checkout.folder, checkout.target)
    other = checkout.target.with_name("file")
    other.write_text("")
    with pytest.raises(UsageError, match="no folder"):
        migrate([], checkout.folder, other)
    checkout.target = checkout.target.with_name("second")
    checkout.cards({"dockerfile": "docker/gone"})
    assert checkout.migrate().written == {}
    assert sorted(path.name for path in checkout.target.parent.iterdir()) == ["file", "mad", "native"]
