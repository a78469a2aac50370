"""Which CUDA locked wheels are made for, by their names and versions."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flyte_build.locks.cuda import cuda_of, cuda_of_wheels
from flyte_build.locks.nouns import LockedDeb, LockedPlatform, LockedWheel
from flyte_build.recipe import CondaPackage


def wheels(*pairs: str) -> tuple[LockedWheel, ...]:
    return tuple(LockedWheel(*pair.split(" "), "x.whl", 1, "0" * 64, 1) for pair in pairs)


@pytest.mark.parametrize(
    ("locked", "cuda"),
    [
        ((), ""),
        (("numpy 2.0", "torch 2.5.1+cpu", "torch-cuda 1.0", "cupy-rocm-5-0 13"), ""),
        (("torch 2.5.1", "nvidia-cuda-runtime-cu12 12.4.127", "nvidia-cublas-cu12 12.6.1"), "12.4"),
        (("nvidia-cuda-runtime 13.0.48",), "13.0"),
        (("torch 2.5.1+cu118", "torchvision 0.20.1+cu118"), "11.8"),
        (("torch 2.9.0+cu130", "nvidia-cuda-runtime-cu12 12.8.1"), "13.0"),
        (("torch 1.4.0+cu92",), "9.2"),
        (("jax-cuda13-plugin 0.8.0",), "13"),
        (("cupy-cuda12x 13.3.0",), "12"),
    ],
)
def test_by_name_and_version(locked: tuple[str, ...], cuda: str) -> None:
    assert cuda_of_wheels(wheels(*locked)) == cuda


def test_an_image_that_may_bring_compatibility_libraries_says_nothing() -> None:
    platform = LockedPlatform("bookworm", "", (), wheels("nvidia-cuda-runtime-cu12 12.4.127"))
    assert cuda_of(platform) == "12.4"
    compat = LockedDeb("cuda-compat-12-4", "1", "amd64", "x.deb", 1, "0" * 64, "cuda", "debian", "main", base=False)
    assert cuda_of(replace(platform, debs=(compat,))) == ""


def test_what_condas_packages_agree_on() -> None:
    def conda(*pairs: str) -> tuple[CondaPackage, ...]:
        rows = (pair.split(" ") for pair in pairs)
        return tuple(CondaPackage(n, v, "h0", "linux-64", f"{n}-{v}-h0.conda", 1, "0" * 64) for n, v in rows)

    platform = LockedPlatform("bookworm", "", (), ())
    assert cuda_of(replace(platform, conda=conda("cuda-version 12.9", "numpy 2.0"))) == "12.9"
    assert cuda_of(replace(platform, conda=conda("cudatoolkit 11.8.0"))) == "11.8"
    assert cuda_of(replace(platform, conda=conda("cuda-version 12.9", "cuda-compat 12.9.1"))) == ""
    assert cuda_of(replace(platform, conda=conda("numpy 2.0"), wheels=wheels("torch 2.9.0+cu130"))) == "13.0"
