"""Batch normalisation of groups, with the addition of a residual and ReLU in the same pass: the
contract, the gradient and the choice of backend.

The implementations are batch_norm_triton.py, batch_norm_cpu.py (numba) and batch_norm_torch.py; the
checks are in batch_norm_checks.py. Shapes: N batch, G groups of N / G consecutive images, C
channels, H W pixels, R = N / G · H · W values of a channel in a group, P processes.
"""

import torch

from . import batch_norm_torch
from .backend import NUMBA_BACKENDS, resolve_backend
from .batch_norm_checks import check, check_numbers, is_channels_last
from .checks import check_choice, check_flags
from .operators import first_only, operator


def batch_norm(
    images, weight=None, bias=None, running_mean=None, running_var=None, *, residual=None,
    relu=False, training=True, momentum=0.1, eps=1e-5, groups=1, tracked=None, processes=None,
    backend="auto",
):  # fmt: skip
    """Batch normalisation of groups, a residual addition and ReLU, in one kernel: out =
    relu((images - mean) / sqrt(var + eps) · weight + bias + residual).

    Each group of the batch has its own statistics. Statistics and sums are float32 (float64 for
    float64), whatever the dtype of the images. If no gradient is needed, nothing is kept for
    backward. Otherwise the images are kept, and `out` if there are both residual and ReLU; the mask
    of the ReLU is recomputed from them. All inputs except the running statistics have gradients; a
    second derivative is refused. Nothing waits for the device.

    Args:
        images: (N, C, …), float32, float16, bfloat16 or (torch backend) float64. The result has
            their memory format. The kernels are designed for channels_last. Strides with gaps cost
            a copy.
        weight, bias: (C,), or None for ones and zeros.
        running_mean, running_var: (C,), or None. In training they are updated in place by
            `momentum` towards the mean over the groups of mean and unbiased variance. Otherwise
            they are the statistics.
        residual: added before the ReLU, with the shape and dtype of the images, or None.
        relu: whether max(0, ·) comes last.
        training: whether the statistics are computed from the images.
        momentum: weight of the new statistics in the running ones.
        groups: G; group g is images[g N / G : (g + 1) N / G]. Has no effect unless `training`.
        tracked: () int64, which counts the calls in training, or None.
        processes: None, or an object that joins the statistics of P processes with batches of equal
            size, with G = 1: `gather(tensor)` returns (P, *tensor.shape), and `add(tensor)` the sum
            over the processes. Each is called once in the forward and once in the backward pass.
        backend: "auto", "triton", "numba" or "torch". "auto" is Triton on CUDA. On the CPU it is
            numba if it is installed and the images are float32 in channels_last, otherwise torch.
    Returns:
        (N, C, …) of the images' dtype.
    Raises:
        ValueError: shapes, dtypes, devices or options disagree; a group has only one value per
            channel.
        RuntimeError: the requested backend cannot run here.
    Source: Ioffe and Szegedy 2015, arXiv:1502.03167.
    """
    check(images, residual, weight, bias, running_mean, running_var, training, groups, processes)
    check_numbers(images, momentum, eps, tracked)
    check_choice("backend", backend, NUMBA_BACKENDS)
    check_flags(relu=relu, training=training)
    images = _in_format_of(images, images)
    residual = None if residual is None else _in_format_of(images, residual)
    if training:
        running = running_mean, running_var, tracked
        mean, var = _statistics(images, running, groups, momentum, processes, backend)
    else:
        mean, var = running_mean.detach()[None], running_var.detach()[None]
    return _Normalised.apply(
        images, residual, weight, bias, mean, var, eps, relu, training, processes, backend
    )


def _in_format_of(images, tensor):
    """The tensor without gaps, in the memory format of the images."""
    last = images.dim() == 4 and is_channels_last(images)
    return tensor.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)


@torch.no_grad()
def _statistics(images, running, groups, momentum, processes, backend):
    """(mean, biased variance), (G, C) each; the running ones move."""
    images = images.detach()
    statistics, merge = torch.ops.fastneg.batch_norm_statistics, torch.ops.fastneg.batch_norm_merge
    if processes is None:
        return statistics(images, *running, groups, momentum, backend)
    own = torch.stack(statistics(images, None, None, None, 1, momentum, backend))
    everyone = processes.gather(own)
    rows = images.numel() // images.shape[1]
    return merge(everyone, *running, rows, momentum, backend)


class _Normalised(torch.autograd.Function):
    # With x^ = (x - mean) / sqrt(var + eps), y = w x^ + b + residual, and dy the gradient where
    # y > 0 (everywhere without ReLU):
    #   db = Σ dy,  dw = Σ dy x^,  dresidual = dy
    #   dx = w / sqrt(var + eps) (dy - Σ dy / R - x^ Σ dy x^ / R)        the sums over the group
    # and where the statistics are no function of x, dx = w / sqrt(var + eps) dy.
    @staticmethod
    def forward(
        ctx, images, residual, weight, bias, mean, var, eps, relu, training, processes, backend
    ):
        out = torch.ops.fastneg.batch_norm_normalise(
            images, residual, weight, bias, mean, var, eps, relu, backend
        )
        shown = out if relu and residual is not None else None
        ctx.save_for_backward(images, shown, weight, bias, mean, var)
        ctx.settings = eps, relu, training, processes, backend
        return out

    @staticmethod
    def backward(ctx, gradient):
        with torch.no_grad():
            grads = _Normalised._gradients(ctx, gradient)
        return *first_only("batch_norm", grads, (gradient, *ctx.saved_tensors[:4])), *(None,) * 7

    @staticmethod
    def _gradients(ctx, gradient):
        images, shown, weight, bias, mean, var = ctx.saved_tensors
        eps, relu, training, processes, backend = ctx.settings
        gradient = _in_format_of(images, gradient)
        affine = images, weight, bias, mean, var
        sums, masked = torch.ops.fastneg.batch_norm_sums(
            gradient, shown, *affine, eps, relu, backend
        )
        if shown is not None:
            gradient, relu = masked, False
        to_bias, to_weight = sums[:, 0] if sums.shape[1] == 1 else sums.sum(1)
        to_images = None
        if ctx.needs_input_grad[0]:
            rows = images.numel() // images.shape[1] // len(mean)
            if not training:
                sums, rows = None, 1
            elif processes is not None:
                sums, rows = processes.add(sums), rows * processes.size
            to_images = torch.ops.fastneg.batch_norm_input(
                gradient, *affine, sums, rows, eps, relu, backend
            )
        to_residual = gradient if ctx.needs_input_grad[1] else None
        return to_images, to_residual, _like(to_weight, weight), _like(to_bias, bias)


