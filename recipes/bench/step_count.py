"""The bytes and operations of one training step, counted on tensors that have shapes and no memory:
the real modules run, forward, backward, optimizer and momentum update.

Legend: N batch, M negatives per query, K queue, D feature dimension.
"""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from fastneg import distributed
from fastneg.methods import METHODS
from fastneg.recipes.bench.step_contenders import Variant, ready_contender
from fastneg.training.optim import OPTIMIZERS
from fastneg.training.step import accumulate

TERMS = {  # the first whose words the operator's name holds
    "convolutions": ("convolution",),
    "batch norm": ("batch_norm",),
    "joining the groups of batch norm": ("cat",),
    "ReLU": ("relu", "threshold_backward"),
    "loss": ("info_nce",),
    "casts to bfloat16": ("_to_copy",),
    "pooling": ("pool", "mean"),
    "heads": ("addmm", "mm"),
    "additions": ("add",),
}
OF_IMAGES = ("additions", "joining the groups of batch norm", "casts to bfloat16")
"""Terms of (N, C, H, W) tensors; the same operators on small ones are of the rest."""
REST = "the rest"
OF_PHASE = {"optimizer": "optimizer", "momentum": "momentum update and queue"}
"""Phases of which all is one term."""
FREE = ("empty", "new_empty", "detach", "alias", "promote_types", "set_", "sym_", "as_strided_")
"""Beginnings of operators that move nothing."""
FREE_SPACES = ("prim", "profiler")


@dataclass(frozen=True)
class Op:
    """One operator of a step."""

    name: str
    phase: str
    """forward, backward, optimizer or momentum."""
    term: str
    bytes: int
    """Read and written, each input once a pass over it."""
    flops: int


def count_step(config):
    """The operators of one step, in order.

    Args:
        config: `PretrainConfig`; its batch may be any size, for no tensor has memory.
    Returns:
        [`Op`], as on a GPU: bfloat16 networks, float16 views.
    """
    n, size = config.batch_size, config.image_size
    groups = config.bn_splits if config.bn == "split" else 1
    small = config.replace(
        batch_size=2 * groups,
        device="cpu",
        precision="bf16",
        compile=False,
        cuda_graphs=False,
        fused_bn="off" if config.fused_bn == "off" else "on",  # as on a GPU
    )
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        world = distributed.World(0, 1, torch.device("cpu"))
        trainer = ready_contender(small, Variant(), Path(folder), stack, world).trainer
        mode = FakeTensorMode()
        method = _without_memory(trainer.method, mode)
        with mode:
            trained = (parameter for parameter in method.parameters() if parameter.requires_grad)
            optimizer = OPTIMIZERS[config.optimizer](trained, config)
            view = lambda *count: torch.empty((*count, 3, size, size), dtype=torch.float16)
            nhwc = lambda images: images.contiguous(memory_format=torch.channels_last)
            kinds = len(config.negative_kinds())
            negatives = view(n, kinds * config.negatives_per_query) if kinds else None
            counting = _Counting()
            with counting:
                inputs = nhwc(view(n)), nhwc(view(n)), negatives
                counting.ops.clear()
                output = accumulate(method, inputs, trainer.orders, config.accumulate or 1, True)
                counting.phase = "optimizer"
                optimizer.step(config.lr)
                counting.phase = "momentum"
                method.after_step(output.keys, 0.0)
    return counting.ops


def gradient_bytes(config):
    """Bytes of all gradients of a step, in float32."""
    method = METHODS[config.method](config)
    return 4 * sum(value.numel() for value in method.parameters() if value.requires_grad)


def _without_memory(method, mode):
    """The method with tensors of the mode in place of its own."""
    for module in method.modules():
        for name, value in module._parameters.items():
            if value is not None:
                made = torch.nn.Parameter(mode.from_tensor(value.detach()), value.requires_grad)
                module._parameters[name] = made
        for name, value in module._buffers.items():
            if value is not None:
                module._buffers[name] = mode.from_tensor(value)
    return method


class _Counting(TorchDispatchMode):
    """Counts each operator that runs within it."""

    def __init__(self):
        super().__init__()
        self.ops, self.phase = [], "forward"

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        name = func.name().partition("::")[2].partition(".")[0]
        if not (name.startswith(FREE) or func.namespace in FREE_SPACES or _is_view(func)):
            phase = self.phase
            if phase == "forward" and torch._C._current_graph_task_id() != -1:
                phase = "backward"
            flops = _flops(func, name, args, kwargs, out)
            moved = _moved(func, name, args, kwargs, out)
            self.ops.append(Op(name, phase, _term(name, phase, out), moved, flops))
        return out


def _is_view(func):
    returns = [each.alias_info for each in func._schema.returns]
    return any(info is not None and not info.is_write for info in returns)


def _term(name, phase, out):
    if phase in OF_PHASE:
        return OF_PHASE[phase]
    found = next((term for term, words in TERMS.items() if any(word in name for word in words)), "")
    small = not any(tensor.dim() >= 4 for tensor in _tensors(out))
    return REST if not found or (small and found in OF_IMAGES) else found


def _moved(func, name, args, kwargs, out):
    """Bytes of an operator, by how often a good kernel goes over its tensors."""
    if name == "convolution_backward":
        # One kernel for the gradient of the images, one for that of the weight.
        (gradient, images, weight), made = args[:3], [_bytes(each) for each in _tensors(out)[:2]]
        sources = (weight, images) if len(made) == 2 else (images,)
        return sum(_bytes(gradient) + _bytes(each) for each in sources) + sum(made)
    read = sum(map(_bytes, _tensors((args, kwargs))))
    if "batch_norm" in name and func.namespace == "aten":
        # torch's own go over the images twice, for their sums and for the result.
        large = [_bytes(each) for each in _tensors((args, kwargs)) if each.dim() >= 2]
        read += sum(large) if _in_training(name, args) else 0
    # What is changed in place is read above and written here.
    return read + sum(map(_bytes, _tensors(out)))


def _in_training(name, args):
    return name.endswith("backward") or True in [each for each in args if isinstance(each, bool)]


def _flops(func, name, args, kwargs, out):
    if name == "info_nce":
        return _loss_flops(args)
    formula = flop_registry.get(func._overloadpacket)
    return 0 if formula is None else int(formula(*args, **kwargs, out_val=out))


def _loss_flops(args):
    """Logits and gradient from one sweep: 4 N (K + M) D."""
    matrices = [each for each in args if isinstance(each, torch.Tensor) and each.dim() >= 2]
    (n, dim), keys = matrices[0].shape, matrices[2:]
    return 4 * n * dim * sum(len(each) if each.dim() == 2 else each.shape[1] for each in keys)


def _tensors(tree):
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def _bytes(tensor):
    """Of what lies behind a tensor: one that is expanded is read once."""
    whole = tensor.numel() * tensor.element_size()
    return min(whole, tensor.untyped_storage().nbytes())
