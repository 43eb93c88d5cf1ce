"""fastneg bench info_nce | patch_shuffle | compile: the kernels against their alternatives, all in the same run.

Each function yields rows: `bench`, `contender`, the parameters, and figures with their unit in the name. Contenders take turns, so that a
machine whose speed drifts treats them alike; the first turn warms up. A contender that cannot run here gives a row with `skipped`.
Legend: N batch, K shared negatives, D feature dimension, M private negatives or copies, C channels, H W pixels.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import statistics
from concurrent.futures import ProcessPoolExecutor

import torch
from torch.nn.functional import cross_entropy

from fastneg.kernels.info_nce import info_nce
from fastneg.kernels.patch_shuffle import patch_shuffle
from fastneg.negatives.patch import draw_patches
from fastneg.recipes.measuring import bench_device, dtype_name, figures_of, flops_per_ms, take_turns, unit_rows

TEMPERATURE = 0.2
INFO_NCE_SHAPES = {"cpu": ((128, 16384, 128), (512, 65536, 128)), "cuda": ((256, 16384, 128), (512, 65536, 128), (4096, 65536, 128))}
PATCH_SHAPES = {"cpu": ((32, 2, 64), (32, 2, 224)), "cuda": ((256, 1, 224), (512, 4, 224))}
PEERS = {"info_nce_pytorch": "info_nce", "cut_cross_entropy": "cut_cross_entropy", "liger_kernel": "liger_kernel", "inf_cl": "inf_cl"}
NOT_YET = ("cut_cross_entropy", "liger_kernel", "inf_cl", "scaled_dot_product_attention")
TARGETS = {"sm_80": 80, "sm_90": 90, "sm_100": 100}


# --- info_nce ----------------------------------------------------------------------------------------------------------------


def bench_info_nce(shapes=None, rounds=7):
    """Yield a row per shape, contender and pass ("forward", "forward_backward"; the gradient goes to the query, as in MoCo).

    share_of_floor compares with the time of the pass's matrix products alone (2NKD operations forward, 4NKD with the gradient) at the
    rate that one large product reaches in this run. peak_mib is what the call needs beyond its inputs and outputs.
    """
    device = bench_device()
    for shape in shapes or INFO_NCE_SHAPES[device]:
        rate = flops_per_ms(device)
        parameters = {"bench": "info_nce", "device": device, "N": shape[0], "K": shape[1], "D": shape[2], "dtype": dtype_name(device)}
        for backward in (False, True):
            work = {"pass": "forward_backward" if backward else "forward"}
            floor = (4 if backward else 2) * shape[0] * shape[1] * shape[2] / rate
            runners, skipped = _info_nce_contenders(device, shape, backward)
            times = take_turns(runners, rounds, device)
            peaks = {name: _info_nce_peak(device, name, shape, backward, runners) for name in runners}
            eager = statistics.median(times["eager"])
            for name in runners:
                figures = figures_of(times[name])
                ratios = {"share_of_floor": floor / figures["ms_median"], "times_faster_than_eager": eager / figures["ms_median"]}
                yield {**parameters, **work, "contender": name, **figures, "peak_mib": peaks[name], **ratios}
            for name, reason in skipped.items():
                yield {**parameters, **work, "contender": name, "skipped": reason}


def _info_nce_contenders(device, shape, backward):
    """({name: a function that runs one pass}, {name: why it does not run here})."""
    query, positive, queue = unit_rows(device, *shape)
    functions = {
        "fastneg": lambda q: info_nce(q, positive, queue, temperature=TEMPERATURE, return_stats=True).loss,
        "eager": lambda q: _eager(q, positive, queue),
    }
    if device == "cuda":
        functions["torch_compile"] = torch.compile(lambda q: _eager(q, positive, queue))
    skipped = {}
    for name, module in PEERS.items():
        if importlib.util.find_spec(module) is None:
            skipped[name] = "not installed: pip install 'fastneg[bench]'"
    if "info_nce_pytorch" not in skipped:
        peer = importlib.import_module("info_nce").InfoNCE(temperature=TEMPERATURE)
        functions["info_nce_pytorch"] = lambda q: peer(q, positive, queue)
    for name in NOT_YET:
        skipped.setdefault(name, "needs a CUDA device" if device == "cpu" else "no adapter for it yet")

    def runner(function):
        if not backward:
            return lambda: function(query)
        leaf = query.clone().requires_grad_()
        return lambda: torch.autograd.grad(function(leaf), leaf)

    return {name: runner(function) for name, function in functions.items()}, skipped


def _eager(query, positive, queue):
    """The MoCo family's loss with its accuracies: one matrix of all logits, cross entropy and top-5 over it."""
    positive_logit = torch.einsum("nd,nd->n", query, positive)[:, None]
    logits = torch.cat([positive_logit, torch.einsum("nd,kd->nk", query, queue)], 1) / TEMPERATURE
    logits.detach().topk(min(5, logits.shape[1]), 1)
    return cross_entropy(logits, torch.zeros(len(query), dtype=torch.long, device=query.device))