def _like(gradient, parameter):
    return None if parameter is None else gradient.to(parameter.dtype)


# --- the operators --------------------------------------------------------------------------------
# The backend is chosen inside, at run time.


def _row(images, *shape):
    """Empty, of the dtype in which statistics are taken."""
    wide = torch.promote_types(images.dtype, torch.float32)
    return images.new_empty(*shape, images.shape[1], dtype=wide)


@operator(
    "batch_norm_statistics",
    "(Tensor images, Tensor(a!)? running_mean, Tensor(b!)? running_var, Tensor(c!)? tracked, "
    "int groups, float momentum, str backend) -> (Tensor mean, Tensor var)",
    lambda images, running_mean, running_var, tracked, groups, momentum, backend: (
        _row(images, groups),
        _row(images, groups),
    ),
)
def _statistics_op(images, running_mean, running_var, tracked, groups, momentum, backend):
    running = running_mean, running_var, tracked
    return _implementation(images, backend).statistics(images, running, groups, momentum)


@operator(
    "batch_norm_merge",
    "(Tensor statistics, Tensor(a!)? running_mean, Tensor(b!)? running_var, Tensor(c!)? tracked, "
    "int rows, float momentum, str backend) -> (Tensor mean, Tensor var)",
    lambda statistics, running_mean, running_var, tracked, rows, momentum, backend: (
        torch.empty_like(statistics[0, 0]),
        torch.empty_like(statistics[0, 0]),
    ),
)
def _merge_op(statistics, running_mean, running_var, tracked, rows, momentum, backend):
    running = running_mean, running_var, tracked
    # few values, which the loops for CPUs would gain nothing on
    backend = "torch" if backend == "numba" else backend
    return _implementation(statistics, backend).merge(statistics, running, rows, momentum)


@operator(
    "batch_norm_normalise",
    "(Tensor images, Tensor? residual, Tensor? weight, Tensor? bias, Tensor mean, Tensor var, "
    "float eps, bool relu, str backend) -> Tensor",
    lambda images, *_: torch.empty_like(images),
)
def _normalise_op(images, residual, weight, bias, mean, var, eps, relu, backend):
    chosen = _implementation(images, backend)
    return chosen.normalise(images, residual, (weight, bias, mean, var, eps), relu)


@operator(
    "batch_norm_sums",
    "(Tensor gradient, Tensor? shown, Tensor images, Tensor? weight, Tensor? bias, Tensor mean, "
    "Tensor var, float eps, bool relu, str backend) -> (Tensor sums, Tensor masked)",
    lambda gradient, shown, images, weight, bias, mean, *_: (
        _row(images, 2, len(mean)),
        gradient.new_empty(0) if shown is None else torch.empty_like(gradient),
    ),
)
def _sums_op(gradient, shown, images, weight, bias, mean, var, eps, relu, backend):
    chosen = _implementation(images, backend)
    return chosen.sums(gradient, shown, images, (weight, bias, mean, var, eps), relu)


@operator(
    "batch_norm_input",
    "(Tensor gradient, Tensor images, Tensor? weight, Tensor? bias, Tensor mean, Tensor var, "
    "Tensor? sums, int rows, float eps, bool relu, str backend) -> Tensor",
    lambda gradient, images, *_: torch.empty_like(images),
)
def _input_op(gradient, images, weight, bias, mean, var, sums, rows, eps, relu, backend):
    chosen = _implementation(images, backend)
    return chosen.to_images(gradient, images, (weight, bias, mean, var, eps), sums, rows, relu)


def _implementation(images, backend):
    """The module that runs this call."""
    if images.dtype == torch.float64:
        if backend in ("triton", "numba"):
            raise ValueError(
                f"backend is {backend!r} but only the torch backend takes float64: convert the "
                'images, or pass "auto".'
            )
        backend = "torch"
    chosen = resolve_backend(images, backend, NUMBA_BACKENDS)
    if chosen == "triton":
        from . import batch_norm_triton  # not at the top: importing fastneg must not import Triton

        return batch_norm_triton
    if chosen == "numba":
        from . import batch_norm_cpu  # numba takes time to import

        if batch_norm_cpu.serves(images):
            return batch_norm_cpu
        if backend == "numba":
            raise ValueError(
                f"images are {tuple(images.shape)} {images.dtype} with strides {images.stride()}: "
                "the numba backend takes float32 in channels_last, or (N, C); pass "
                'backend="auto" or "torch".'
            )
    return batch_norm_torch
