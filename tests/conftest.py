"""Shared by all tests. Triton reads TRITON_INTERPRET when a kernel is decorated, so it is set
before anything imports it."""

import os

import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")
# FFCV's parallel loops: with the layer TBB, which numba would take where it is installed, a process
# can wait for ever for TBB at its end.
os.environ.setdefault("NUMBA_THREADING_LAYER", "workqueue")

import multiprocessing

import pytest

pytest.register_assert_rewrite("helpers")

from helpers.ready import TAKEN_FROM  # noqa: E402

if TAKEN_FROM in os.environ:  # so that no process of multiprocessing imports torch anew
    multiprocessing.set_executable(os.environ[TAKEN_FROM])

FFCV_TIMEOUT_S = 200

torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // 2))


def pytest_collection_modifyitems(items):
    if torch.cuda.is_available():
        return
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(autouse=True)
def seeded():
    """A test draws the same numbers alone and behind others: what it finds does not depend on which
    files a batch holds."""
    torch.manual_seed(0)


@pytest.fixture
def float64():
    """Within a test, new tensors and networks are float64: there, two ways to the same value differ
    by a fault alone."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="session")
def beton(tmp_path_factory):
    """A labelled .beton file of 40 JPEG photos of different sizes, written by our writer."""
    import numpy as np

    from fastneg.data import BetonWriter
    from helpers.images import jpeg, photo

    path, rng = tmp_path_factory.mktemp("data") / "photos.beton", np.random.default_rng(0)
    with BetonWriter(path, classes=["a", "b", "c", "d"]) as writer:
        for i in range(40):
            height, width = rng.integers(40, 120, 2)
            writer.add(jpeg(photo(rng, height, width)), height, width, label=i % 4)
    return path


@pytest.fixture(scope="session")
def ffcv():
    """ffcv(function, *arguments): its result, computed in FFCV's process.

    It takes ten seconds to begin. It waits for ever where it fails, forks, and leaves Numba's
    finalizers behind.
    """
    import signal
    from concurrent.futures import ProcessPoolExecutor

    pool = ProcessPoolExecutor(
        1, mp_context=multiprocessing.get_context("spawn"), initializer=os.setsid
    )
    group = pool.submit(os.getpid).result(FFCV_TIMEOUT_S)
    yield lambda function, *arguments: pool.submit(function, *arguments).result(FFCV_TIMEOUT_S)
    os.killpg(group, signal.SIGKILL)  # with those that wait for ever
    pool.shutdown(wait=False)