def _info_nce_peak(device, name, shape, backward, runners):
    if device == "cuda":
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        result = runners[name]()
        torch.cuda.synchronize()
        del result
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    if not os.access("/proc/self/clear_refs", os.W_OK):
        return None  # this system has no high-water mark that a process can reset
    # A process of its own, whose high-water mark nothing else has raised.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_resident_growth_mib, name, shape, backward).result()


def _resident_growth_mib(name, shape, backward):
    small = (min(32, shape[0]), min(2048, shape[1]), shape[2])  # loads the libraries and starts the threads
    _info_nce_contenders("cpu", small, backward)[0][name]()
    runner = _info_nce_contenders("cpu", shape, backward)[0][name]
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")  # the high-water mark falls to what is resident now; that of getrusage would start at the parent's
    before = _high_water_mib()
    runner()
    return _high_water_mib() - before


def _high_water_mib():
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))


# --- patch_shuffle -----------------------------------------------------------------------------------------------------------


def bench_patch_shuffle(shapes=None, rounds=7):
    """Yield a row per shape and contender for channels_last images (N, 3, H, H) and M copies with patches of H/14 to H/3 pixels.

    share_of_floor compares with a plain copy that writes as many bytes: the images read once a copy, at this run's rate.
    """
    device = bench_device()
    for rows, copies, size in shapes or PATCH_SHAPES[device]:
        images = torch.randn(rows, 3, size, size, device=device).to(memory_format=torch.channels_last)
        if device == "cuda":
            images = images.bfloat16()
        offsets, sides = draw_patches(images.shape, copies, (size // 14, size // 3), images.device)
        out = patch_shuffle(images, offsets, sides)
        runners = {
            "fastneg": lambda images=images, offsets=offsets, sides=sides, out=out: patch_shuffle(images, offsets, sides, out=out),
            "copy": lambda images=images, out=out: out.copy_(images[:, None].expand_as(out)),
        }
        where = offsets.tolist(), sides.tolist()
        runners["slices"] = lambda images=images, where=where, out=out: _slices(images, *where, out)
        times = take_turns(runners, rounds, device)
        floor = statistics.median(times["copy"])
        for name in runners:
            figures = figures_of(times[name])
            yield {
                "bench": "patch_shuffle",
                "contender": name,
                "device": device,
                "N": rows,
                "M": copies,
                "H": size,
                "dtype": dtype_name(device),
                **figures,
                "images_per_s": 1000 * rows * copies / figures["ms_median"],
                "share_of_floor": floor / figures["ms_median"],
            }


def _slices(images, offsets, sides, out):
    """One slice assignment per patch, as a loop in Python does it."""
    height, width = images.shape[2:]
    for n, copies in enumerate(sides):
        for m, p in enumerate(copies):
            for top in range(0, height, p):
                for left in range(0, width, p):
                    y, x = offsets[n][m][top // p][left // p]
                    rows, columns = min(p, height - top), min(p, width - left)
                    out[n, m, :, top : top + rows, left : left + columns] = images[n, :, y : y + rows, x : x + columns]


# --- compile -----------------------------------------------------------------------------------------------------------------


def bench_compile(targets=("sm_80", "sm_90", "sm_100"), contains=""):
    """Yield what the assembler says about each kernel and shipped configuration, for GPUs that need not be there.

    Args:
        targets: among "sm_80", "sm_90", "sm_100".
        contains: only configurations whose name holds this text.
    Raises:
        RuntimeError: TRITON_INTERPRET is set.
    """
    from fastneg.kernels.backend import interpreting

    if interpreting():
        raise RuntimeError("TRITON_INTERPRET is set: Triton would interpret the kernels; unset it to compile them.")
    jobs = [(index, target) for target in targets for index, (config, _) in enumerate(_launches()) if contains in config]
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(_compile, jobs)


def _compile(job):
    from fastneg.kernels.launch import compile_launch

    index, target = job
    config, (kernel, args, constants, options) = list(_launches())[index]
    row = {"bench": "compile", "contender": "fastneg", "kernel": kernel.__name__, "config": config, "target": target}
    compiled = compile_launch(kernel, args, constants, options, TARGETS[target])
    return {**row, **compiled.__dict__}


def _launches():
    """(name of the configuration, recorded launch) of every tile size that the kernels choose, and of their variants at D 128."""
    from fastneg.kernels import info_nce_triton

    for operand in ("bfloat16", "tf32", "float32"):
        for dim in info_nce_triton.HALF_TILES:
            few, many = (info_nce_triton.tiles_for(rows, dim, operand) for rows in (1, 4096))
            for rows, tiles in [(4096, many)] + ([(few.rows, few)] if few != many else []):
                name = f"{operand} D={dim} {tiles.rows}x{tiles.keys} warps={tiles.warps} stages={tiles.stages}"
                yield from _info_nce_launches(name, operand, rows, 65536, dim)
    unaligned = (("unaligned", 65000, 125), ("unaligned", 65000, 1023))
    for name, count, dim in (("ragged", 65000, 128), ("in-batch", None, 128), ("forward", 65536, 128), *unaligned):
        yield from _info_nce_launches(f"bfloat16 D={dim} {name}", "bfloat16", 4096, count, dim, with_grad=name != "forward")
    yield from _info_nce_launches("float16 D=128", "float16", 4096, 65536, 128)
    for dim in (128, 256, 512, 1024):
        yield from _info_nce_launches(f"bfloat16 D={dim} dk", "bfloat16", 4096, 65536, dim, layout="dk")
    yield from _info_nce_launches("bfloat16 D=128 M=64", "bfloat16", 4096, 65536, 128, private=64)
    yield from _patch_shuffle_launches()
    yield from _augment_launches()
    yield from _quilt_launches()


def _info_nce_launches(name, operand, rows, count, dim, with_grad=True, layout="kd", private=1):
    from fastneg.kernels import info_nce_triton
    from fastneg.kernels.launch import Recorder

    dtype = getattr(torch, operand.replace("tf32", "float32"))
    empty = lambda *shape, dtype=dtype: torch.empty(shape, dtype=dtype, device="meta")
    query, extras = empty(rows, dim), empty(rows, private, dim)
    keys, alone = (query, True) if count is None else (empty(count, dim) if layout == "kd" else empty(dim, count).t(), False)
    recorder = Recorder()
    info_nce_triton.forward(query, query, keys, extras, TEMPERATURE, 2.0, alone, operand, with_grad, launch=recorder)
    if with_grad:
        row = empty(rows, dtype=torch.float32)
        info_nce_triton.negatives_grad(query, query if alone else keys[:rows], row, row, TEMPERATURE, alone, operand, launch=recorder)
    return ((name, launch) for launch in recorder.launches)


def _patch_shuffle_launches():
    from fastneg.kernels import patch_shuffle_triton
    from fastneg.kernels.launch import Recorder

    for dtype in (torch.uint8, torch.bfloat16, torch.float32):
        for memory_format in (torch.contiguous_format, torch.channels_last):
            images = torch.empty((8, 3, 224, 224), dtype=dtype, device="meta", memory_format=memory_format)
            offsets, sides = (torch.empty(shape, dtype=torch.int32, device="meta") for shape in ((8, 1, 14, 14, 2), (8, 1)))
            recorder = Recorder()
            patch_shuffle_triton.patch_shuffle(images, offsets, sides, images[:, None], launch=recorder)
            for launch in recorder.launches:
                yield f"{str(dtype).removeprefix('torch.')} {'nchw' if images.is_contiguous() else 'channels_last'}", launch


def _augment_launches():
    from fastneg.kernels import augment_triton
    from fastneg.kernels.augment import draw_augment_params, taps
    from fastneg.kernels.launch import Recorder

    params = draw_augment_params(8, device="meta")
    images, views = (
        {dtype: torch.empty((8, 3, 224, 224), dtype=dtype, device="meta", memory_format=torch.channels_last) for dtype in dtypes}
        for dtypes in ((torch.uint8, torch.bfloat16, torch.float32), (torch.float16, torch.bfloat16, torch.float32))
    )
    for source, view, sigma in (
        *((torch.uint8, view, sigma) for view in views for sigma in (0.0, 2.0, 5.0)),
        *((source, torch.bfloat16, 2.0) for source in (torch.bfloat16, torch.float32)),
    ):
        recorder = Recorder()
        augment_triton.augment(images[source], params, (0.5,) * 3, (0.2,) * 3, taps(sigma), views[view], launch=recorder)
        name = f"{source} to {view} sigma<={sigma:g}".replace("torch.", "")
        yield from ((name, launch) for launch in recorder.launches)


def _quilt_launches():
    from fastneg.kernels import texture_triton
    from fastneg.kernels.launch import Recorder
    from fastneg.kernels.texture import block_grid

    # (side of the texture, of the source patches, of the blocks, overlap, candidates, seam): the defaults, then every other branch
    shapes = ((224, 96, 32, 8, 128, True), (224, 96, 32, 8, 128, False), (32, 28, 12, 4, 32, True), (224, 112, 64, 16, 256, True))
    for side, patch, block, overlap, candidates, seam in shapes:
        rows, columns = block_grid((side, side), block, overlap)
        empty = lambda *shape, dtype=torch.int32: torch.empty(shape, dtype=dtype, device="meta")
        levels, corners = empty(8, 2, patch, patch, 3, dtype=torch.uint8), empty(8, 1, rows * columns, candidates)
        recorder = Recorder()
        texture_triton.quilt(levels, corners, empty(8, 1, side, side), rows, columns, block, overlap, seam, launch=recorder)
        for launch in recorder.launches:
            yield f"P={patch} block={block} overlap={overlap} K={candidates}{'' if seam else ' no seam'}", launch
