"""How the benchmarks measure: contenders in turn, times of the device, and the rate of one large
matrix product to compare with."""

from __future__ import annotations

import multiprocessing
import statistics
import time

import torch
from torch.nn.functional import normalize

BUSY_CYCLES = 400_000
"""About 0.2 ms."""


def bench_device():
    """What is measured: the GPU where there is one, else the CPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def ready_processes(module):
    """A multiprocessing context whose processes have a module, and so torch, when they begin: a
    fork server imports it once for all of them."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([module])
    return context


def take_turns(runners, rounds, device):
    """{name: milliseconds of each round}; the first round warms up and is not counted."""
    times = {name: [] for name in runners}
    for _ in range(rounds + 1):
        for name, runner in runners.items():
            times[name].append(milliseconds(runner, device))
    return {name: values[1:] for name, values in times.items()}


def rows_beside_copy(runners, rounds, device, images, common, only=None):
    """Yield a row of each runner; share_of_floor compares its time with that of the runner "copy".

    Args:
        runners: {contender: function}.
        rounds: as of `take_turns`.
        images: how many one call makes.
        common: fields of every row, "bench" among them.
        only: names of contenders, beside copy; None: all.
    """
    kept = {name: one for name, one in runners.items() if only is None or name in (*only, "copy")}
    times = take_turns(kept, rounds, device)
    floor = statistics.median(times["copy"])
    for name in kept:
        figures = figures_of(times[name])
        yield {
            "bench": common["bench"],
            "contender": name,
            **common,
            **figures,
            "images_per_s": 1000 * images / figures["ms_median"],
            "share_of_floor": floor / figures["ms_median"],
        }


def times_of(times, base):
    """How many times as long as `base` something took: the median over rounds in which both ran, so
    that a machine's drift cancels."""
    return statistics.median(each / other for each, other in zip(times, base, strict=True))


def milliseconds(runner, device):
    """How long one call of `runner` takes on the device."""
    if device == "cuda":
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        if hasattr(torch.cuda, "_sleep"):
            # The GPU is kept busy meanwhile: between the events lies its own time, not that in
            # which the host gets the first kernel there.
            torch.cuda._sleep(BUSY_CYCLES)
        begin.record()
        runner()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end)
    began = time.perf_counter()
    runner()
    return 1000 * (time.perf_counter() - began)


def in_cuda_graph(runner, calls=1):
    """A function that replays what some calls of `runner` start on the GPU; RuntimeError if that
    cannot be captured."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):  # compiles, and makes what is made once
            runner()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(calls):
            runner()
    return graph.replay


def in_cuda_graphs(runners, calls):
    """({name: replay of what a runner starts, from a CUDA graph}, {name: why it cannot be
    captured})."""
    ready, refused = {}, {}
    for name, runner in runners.items():
        try:
            ready[name] = in_cuda_graph(runner, calls)
        except RuntimeError as error:
            refused[name] = f"not captured in a CUDA graph: {str(error).splitlines()[0]}"
    return ready, refused


def why_broken(error):
    """What a row says of a contender that raised."""
    return f"{type(error).__name__}: {str(error).strip()[:300]}"


def peak_mib_on_gpu(runner):
    """What a call of `runner` needs of the GPU's memory beyond its inputs, in MiB."""
    runner()
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    result = runner()
    torch.cuda.synchronize()
    del result
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def figures_of(times):
    """Median, 20th and 80th percentile of some times in milliseconds."""
    ordered = sorted(times)
    at = lambda share: ordered[round(share * (len(ordered) - 1))]
    return {"ms_median": statistics.median(ordered), "ms_p20": at(0.2), "ms_p80": at(0.8)}


def flops_per_ms(device):
    """Floating-point operations a millisecond of one large matrix product in the benchmark's
    dtype."""
    size = 8192 if device == "cuda" else 1024
    a, b, _ = unit_rows(device, size, 1, size)
    times = take_turns({"matmul": lambda: a @ b.t()}, 7, device)["matmul"]
    return 2 * size**3 / statistics.median(times)


def unit_rows(device, rows, count, dim):
    """Three matrices of random unit rows in the benchmark's dtype.

    Returns:
        (rows, dim), (rows, dim) and (count, dim).
    """
    g = torch.Generator().manual_seed(0)
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    return [
        normalize(torch.randn(size, dim, generator=g), dim=1).to(device, dtype)
        for size in (rows, rows, count)
    ]


def swept_threads(threads):
    """The numbers of threads of a sweep, up to those that there are."""
    return sorted({4, 8, 16, threads} & set(range(threads + 1)))


def dtype_name(device):
    """The dtype that is measured on a device."""
    return "bfloat16" if device == "cuda" else "float32"
