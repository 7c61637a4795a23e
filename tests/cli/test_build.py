"""`madrun build` prepares each image once, whatever becomes of the others. The engine is a fake."""

import json
from types import SimpleNamespace

import pytest

from madrun.cli import build
from madrun.cli.leftout import LeftOut
from madrun.cli.madoptions import BuildFiles
from madrun.cli.options import RunOptions
from madrun.cli.request import make_request
from madrun.errors import BuildError, ContextError, EngineError, ExitCode, UsageError
from madrun.runtimes import images
from madrun.spec.plan import ImagePlan


@pytest.fixture
def run(monkeypatch, tmp_path, make_job, make_facts, capfd):
    """Runs the command over cards given as (name, image); returns exit code, output and the images asked for."""

    def start(
        *cards,
        as_json=False,
        engine="a client",
        outcome=None,
        secrets=None,
        building=None,
        left_out=(),
        stop=None,
        **flags,
    ):
        planned = [
            SimpleNamespace(
                card=SimpleNamespace(name=name, tags=(), warnings=()),
                plan=SimpleNamespace(job=make_job(image=image)),
                image_context={},
                secrets=secrets or {},
            )
            for name, image in cards
        ]
        facts = make_facts(engine_absent="nothing answers at /x.sock")
        prepared = SimpleNamespace(
            engine=engine, facts=facts, planned=planned, images=images.Policy(), left_out=left_out, stop=stop
        )
        asked = []

        def ensure(place, image, context, watch):
            asked.append(image)
            watch.line(f"working on {image.name}")
            return (outcome or found)(image)

        monkeypatch.setattr(build, "prepare", lambda request, leave_out: prepared)
        monkeypatch.setattr(build, "of_every_card", lambda request: request)
        monkeypatch.setattr(build.images, "ensure", ensure)
        request = SimpleNamespace(results=tmp_path, flags=flags, building=building or BuildFiles())
        code = build.build_images(request, as_json)
        out, err = capfd.readouterr()
        return SimpleNamespace(code=code, out=out, err=err, asked=asked)

    return start


def found(image):
    return images.Prepared(id="sha256:i", identity=f"sha256:of-{image.name}", seconds=1.25, how="built")


def fails_for(name):
    def outcome(image):
        if image.name == name:
            raise BuildError(f"image {name}: the step failed")
        return found(image)

    return outcome


ONE, TWO = ImagePlan(kind="build", name="madrun/one:1"), ImagePlan(kind="ready", name="reg/two:2")


def test_an_image_that_cards_share_is_built_once_and_printed_with_them(run):
    done = run(("a", ONE), ("b", TWO), ("c", ONE))
    assert done.code == ExitCode.OK
    assert sorted(image.name for image in done.asked) == [ONE.name, TWO.name]
    first, second = done.out.splitlines()
    assert first.split()[:2] == ["madrun/one:1", "built"]
    assert "1.25 s  sha256:of-madrun/one:1  (a, c)" in first
    assert "(b)" in second
    assert "working on reg/two:2" in done.err


def test_a_card_that_is_wrong_has_a_row_and_the_others_are_built(run, tmp_path):
    wrong = LeftOut(name="bad", reason="models.json: bad: no Dockerfile fits", kind="card")
    building = BuildFiles(summary_output=str(tmp_path / "sum.json"))
    done = run(("a", ONE), left_out=[wrong], building=building)
    assert done.code == ExitCode.USAGE
    assert [line.split()[:2] for line in done.out.splitlines()] == [["-", "failed"], ["madrun/one:1", "built"]]
    assert "error: models.json: bad: no Dockerfile fits" in done.err
    summary = json.loads((tmp_path / "sum.json").read_text())
    assert (summary["successful_builds"], summary["failed_builds"]) == (["a"], ["bad"])
    assert [row["error"] for row in json.loads(run(("a", ONE), left_out=[wrong], as_json=True).out)] == [
        "models.json: bad: no Dockerfile fits",
        "",
    ]


def test_a_wrong_context_ends_a_build_before_anything_is_built(run):
    with pytest.raises(ContextError, match="docker_gpus"):
        run(("a", ONE), stop=ContextError("docker_gpus: found 0"))


def test_images_are_built_also_for_cards_that_are_not_to_be_run_here():
    options = build.of_every_card(make_request(RunOptions(tags=["a"]))).repository
    assert (options.ignore_deprecated, options.disable_skip_gpu_arch) == (True, True)


