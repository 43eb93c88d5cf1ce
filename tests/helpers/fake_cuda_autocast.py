"""What autocast does on CUDA, for tensors that PyTorch's own does not take for CUDA tensors.

Source: PyTorch's documentation of torch.amp, "CUDA Ops that can autocast".
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from helpers.fake_cuda_tensor import CudaTensor


def _found(*names):
    places = (torch, torch.Tensor, F, torch._C._nn, torch.linalg)
    return {getattr(place, name) for name in names for place in places if hasattr(place, name)}


LOWER = _found(
    *("__matmul__", "addbmm", "addmm", "addmv", "addr", "baddbmm", "bmm", "chain_matmul"),
    *("multi_dot", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d"),
    *("conv_transpose3d", "linear", "matmul", "mm", "mv", "prelu", "einsum"),
    "scaled_dot_product_attention",
)
HIGHER = _found(
    *("__pow__", "__rpow__", "acos", "asin", "binary_cross_entropy_with_logits", "cosh"),
    *("cosine_embedding_loss", "cdist", "cosine_similarity", "cross_entropy", "cumprod", "cumsum"),
    *("dist", "erfinv", "exp", "expm1", "group_norm", "hinge_embedding_loss", "kl_div", "l1_loss"),
    *("layer_norm", "log", "log10", "log_softmax", "log1p", "log2", "margin_ranking_loss"),
    *("mse_loss", "multilabel_margin_loss", "multi_margin_loss", "nll_loss", "norm", "normalize"),
    *("pdist", "pow", "prod", "reciprocal", "rsqrt", "sinh", "smooth_l1_loss", "soft_margin_loss"),
    *("softmax", "softmin", "softplus", "sum", "renorm", "tan", "triplet_margin_loss"),
)


class Autocast:
    """Casts the arguments of a call; copies of weights are kept until the context ends."""

    def __init__(self):
        self.cache = {}

    def __call__(self, func, args, kwargs):
        if not torch.is_autocast_enabled("cuda"):
            self.cache.clear()
            return args, kwargs
        if func in LOWER:
            cast = self._lower
        elif func in HIGHER:
            cast = self._higher
        else:
            return args, kwargs
        of = lambda each: cast(each) if isinstance(each, CudaTensor) else each
        deep = lambda each: list(map(of, each)) if isinstance(each, (tuple, list)) else of(each)
        return tuple(map(deep, args)), {name: deep(each) for name, each in kwargs.items()}

    def _lower(self, tensor):
        dtype = torch.get_autocast_dtype("cuda")
        if tensor.dtype not in (torch.float32, torch.float16, torch.bfloat16):
            return tensor
        if tensor.dtype is dtype:
            return tensor
        if not (tensor.requires_grad and tensor.is_leaf and tensor.dtype is torch.float32):
            return tensor.to(dtype)
        if id(tensor) not in self.cache:
            self.cache[id(tensor)] = tensor, tensor.to(dtype)
        return self.cache[id(tensor)][1]

    def _higher(self, tensor):
        return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
