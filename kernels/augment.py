"""The colour changes of a random view: jitter, grayscale, blur, flip, normalise and cast, with
torchvision's definitions.

The contract, the drawing of parameters and the choice of backend; the implementations are
augment_triton.py, augment_cpu.py (numba) and augment_torch.py. Shapes: N images, H W pixels.
"""

import math
from typing import NamedTuple

import torch

from .backend import NUMBA_BACKENDS, resolve_backend
from .checks import check_are_tensors, check_choice, check_few, check_range, check_whole
from .host_copy import to_device
from .operators import operator

# The four operations by their number in `AugmentParams.order`, which is also their column in
# `AugmentParams.factors`.
BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
LARGEST_SIGMA = 5.0


class AugmentParams(NamedTuple):
    """The parameters of the augmentation of N images.

    They are tensors on one device, so the same values can be applied to another batch.
    """

    order: torch.Tensor
    """(N, 4) int32: the operations 0 brightness, 1 contrast, 2 saturation, 3 hue in the order in
    which they are applied."""
    factors: torch.Tensor
    """(N, 4) float32, by operation: three factors ≥ 0 (1: unchanged) and the turn of the hue in
    [-0.5, 0.5] circles (0: unchanged)."""
    gray: torch.Tensor
    """(N,) bool: whether all colour is lost after that."""
    sigma: torch.Tensor
    """(N,) float32: standard deviation of the Gaussian blur in pixels, 0 for none."""
    flip: torch.Tensor
    """(N,) bool: whether left and right change places."""

    def rows(self, index):
        """The parameters of some images: a slice, or an index tensor, which may repeat rows (for
        several images with the same changes)."""
        return AugmentParams(*(tensor[index] for tensor in self))

    def to(self, device):
        """A copy on another device, made asynchronously."""
        return AugmentParams(*(to_device(tensor, device) for tensor in self))


def draw_augment_params(
    count, *, brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0, jitter_p=1.0,
    gray_p=0.0, blur_p=0.0, blur_sigma=(0.1, 2.0), flip_p=0.5, device="cpu", generator=None,
):  # fmt: skip
    """Draw the parameters of `count` images from torchvision's distributions, on the device and
    without waiting for it.

    Args:
        brightness, contrast, saturation: factors from U(max(0, 1 - x), 1 + x). hue: turns from
            U(-x, x), x in [0, 0.5].
        jitter_p, gray_p, blur_p, flip_p: probabilities of these four changes together, of
            grayscale, of blur and of the flip.
        blur_sigma: smallest and largest standard deviation in pixels.
        generator: torch.Generator on `device`, or None for the default one.
    Returns:
        `AugmentParams`. The random numbers do not depend on the settings, so one setting can be
            changed alone.
    Raises:
        ValueError: a setting outside its range.
    Source: torchvision.transforms ColorJitter, RandomApply, RandomGrayscale, GaussianBlur,
    RandomHorizontalFlip.
    """
    strengths = {"brightness": brightness, "contrast": contrast, "saturation": saturation}
    shares = {"jitter_p": jitter_p, "gray_p": gray_p, "blur_p": blur_p, "flip_p": flip_p}
    check_whole("count", count, 0)
    _check_settings(strengths, hue, shares, blur_sigma)
    smallest, largest = blur_sigma
    uniform = torch.rand((count, 13), device=device, generator=generator)
    jitter, gray, blur, flip = (
        uniform[:, column] < p for column, p in enumerate(shares.values(), 8)
    )
    # Column by column with numbers of Python: a tensor of bounds would be a copy from the host,
    # which waits.
    bounds = [(max(0.0, 1 - x), 1 + x, 1.0) for x in strengths.values()] + [(-hue, hue, 0.0)]
    drawn = [
        torch.where(jitter, low + (high - low) * uniform[:, 4 + i], same)
        for i, (low, high, same) in enumerate(bounds)
    ]
    sigma = torch.where(blur, smallest + (largest - smallest) * uniform[:, 12], 0.0)
    return AugmentParams(uniform[:, :4].argsort(1).int(), torch.stack(drawn, 1), gray, sigma, flip)


