"""The configurations of the kernels of pairs that can occur: every tile size that is chosen for
some input, at D 512.

Shapes: n rows of one side, m of the other, D feature dimension.
"""

import torch

from .info_nce_call import stored_dtype
from .launch import Recorder
from .pairs_triton import SIDE, sigmoid, softmax, sums
from .pairs_triton_kernels import pair_merge_kernel
from .registry import Budget, Shipped


def shipped():
    """Each dtype of products, in large tiles and in small; rows and features whose number is no
    multiple of a tile; pairs of which none belong together, as of two processes; gradients that are
    added up over blocks."""
    for operand in ("bfloat16", "float16", "tf32", "float32"):
        yield from _launches(operand, 4096, 512, True)
    yield from _launches("bfloat16", 512, 512, True)
    yield from _launches("bfloat16", 4001, 125, True)
    yield from _launches("bfloat16", 4096, 512, False)
    yield from _launches("bfloat16", 2 * SIDE, 512, True, sigmoid_alone=True)


def _launches(operand, rows, dim, own, sigmoid_alone=False):
    recorder = Recorder()
    side = torch.empty(rows, dim, dtype=stored_dtype(operand), device="meta")
    number, row = (torch.empty(shape, device="meta") for shape in ((), (rows,)))
    sigmoid(side, side, number, number, own, True, operand, launch=recorder)
    if not sigmoid_alone:
        sums(side, side, number, own, operand, launch=recorder)
        softmax(side, side, number, row, row, row, row, own, operand, launch=recorder)
    if operand == "bfloat16" and own and rows == 4096:
        sigmoid(side, side, number, number, own, False, operand, launch=recorder)
    seen = []
    for launch in recorder.launches:
        kernel, _, constants, _ = launch
        if (kernel, constants) in seen:
            continue  # the product that both losses end with
        seen.append((kernel, constants))
        products = operand in ("bfloat16", "float16") and kernel is not pair_merge_kernel
        name = f"{operand} N={rows} D={dim} {_told(constants, own)}"
        yield Shipped(name, launch, Budget(wgmma=products))


def _told(constants, own):
    """What tells launches of one size apart."""
    words = ["own pairs" if constants.get("OWN", own) else "others"]
    words += ["no gradient"] if constants.get("WITH_GRAD") is False else []
    words += ["onto first"] if constants.get("ADD_FIRST") else []
    words += ["onto second"] if constants.get("ADD_SECOND") else []
    return " ".join(words)
