"""fastneg bench compile: registers, spills and shared memory of each kernel in each shipped
configuration, on any machine."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from functools import cache

TARGETS = {"sm_80": 80, "sm_90": 90, "sm_100": 100}


def bench_compile(targets=("sm_80", "sm_90", "sm_100"), contains="", kernels=None):
    """Yield what the assembler says about each kernel and shipped configuration, for GPUs that need
    not be there.

    Args:
        targets: among "sm_80", "sm_90", "sm_100".
        contains: only configurations whose name holds this text.
        kernels: names in `registry.KERNELS`; None: all.
    Raises:
        RuntimeError: TRITON_INTERPRET is set.
    """
    from fastneg.kernels import registry
    from fastneg.kernels.backend import interpreting
    from fastneg.recipes.bench.measuring import ready_processes

    if interpreting():
        raise RuntimeError(
            "TRITON_INTERPRET is set: Triton would interpret the kernels; unset it to compile them."
        )
    modules = [
        registry.KERNELS[name] for name in (registry.KERNELS if kernels is None else kernels)
    ]
    # A launch cannot go to another process, its place in the list can.
    jobs = [
        (module, number, target)
        for target in targets
        for module in modules
        for number, shipped in enumerate(registry.shipped(module, TARGETS[target]))
        if contains in shipped.config
    ]
    cores = len(os.sched_getaffinity(0))
    with ProcessPoolExecutor(cores, mp_context=ready_processes(modules[0])) as pool:
        yield from pool.map(_compile, jobs)


@cache
def _listed(module, target):
    from fastneg.kernels.registry import shipped

    return shipped(module, TARGETS[target])


def _compile(job):
    from fastneg.kernels.launch import compile_launch

    module, number, target = job
    config, (kernel, args, constants, options), _ = _listed(module, target)[number]
    compiled = compile_launch(kernel, args, constants, options, TARGETS[target])
    row = {"bench": "compile", "contender": "fastneg", "kernel": kernel.__name__}
    return {**row, "config": config, "target": target, **compiled.__dict__}