def augment(
    images,
    params,
    *,
    mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0),
    dtype=torch.float32,
    max_sigma=2.0,
    backend="auto",
):
    """Colour jitter, grayscale, blur, flip, normalise and cast, as torchvision does for float
    images. Each image of the batch has its own parameters.

    Brightness, contrast, saturation and hue come in the order of each image. Contrast is about the
    image's mean gray, and hue is in HSV. Values are clamped to [0, 1] after each, as torchvision
    does, but never rounded to 8 bits in between. The blur is separable, with ceil(3 sigma) taps on
    each side, reflected at the edges: torchvision's gaussian_blur with kernel_size 2 ceil(3 sigma)
    + 1. `draw_augment_params` draws the random numbers. No gradient.

    The caller must ensure, because checking would wait for the device: `order` holds permutations
    and sigma ≤ max_sigma. On the CPU both are checked. On CUDA a larger sigma is cut off at the
    taps of max_sigma.

    Args:
        images: (N, 3, H, W), any strides (channels_last is read in place): uint8 in 0..255, or
            float32, float16, bfloat16 in 0..1.
        params: `AugmentParams` of N images on the same device.
        mean, std: per channel, for images in 0..1: the result is (x - mean) / std.
        dtype: of the result: float32, float16 or bfloat16.
        max_sigma: the largest sigma that `params` may hold, at most 5; 0 if there is no blur.
        backend: "auto", "triton", "numba" or "torch". "auto" is Triton on CUDA, and on the CPU
            numba if it is installed, otherwise torch.
    Returns:
        (N, 3, H, W) channels_last in `dtype`, in new memory.
    Raises:
        ValueError: shapes, dtypes, devices or options disagree; on the CPU also values of `params`
            out of range.
        RuntimeError: the requested backend cannot run here.
    Source: torchvision.transforms.v2.functional adjust_*, rgb_to_grayscale, gaussian_blur.
    """
    _check(images, params, mean, std, dtype, max_sigma)
    check_choice("backend", backend, NUMBA_BACKENDS)
    return torch.ops.fastneg.augment(
        images.detach(), *params, list(mean), list(std), dtype, float(max_sigma), backend
    )


@operator(
    "augment",
    "(Tensor images, Tensor order, Tensor factors, Tensor gray, Tensor sigma, Tensor flip, "
    "float[] mean, float[] std, ScalarType dtype, float max_sigma, str backend) -> Tensor",
    lambda images, order, factors, gray, sigma, flip, mean, std, dtype, *_: _empty(images, dtype),
)
def _augment(images, order, factors, gray, sigma, flip, mean, std, dtype, max_sigma, backend):
    params, out = AugmentParams(order, factors, gray, sigma, flip), _empty(images, dtype)
    if out.numel() == 0:
        return out
    # Not at the top: importing fastneg must import neither Triton nor numba.
    chosen = resolve_backend(images, backend, NUMBA_BACKENDS)
    if chosen == "triton":
        from . import augment_triton as implementation
    elif chosen == "numba":
        from . import augment_cpu as implementation  # as torch, in a sixth of the time
    else:
        from . import augment_torch as implementation
    if images.device.type == "cpu":
        _check_values(params, max_sigma)
    implementation.augment(images, params, mean, std, taps(max_sigma), out)
    return out


def _empty(images, dtype):
    return torch.empty(
        images.shape, dtype=dtype, device=images.device, memory_format=torch.channels_last
    )


def taps(sigma):
    """Pixels on each side of the centre that a blur of this standard deviation reads."""
    return math.ceil(3 * sigma)


# --- checks ---------------------------------------------------------------------------------------


