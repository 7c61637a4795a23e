"""Whether a driver is new enough for an image."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.planning.fit import misfit, rocm_note
from madrun.spec.facts import Accelerator, Gpu

# As published images have them: nvidia/cuda 12.8 and 10.2.
CUDA_12_8 = "cuda>=12.8"
CUDA_10_2 = (
    "cuda>=10.2 brand=tesla,driver>=396,driver<397 brand=tesla,driver>=410,driver<411 "
    "brand=tesla,driver>=418,driver<419 brand=tesla,driver>=440,driver<441"
)


def nvidia(driver, cuda):
    return Accelerator(vendor="nvidia", gpus=(Gpu(index=0),), driver=driver, stack=cuda)


@pytest.mark.parametrize(
    ("needs", "driver", "cuda"),
    [
        (CUDA_12_8, "570.124.06", "12.8"),
        (CUDA_12_8, "580.65.06", "13.0"),
        (CUDA_10_2, "418.226.00", "10.1"),
        (CUDA_10_2, "550.54.15", "12.4"),
        (CUDA_12_8, "", ""),
        ("", "470.57.02", "11.4"),
        ("arch>=9.0", "470.57.02", "11.4"),
    ],
)
def test_a_driver_that_meets_one_alternative_fits(needs, driver, cuda):
    assert misfit(nvidia(driver, cuda), "img", {"NVIDIA_REQUIRE_CUDA": needs}) == ""


@pytest.mark.parametrize(
    ("needs", "driver", "cuda"),
    [(CUDA_12_8, "550.54.15", "12.4"), (CUDA_10_2, "430.26", "10.1"), ("cuda>=12.8,driver<600", "610.1", "13.4")],
)
def test_an_older_driver_is_named_with_both_versions(needs, driver, cuda):
    text = misfit(nvidia(driver, cuda), "nvcr.io/x:1", {"NVIDIA_REQUIRE_CUDA": needs})
    assert all(part in text for part in ("nvcr.io/x:1", repr(needs), driver, cuda, "MAD_CONTAINER_IMAGE"))


def test_the_images_own_switch_turns_the_check_off():
    env = {"NVIDIA_REQUIRE_CUDA": CUDA_12_8, "NVIDIA_DISABLE_REQUIRE": "1"}
    assert misfit(nvidia("450.1", "11.0"), "img", env) == ""


def test_other_vendors_are_not_judged_by_cuda():
    assert misfit(Accelerator(), "img", {"NVIDIA_REQUIRE_CUDA": CUDA_12_8}) == ""


@given(st.text(max_size=40), st.text(max_size=12), st.text(max_size=12))
def test_no_text_breaks_the_check(needs, driver, cuda):
    assert isinstance(misfit(nvidia(driver, cuda), "img", {"NVIDIA_REQUIRE_CUDA": needs}), str)


def test_rocm_of_another_major_version_is_a_note():
    amd = Accelerator(vendor="amd", gpus=(Gpu(index=0),), driver="6.8.5", stack="6.2.0")
    assert "ROCm 7.0.0, this host 6.2.0 (driver 6.8.5)" in rocm_note(amd, "img", {"ROCM_VERSION": "7.0.0"})
    assert rocm_note(amd, "img", {"ROCM_VERSION": "6.4.1"}) == ""
    assert rocm_note(amd, "img", {}) == ""
