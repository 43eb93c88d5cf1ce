"""fastneg bench info_nce: the contrastive loss against other implementations.

Legend: N batch, K shared negatives, D feature dimension.
"""

from __future__ import annotations

import os
import statistics
from concurrent.futures import ProcessPoolExecutor

import torch

from fastneg.recipes.bench.info_nce_contenders import contenders
from fastneg.recipes.bench.loss_options import parse_shapes, parse_tiles
from fastneg.recipes.bench.measuring import (
    bench_device,
    dtype_name,
    figures_of,
    flops_per_ms,
    in_cuda_graphs,
    peak_mib_on_gpu,
    ready_processes,
    take_turns,
    unit_rows,
    why_broken,
)

TEMPERATURE = 0.2
SHAPES = {
    "cpu": ((128, 16384, 128), (512, 16384, 128), (512, 65536, 128)),
    "cuda": (
        *((rows, 65536, 128) for rows in (128, 512, 1024, 4096)),
        *((512, count, 128) for count in (4096, 16384, 262144)),
    ),
}
IN_A_GRAPH = 10
"""Calls that a CUDA graph of the benchmark replays: one alone is shorter than its launch."""
PASSES = ("forward", "backward", "forward_backward")


def bench_info_nce(shapes=None, rounds=None, tiles=None, peaks=True):
    """Yield a row per shape, contender and pass; the gradient goes to the query, as in MoCo.

    share_of_floor compares with the time of the pass's matrix products alone (2NKD operations
    forward, 4NKD with the gradient; a backward pass has no floor, it may be one multiplication) at
    the rate that one large product reaches in this run. peak_mib is what the call needs beyond its
    inputs. On CUDA every pass is measured a second time, replayed from a CUDA graph of
    `IN_A_GRAPH` calls: without the host's time to launch.

    Args:
        shapes: ((N, K, D), …), or as text "512x65536x128,…"; None: those of the device.
        rounds: how often each is timed; None: 7 on a CPU, 50 on a GPU.
        tiles: which tile sizes of our sweep take part beside the table's, see `InfoNCEOptions`.
        peaks: whether to measure memory, on a CPU in a process for each contender and pass.
    """
    device = bench_device()
    shapes = parse_shapes(shapes) if isinstance(shapes, str) else shapes
    tiles = parse_tiles(tiles) if device == "cuda" else ()
    rounds = rounds or (7 if device == "cpu" else 50)
    for shape in shapes or SHAPES[device]:
        rate = flops_per_ms(device)
        parameters = {
            "bench": "info_nce",
            "device": device,
            "N": shape[0],
            "K": shape[1],
            "D": shape[2],
            "dtype": dtype_name(device),
        }
        functions, skipped = contenders(device, tiles)
        for which in PASSES:
            runners, memory, broken = _ready(functions, device, shape, which, peaks)
            floor = {"forward": 2, "backward": None, "forward_backward": 4}[which]
            floor = None if floor is None else floor * shape[0] * shape[1] * shape[2] / rate
            for graphed in (False, True) if device == "cuda" else (False,):
                row = {**parameters, "pass": which, "cuda_graph": graphed}
                ready, refused = (
                    in_cuda_graphs(runners, IN_A_GRAPH) if graphed else (runners, skipped | broken)
                )
                times = take_turns(ready, rounds, device)
                if graphed:
                    times = {
                        name: [each / IN_A_GRAPH for each in found] for name, found in times.items()
                    }
                base = statistics.median(times["eager"]) if "eager" in times else None
                for name in ready:
                    figures = figures_of(times[name])
                    yield {
                        **row,
                        "contender": name,
                        **figures,
                        "peak_mib": memory[name],
                        "share_of_floor": None if floor is None else floor / figures["ms_median"],
                        "times_faster_than_eager": None
                        if base is None
                        else base / figures["ms_median"],
                    }
                for name, reason in refused.items():
                    said = "failed" if name in broken else "skipped"
                    yield {**row, "contender": name, said: reason}


