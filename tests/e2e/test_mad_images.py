"""The images of a MAD repository as a user meets them: secrets, builds beside a run, manifests, no cache."""

import json
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from docker.errors import ImageNotFound

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.beside]
SECRET = "s3cret-of-this-test"


@pytest.fixture
def mad(docker_repository: Any, engine: Any, tmp_path: Path) -> Any:
    """Writes a MAD repository of cards, given as name=lines of a Dockerfile, and returns how to run madrun in it."""
    root = tmp_path / "mad"
    (root / "scripts/x").mkdir(parents=True)
    (root / "docker").mkdir()
    (root / "scripts/x/run.sh").write_text("sleep 1; echo performance: 1 speed\n")

    def write(**cards: str) -> Path:
        entries = []
        for name, text in cards.items():
            head = "# CONTEXT {'gpu_vendor': 'CPU'}\nARG BASE_DOCKER=" + docker_repository.image
            at = f"ENV AT={tmp_path}/{name}"
            (root / f"docker/{name}.cpu.Dockerfile").write_text(f"{head}\nFROM $BASE_DOCKER\n{at}\n{text}\n")
            entries.append(
                {"name": name, "dockerfile": f"docker/{name}", "scripts": "scripts/x/run.sh", "n_gpus": "1", "args": ""}
            )
        (root / "models.json").write_text(json.dumps(entries))
        return root

    yield write
    for image in engine.images(filters={"label": "madrun.recipe"}):
        at = engine.inspect_image(image["Id"])["Config"]["Env"] or []
        if any(str(entry).startswith(f"AT={tmp_path}/") for entry in at):
            for name in image["RepoTags"] or []:
                with suppress(ImageNotFound):
                    engine.remove_image(name, force=True)


def run(root: Path, repository: Any, *words: str) -> "subprocess.CompletedProcess[str]":
    repository.folder = root
    done: subprocess.CompletedProcess[str] = repository.run(*words, MAD_SECRETS_T=SECRET)
    return done


def records(root: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(root.glob("results/runs/*/record.json"))]


def test_the_next_image_is_built_while_the_first_card_runs(docker_repository: Any, mad: Any) -> None:
    mount = "RUN --mount=type=secret,id=MAD_SECRETS_T grep -q s3cret /run/secrets/MAD_SECRETS_T"
    root = mad(first="", second=f"{mount}\nRUN echo said by the second", third="RUN exit 7")
    done = run(root, docker_repository, "run", "--tags", "first", "second", "third", "--manifest-output", "m.json")
    assert done.returncode == 2, done.stderr
    first, second, third = records(root)
    assert [one["status"] for one in (first, second, third)] == ["SUCCESS", "SUCCESS", "FAILURE"], done.stdout
    assert second["provenance"]["docker_image"] in first["provenance"]["images_made_meanwhile"]
    assert second["provenance"]["mad_image"] == "ci-second_second.cpu"
    assert f"[{second['provenance']['docker_image']}] building" in done.stderr
    log = root / "results/runs" / second["run_id"] / "node-0/build.log"
    assert "said by the second" in log.read_text()
    rows = (root / "perf.csv").read_text()
    assert all(name in rows for name in ("first", "second", "third"))
    seen = [path for path in root.rglob("*") if path.is_file() and SECRET in path.read_text(errors="replace")]
    assert seen == []
    manifest = json.loads((root / "m.json").read_text())
    assert sorted(manifest["built_models"]) == ["ci-first_first.cpu", "ci-second_second.cpu"]
    assert manifest["summary"]["failed_builds"] == ["third"]


def test_a_card_that_is_wrong_does_not_keep_the_others_from_their_images(docker_repository: Any, mad: Any) -> None:
    root = mad(good="", lost="")
    (root / "docker/lost.cpu.Dockerfile").unlink()
    done = run(root, docker_repository, "build", "--tags", "all")
    assert done.returncode == 2
    first, second = done.stdout.splitlines()
    assert first.split()[:2] == ["-", "failed"]
    assert "(lost)" in first
    assert second.split()[1] == "built"
    assert "(good)" in second
    assert "lost: no Dockerfile fits this run" in done.stderr


def test_a_manifest_runs_the_images_that_it_names(docker_repository: Any, mad: Any) -> None:
    root = mad(one="RUN exit 7", two="")
    image = {"docker_image": docker_repository.image}
    said = {"built_images": {"a": image, "b": {}}, "context": {"docker_env_vars": {"FROM_MANIFEST": "yes"}}}
    models = {"a": {"name": "one"}, "b": {"name": "two"}}
    (root / "m.json").write_text(json.dumps({**said, "built_models": models}))
    (root / "scripts/x/run.sh").write_text("echo performance: 1 $FROM_MANIFEST\n")
    done = run(root, docker_repository, "run", "-m", "m.json")
    one, two = records(root)
    assert (one["status"], one["metrics"][0]["metric"]) == ("SUCCESS", "yes"), done.stderr
    assert two["status"] == "FAILURE"
    assert "image b: not on this host, and the manifest says of no registry that has it" in done.stdout


def test_pull_asks_the_registry_of_a_base_that_lies_here(docker_repository: Any, mad: Any, engine: Any) -> None:
    root = mad(one="")
    base = "127.0.0.1:1/base"  # where nothing answers
    engine.tag(docker_repository.image, base, tag="1")
    try:
        words = ("build", "--tags", "one", "-c", json.dumps({"docker_build_arg": {"BASE_DOCKER": f"{base}:1"}}))
        assert run(root, docker_repository, *words).returncode == 0
        done = run(root, docker_repository, *words, "--pull")
        assert done.returncode == 2
        assert f"pulling {base}:1" in done.stderr
        assert f"{base}:1" in done.stdout + done.stderr
    finally:
        engine.remove_image(f"{base}:1", force=True, noprune=True)
