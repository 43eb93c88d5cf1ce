"""The configurations of info_nce's kernels that can occur: every tile size that is chosen for some
input, and the variants of the kernels at D 128, the features of the MoCo family.

Shapes: N batch, K shared negatives, M extra negatives per query, D feature dimension.
"""

from dataclasses import dataclass, field

import torch

from .info_nce_call import LeftOut, Wanted, stored_dtype
from .info_nce_tiles import HALF_TILES, sweep_tiles
from .info_nce_triton import forward, negatives_grad
from .info_nce_triton_kernels import merge_kernel
from .launch import Recorder
from .registry import Budget, Shipped


@dataclass(frozen=True)
class _Call:
    """A call of info_nce, in its shapes."""

    operand: str = "bfloat16"
    rows: int = 4096
    count: int | None = 65536
    """K, None for in-batch negatives."""
    dim: int = 128
    extra: int = 1
    """M"""
    layout: str = "kd"
    query: torch.dtype | None = None
    """None: that of the operand."""
    wanted: Wanted = field(default_factory=Wanted)
    learned: bool = False
    """Whether the temperature is a tensor."""
    labels: bool = False
    mask: bool = False


VARIANTS = {
    "running maximum, no ranks": {"wanted": Wanted(rank=False)},
    "unit rows": {"wanted": Wanted(normalised=True)},
    "unit rows, no ranks": {"wanted": Wanted(rank=False, normalised=True)},
    "unit rows, dk": {"wanted": Wanted(normalised=True), "layout": "dk"},
    "unit rows, in-batch": {"wanted": Wanted(normalised=True), "count": None},
    "unit rows, ragged": {"wanted": Wanted(normalised=True), "count": 65000},
    "unit rows, float32 query": {"wanted": Wanted(normalised=True), "query": torch.float32},
    "float32 query": {"query": torch.float32},
    "ragged": {"count": 65000},
    "in-batch": {"count": None},
    "forward": {"wanted": Wanted(grad=False)},
    "dk": {"layout": "dk"},
    "labels": {"labels": True},
    "mask": {"mask": True},
    "M=64": {"extra": 64},
    "tensor T": {"learned": True},
}


SPILLED = {"N=4096 unit rows": 8, "D=1023 unaligned": 24}
"""{part of a configuration's name: bytes a thread}: what Triton 3.8 may spill there; of unit rows
outside the loop over tiles, and not with Triton 3.6."""


def shipped():
    """Each configuration with its budget; see `registry.Shipped`."""
    for operand in ("bfloat16", "tf32", "float32"):
        for dim in HALF_TILES:
            few, many = (_tiles(operand, rows, dim) for rows in (1, 4096))
            for rows, tiles in [(4096, many)] + ([(few.rows, few)] if few != many else []):
                yield from _launches(f"{operand} D={dim} {tiles}", _Call(operand, rows, dim=dim))
    for rows in (64, 4096):
        for name, options in VARIANTS.items():
            yield from _launches(f"bfloat16 D=128 N={rows} {name}", _Call(rows=rows, **options))
    for dim in (125, 1023):
        yield from _launches(f"bfloat16 D={dim} unaligned", _Call(dim=dim, count=65000))
    for dim in (256, 512, 1024):
        yield from _launches(f"bfloat16 D={dim} dk", _Call(dim=dim, layout="dk"))
    yield from _launches("float16 D=128", _Call("float16"))
    yield from _launches("one of each", _Call(rows=1, count=1, dim=1, learned=True))


def _tiles(operand, rows, dim):
    row = torch.empty(1, dim, dtype=stored_dtype(operand), device="meta")
    return sweep_tiles(rows, dim, operand, row, row)


def _launches(config, call):
    usual = stored_dtype(call.operand)
    empty = lambda *shape, dtype=usual: torch.empty(shape, dtype=dtype, device="meta")
    query = empty(call.rows, call.dim, dtype=call.query or usual)
    if call.count is None:
        keys = query
    elif call.layout == "kd":
        keys = empty(call.count, call.dim)
    else:
        keys = empty(call.dim, call.count).t()
    extra = empty(call.rows, call.extra, call.dim)
    recorder, scale = Recorder(), 2.0
    temperature = torch.empty((), device="meta") if call.learned else 0.2
    left_out = _left_out(call, empty, len(keys))
    forward(
        query, query, keys, extra, temperature, scale, left_out, call.operand, call.wanted,
        launch=recorder,
    )  # fmt: skip
    if call.wanted.grad:
        row, some = empty(call.rows, dtype=torch.float32), keys[: call.rows]
        left_out = _left_out(call, empty, len(some))
        negatives_grad(query, some, row, row, temperature, left_out, call.operand, launch=recorder)
    for launch in recorder.launches:
        kernel, _, _, options = launch
        products = kernel is not merge_kernel and config.startswith("bfloat16 D=128 ")
        spilled = max((found for part, found in SPILLED.items() if part in config), default=0)
        registers = options.get("maxnreg", 255)
        yield Shipped(config, launch, Budget(spilled, wgmma=products, registers=registers))


def _left_out(call, empty, count):
    labels = [empty(rows, dtype=torch.int64) for rows in (call.rows, count)]
    mask = empty(call.rows, count, dtype=torch.bool) if call.mask else None
    return LeftOut(call.count is None, mask, *(labels if call.labels else (None, None)))