def test_a_build_that_fails_is_exit_code_2_and_the_others_are_built(run):
    done = run(("a", ONE), ("b", TWO), outcome=fails_for(ONE.name))
    assert done.code == ExitCode.USAGE
    assert [line.split()[1] for line in done.out.splitlines()] == ["failed", "built"]
    assert "error: image madrun/one:1: the step failed" in done.err


def test_as_json_standard_output_is_the_rows_alone(run, tmp_path):
    done = run(("a", ONE), ("b", TWO), as_json=True, outcome=fails_for(TWO.name))
    one, two = json.loads(done.out)
    log = tmp_path / "builds" / "madrun_one_1.log"
    assert one == {
        "image": "madrun/one:1", "cards": ["a"], "how": "built", "identity": "sha256:of-madrun/one:1",
        "id": "sha256:i", "seconds": 1.25, "log": str(log), "error": "",
        "tag": "", "registry_image": "",
    }  # fmt: skip
    assert (two["how"], two["error"]) == ("failed", "image reg/two:2: the step failed")
    assert log.read_text() == "working on madrun/one:1\n"


def test_secrets_reach_the_build_and_neither_screen_nor_log(run, tmp_path):
    image = ImagePlan(kind="build", name="m:1", build_args={"HF_TOKEN": "{secret}", "A": "1"})

    def outcome(image):
        raise BuildError(f"image m:1: token {image.build_args['HF_TOKEN']} was refused")

    done = run(("a", image), outcome=outcome, secrets={"HF_TOKEN": "s3cr3t-value"}, as_json=True)
    assert done.asked[0].build_args == {"HF_TOKEN": "s3cr3t-value", "A": "1"}
    assert "s3cr3t" not in done.out + done.err
    assert json.loads(done.out)[0]["error"] == "image m:1: token *** was refused"


def test_without_an_engine_there_is_nothing_to_build_with(run):
    with pytest.raises(EngineError, match="nothing answers at /x.sock"):
        run(("a", ONE), engine=None)


def test_the_process_runtime_has_nothing_to_build(run):
    with pytest.raises(EngineError, match="--runtime: found process, which has no images to build; allowed: auto"):
        run(("a", ONE), engine=None, runtime="process")


def test_a_card_for_the_process_runtime_is_named(run):
    with pytest.raises(UsageError, match=r"found b with runtime process"):
        run(("a", ONE), ("b", ImagePlan(kind="none")))


def test_a_log_that_cannot_be_written_is_an_error_of_results(run, tmp_path):
    (tmp_path / "builds").write_text("")
    with pytest.raises(UsageError, match=r"--results: .*builds.* cannot be written: "):
        run(("a", ONE))


def test_lines_of_images_that_are_built_at_once_say_of_which_they_are(run):
    done = run(("a", ONE), ("b", TWO))
    assert "[madrun/one:1] working on madrun/one:1" in done.err
    assert "[reg/two:2] working on reg/two:2" in done.err
    assert "[" not in run(("a", ONE)).err


def test_an_image_is_built_for_each_target_architecture(run):
    one = ImagePlan(kind="build", name="madrun/x:1", recipe="r", dockerfile="x.ubuntu.Dockerfile", tag="ci-a_x.ubuntu")
    done = run(("a", one), building=BuildFiles(target_archs=["gfx942,gfx90a"]))
    first, second = sorted(done.asked, key=lambda image: image.name)
    assert first.build_args["MAD_SYSTEM_GPU_ARCHITECTURE"] == "gfx90a"
    assert (first.tag, second.tag) == ("ci-a_x.ubuntu_gfx90a", "ci-a_x.ubuntu_gfx942")
    assert first.name != second.name


def test_a_target_architecture_that_is_no_name_is_refused(run):
    with pytest.raises(UsageError, match=r"--target-archs: found 'a b', allowed: names of architectures"):
        run(("a", ONE), building=BuildFiles(target_archs=["a b"]))


def test_a_summary_names_what_was_built_and_what_failed(run, tmp_path):
    file = tmp_path / "s.json"
    run(("a", ONE), ("b", TWO), outcome=fails_for(ONE.name), building=BuildFiles(summary_output=str(file)))
    summary = json.loads(file.read_text())
    assert (summary["successful_builds"], summary["failed_builds"]) == (["b"], ["a"])