def _ready(functions, device, shape, which, peaks):
    """({name: a pass that has run once}, {name: MiB it needs, or None}, {name: why it does not
    run}): a contender that fails takes none of the others with it."""
    runners, memory, broken = {}, {}, {}
    for name, function in functions.items():
        try:
            runner = _runner(function, device, shape, which)
            runner()
            memory[name] = _peak_mib(device, name, shape, which, runner) if peaks else None
        except Exception as error:  # whatever a library of others raises
            broken[name] = why_broken(error)
        else:
            runners[name] = runner
    return runners, memory, broken


def _runner(function, device, shape, which):
    """A function that runs one pass of a contender."""
    query, positive, queue = unit_rows(device, *shape)
    loss = lambda leaf: function(leaf, positive, queue, TEMPERATURE)
    if which == "forward":
        return lambda: loss(query)
    leaf = query.clone().requires_grad_()
    if which == "forward_backward":
        return lambda: torch.autograd.grad(loss(leaf), leaf)
    made = []  # the graph is made in the first round, which is not counted, and kept for the others

    def backward():
        if not made:
            made.append(loss(leaf))
        return torch.autograd.grad(made[0], leaf, retain_graph=True)

    return backward


# --- memory ---------------------------------------------------------------------------------------


def _peak_mib(device, name, shape, which, runner):
    if which == "backward":
        return None  # what forward keeps for it counts; see forward_backward
    if device == "cuda":
        return peak_mib_on_gpu(runner)
    if not os.access("/proc/self/clear_refs", os.W_OK):
        return None  # this system has no high-water mark that a process can reset
    # A process of its own, whose high-water mark nothing else has raised.
    with ProcessPoolExecutor(1, mp_context=ready_processes(__name__)) as pool:
        return pool.submit(_resident_growth_mib, name, shape, which).result()


def _resident_growth_mib(name, shape, which):
    function = contenders("cpu")[0][name]
    small = (min(32, shape[0]), min(2048, shape[1]), shape[2])
    _runner(function, "cpu", small, which)()  # loads the libraries and starts the threads
    runner = _runner(function, "cpu", shape, which)
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        # the high-water mark falls to what is resident now; that of getrusage would start at the
        # parent's
        file.write("5")
    before = _high_water_mib()
    runner()
    return _high_water_mib() - before


def _high_water_mib():
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))


# --- plot -----------------------------------------------------------------------------------------


def plot_info_nce(rows, file):
    """Draw time and extra memory of forward and backward against K and against N, a line for each
    contender, as SVG into an open file."""
    from matplotlib.figure import Figure

    rows = [
        row
        for row in rows
        if row.get("ms_median") and row["pass"] == "forward_backward" and not row["cuda_graph"]
    ]
    if not rows:
        raise ValueError(
            "There are no rows to draw: no contender was measured forward and backward."
        )
    figure = Figure(figsize=(10, 6.5), layout="constrained")
    panels = figure.subplots(2, 2, sharey="row")
    for column, (along, fixed) in enumerate((("K", "N"), ("N", "K"))):
        # of the values of the other parameter, the one that was measured at the most places
        places = {
            value: {row[along] for row in rows if row[fixed] == value}
            for value in sorted({row[fixed] for row in rows})
        }
        held = max(places, key=lambda value: len(places[value]))
        for panel, field, label in zip(
            panels[:, column], ("ms_median", "peak_mib"), ("ms", "extra memory, MiB"), strict=True
        ):
            for name in dict.fromkeys(row["contender"] for row in rows):
                line = sorted(
                    (row[along], row[field])
                    for row in rows
                    if row["contender"] == name and row[fixed] == held and row[field]
                )
                if line:
                    panel.plot(
                        *zip(*line, strict=True),
                        marker="o",
                        label=name,
                        linewidth=3 if name == "fastneg" else 1.5,
                    )
            panel.set(
                xscale="log", yscale="log", xlabel=f"{along} at {fixed} = {held:,}", ylabel=label
            )
            panel.grid(alpha=0.3)
    panels[0, 0].legend(fontsize=8)
    first = rows[0]
    figure.suptitle(
        f"InfoNCE forward and backward, D = {first['D']}, {first['dtype']}, {first['device']}"
    )
    figure.savefig(file, format="svg")
