"""fastneg bench scaling: scaling over processes, measured on this machine's cores and modelled for
GPUs and machines.

Legend: N batch of a process, G processes, D feature dimension.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import socket
import statistics
import tempfile
from pathlib import Path

import torch
import torch.distributed as dist

from fastneg import distributed
from fastneg.config import default_workers
from fastneg.recipes.bench.measuring import bench_device, milliseconds, times_of
from fastneg.recipes.bench.scaling_model import (
    ASSUMPTIONS,
    Links,
    Step,
    data_needs,
    inside_of,
    predict,
    where_it_stops,
)
from fastneg.recipes.bench.step import backward_ms, bench_data, modelled_config
from fastneg.recipes.bench.step_contenders import Contender, Variant
from fastneg.recipes.presets import moco_patch_in100, tiny_cpu

GPUS_PER_MACHINE = 8
MODELLED = tuple(2**power for power in range(11))
TIMEOUT_S = 600


def bench_scaling(
    inside_gb_s,
    between_gb_s,
    latency_us,
    loader_cpu_ms,
    image_kb,
    model=None,
    config=None,
    processes=None,
    rounds=9,
    turns=3,
):
    """Yield measured rows (gloo processes of one thread each, weak scaling), then modelled ones up
    to 1,024 processes, 8 a machine.

    The model is put beside the measured rows too, with the bandwidth that gloo reached in the same
    run.

    Args:
        inside_gb_s, between_gb_s, latency_us: of the links that the model assumes, as in `Links`.
        loader_cpu_ms, image_kb: of the data, as in `ScalingOptions`.
        model: a name in GPUS: nothing is measured, the step is the modelled one.
        config: what is trained; its batch_size is that of one process.
        processes: how many to measure; None: 1, 2, 4 … up to the cores of this machine.
        rounds, turns: steps measured of each number of processes in a turn, and turns: in each, all
            numbers come one after the other.
    """
    device = model or bench_device()
    config = config or (_config(device) if model is None else modelled_config())
    inside_gb_s = inside_of(inside_gb_s, model)
    if model is None:
        counts = processes or _powers_of_two(default_workers())
        yield from _measured_rows(config, counts, rounds, turns)
        step = _measured_step(config, device, rounds)
    else:
        step = _modelled_step(config, model)
    links = Links(inside_gb_s, between_gb_s, latency_us)
    given = {"inside_gb_s": inside_gb_s, "between_gb_s": between_gb_s, "latency_us": latency_us}
    rows = []
    for gpus in MODELLED:
        machines = -(-gpus // GPUS_PER_MACHINE)
        figures = predict(step, links, gpus, machines)
        row = _row(config, device, "modelled", gpus, machines, figures)
        row |= data_needs(row["samples_per_s"], machines, loader_cpu_ms, image_kb)
        rows.append({**row, "batch": gpus * config.batch_size, **given})
    yield from rows
    for sentence in where_it_stops(rows, config.batch_size, config.queue_size):
        yield {"bench": "scaling", "contender": "limit", "note": sentence}
    for number, assumption in enumerate(ASSUMPTIONS, 1):
        yield {"bench": "scaling", "contender": f"assumption {number}", "note": assumption}


def _measured_step(config, device, rounds):
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        data = bench_data(Path(folder), 2 * config.batch_size, config.image_size, device)
        contender = Contender(config, Variant(), Path(folder) / "run", data, stack)
        return measure_step(contender, rounds)


def _modelled_step(config, model):
    from fastneg.recipes.bench.step_model import step_on  # which takes torch's private parts

    return Step(*step_on(config, model), 4 * config.batch_size * config.feature_dim)


def _config(device):
    if device == "cpu":
        return tiny_cpu().replace(batch_size=64, threads=1)
    return moco_patch_in100().replace(batch_size=256, queue_size=65536)


def _row(config, device, contender, processes, machines, figures):
    common = {
        "bench": "scaling",
        "contender": contender,
        "device": device,
        "backbone": config.backbone,
        "image_size": config.image_size,
    }
    common |= {"N": config.batch_size, "processes": processes, "machines": machines}
    return {
        **common,
        **figures,
        "samples_per_s": 1000 * processes * config.batch_size / figures["step_ms"],
    }


def _powers_of_two(most):
    return [2**power for power in range(most.bit_length()) if 2**power <= most]


def measure_step(contender, rounds):
    """The `Step` of one process: its time and that of its backward pass, measured; its bytes,
    counted."""
    config, trainer = contender.config, contender.trainer
    times = [milliseconds(contender, trainer.device.type) for _ in range(rounds + 1)][1:]
    gradients = sum(
        parameter.numel() * parameter.element_size() for parameter in trainer.optimizer.parameters
    )
    keys = 4 * config.batch_size // trainer.world.size * config.feature_dim
    return Step(statistics.median(times), backward_ms(contender), gradients, keys)


# --- measured on this machine ---------------------------------------------------------------------


def _measured_rows(config, processes, rounds, turns):
    found = {size: [] for size in processes}
    for turn in range(turns):
        # a drift of the machine's speed then cancels
        for size in processes if turn % 2 == 0 else processes[::-1]:
            with tempfile.TemporaryDirectory() as folder:
                data = bench_data(
                    Path(folder), 2 * size * config.batch_size, config.image_size, "cpu"
                )
                found[size].append(_run_processes(config, size, data, Path(folder), rounds))
    alone = [step for step, _ in found[processes[0]]]
    for size, runs in found.items():
        efficiency = 1 / times_of(
            [step.step_ms for step, _ in runs], [step.step_ms for step in alone]
        )
        figures = {
            "step_ms": statistics.median(step.step_ms for step, _ in runs),
            "efficiency": efficiency,
        }
        row = _row(config, "cpu", "measured (gloo)", size, 1, figures)
        if size > 1:
            modelled = [
                # What gloo reached with these very bytes: its latency is in it.
                predict(first, Links(bandwidth, bandwidth, 0.0), size)
                for first, (_, bandwidth) in zip(alone, runs, strict=True)
            ]
            row |= {"gloo_gb_s": statistics.median(bandwidth for _, bandwidth in runs)}
            row |= {
                "modelled_efficiency": statistics.median(each["efficiency"] for each in modelled)
            }
        yield row


def _run_processes(config, size, data, folder, rounds):
    """(`Step` of the slowest of `size` processes, GB/s of an all-reduce of the gradients'
    bytes)."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    workers = [
        context.Process(
            target=_work, args=(config, rank, size, port, data, folder, rounds, results)
        )
        for rank in range(size)
    ]
    for worker in workers:
        worker.start()
    try:
        found = [results.get(timeout=TIMEOUT_S) for _ in workers]
        for worker in workers:
            worker.join(TIMEOUT_S)
    finally:
        for worker in workers:
            worker.kill()
    return max((step for step, _ in found), key=lambda step: step.step_ms), min(
        bandwidth for _, bandwidth in found
    )


def _work(config, rank, size, port, data, folder, rounds, results):
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(size),
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
    )
    torch.set_num_threads(1)
    world = distributed.start("cpu")
    try:
        with contextlib.ExitStack() as stack:
            whole = config.replace(batch_size=config.batch_size * size, device="cpu")
            contender = Contender(whole, Variant(), folder / "run", data, stack, world)
            step = measure_step(contender, rounds)
            results.put((step, _all_reduce_gb_s(step.gradient_bytes, size, rounds)))
    finally:
        distributed.stop()


def _all_reduce_gb_s(count, size, rounds):
    """What each process sends in a ring all-reduce of so many bytes, over the time that it
    takes."""
    if size == 1:
        return float("inf")
    values = torch.zeros(count // 4)
    times = [milliseconds(lambda: dist.all_reduce(values), "cpu") for _ in range(rounds + 1)][1:]
    return 2 * (size - 1) / size * count / statistics.median(times) / 1e6