def _check_settings(strengths, hue, shares, blur_sigma):
    """ValueError unless the settings of `draw_augment_params` are in their ranges."""
    for name, value in strengths.items():
        check_range(name, value, 0.0, math.inf)
    check_range("hue", hue, 0.0, 0.5)
    for name, value in shares.items():
        check_range(name, value, 0.0, 1.0)
    check_few("blur_sigma", blur_sigma, 2)
    smallest, largest = blur_sigma
    if not 0 < smallest <= largest <= LARGEST_SIGMA:
        raise ValueError(
            f"blur_sigma is {blur_sigma}: 0 < smallest ≤ largest ≤ {LARGEST_SIGMA} was expected."
        )


def _check(images, params, mean, std, dtype, max_sigma):
    check_are_tensors(images=images)
    if images.dim() != 4 or images.shape[1] != 3:
        raise ValueError(f"images are {tuple(images.shape)}: (N, 3, H, W) was expected.")
    if images.dtype not in (torch.uint8, torch.float32, torch.float16, torch.bfloat16):
        raise ValueError(
            f"images have dtype {images.dtype}: uint8 in 0..255, or float32, float16 or bfloat16 "
            "in 0..1, was expected."
        )
    if dtype not in (torch.float32, torch.float16, torch.bfloat16):
        raise ValueError(f"dtype is {dtype}: float32, float16 or bfloat16 was expected.")
    if not isinstance(params, (tuple, list)) or len(params) != len(AugmentParams._fields):
        raise ValueError(f"params is a {type(params).__name__}: an AugmentParams was expected.")
    check_few("mean", mean, 3)
    check_few("std", std, 3)
    _check_params(images, params)
    if not all(map(math.isfinite, mean)) or not all(0 < value < math.inf for value in std):
        raise ValueError(
            f"mean is {mean} and std is {std}: three finite numbers each, std above 0, were "
            "expected."
        )
    check_range("max_sigma", max_sigma, 0.0, LARGEST_SIGMA)
    if images.numel() and taps(max_sigma) >= min(images.shape[2:]):
        raise ValueError(
            f"images are {tuple(images.shape)} but a blur of max_sigma {max_sigma} reads "
            f"{taps(max_sigma)} pixels beyond each edge: pass larger images, or a smaller "
            "max_sigma (0 without blur)."
        )


def _check_params(images, params):
    count = images.shape[0]
    expected = AugmentParams(
        ((count, 4), torch.int32),
        ((count, 4), torch.float32),
        ((count,), torch.bool),
        ((count,), torch.float32),
        ((count,), torch.bool),
    )
    named = dict(zip(AugmentParams._fields, params, strict=True))
    check_are_tensors(**{f"params.{name}": tensor for name, tensor in named.items()})
    for (name, tensor), (shape, kind) in zip(named.items(), expected, strict=True):
        if tuple(tensor.shape) != shape or tensor.dtype != kind or tensor.device != images.device:
            raise ValueError(
                f"params.{name} is {tuple(tensor.shape)} {tensor.dtype} on {tensor.device}: "
                f"{shape} {kind} on {images.device} was expected."
            )


def _check_values(params, max_sigma):
    if not torch.equal(
        params.order.sort(1).values, torch.arange(4, dtype=torch.int32).expand_as(params.order)
    ):
        raise ValueError("params.order holds a row that is no permutation of 0, 1, 2, 3.")
    if not ((params.sigma >= 0) & (params.sigma <= max_sigma)).all():
        raise ValueError(
            f"params.sigma holds {params.sigma.min()} to {params.sigma.max()}: 0 to max_sigma = "
            f"{max_sigma} was expected; raise max_sigma."
        )
    if not (
        (params.factors[:, :HUE] >= 0).all()
        and (params.factors[:, HUE].abs() <= 0.5).all()
        and params.factors.isfinite().all()
    ):
        raise ValueError(
            "params.factors holds a negative or infinite factor, or a hue outside [-0.5, 0.5] "
            "turns."
        )
