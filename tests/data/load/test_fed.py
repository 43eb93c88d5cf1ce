"""Batches in the order in which a pipeline was given them, at any depth of DALI's queue."""

import numpy as np
import pytest
from nvidia.dali import fn, pipeline_def, types

from fastneg.data.load.fed import FedPipeline


@pipeline_def(exec_dynamic=True, batch_size=2, num_threads=1, device_id=None)
def _sums():
    first, second = (
        fn.external_source(name=name, dtype=types.FLOAT, ndim=0, batch=True) for name in "ab"
    )
    return first + second


def fed(depth):
    pipe = _sums(prefetch_queue_depth=depth)
    pipe.build()
    return FedPipeline(pipe, depth)


def batch(number):
    return {"a": np.full(2, number, np.float32), "b": np.array([0, 0.5], np.float32)}


def taken(pipe):
    (sums,) = pipe.outputs()
    return float(sums.as_array()[0])


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("ahead", [1, 2, 3, 5])
def test_each_batch_comes_once_in_its_order(depth, ahead):
    """Also where the first is taken before DALI's queue is full, and in a second round."""
    pipe, found, given = fed(depth), [], 0
    for _ in range(2):
        pending = 0
        for _ in range(7):
            pipe.run(batch(given))
            given, pending = given + 1, pending + 1
            if pending == ahead:
                found.append(taken(pipe))
                pending -= 1
        found += [taken(pipe) for _ in range(pending)]
    assert found == list(range(given))
