"""Batch normalisation over parts of a batch, and over the batches of all processes.

Legend: N batch, C channels, H W pixels, S splits.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn

from fastneg.counts import counted
from fastneg.errors import TrainingError


def batch_norms(module):
    """How many layers of batch normalisation a module has."""
    return sum(isinstance(child, nn.modules.batchnorm._BatchNorm) for child in module.modules())


class SplitBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation with its own statistics for each of S consecutive parts of the batch.

    One device acts as S small ones. With the key batch permuted, a query and its key share no
    statistics by which they could be matched. The running statistics move to the mean over the
    parts. Weights and buffers are those of BatchNorm2d.
    Source: the shuffled batch normalisation of He et al. 2020, arXiv:1911.05722, section 3.3, on
    one device.
    """

    splits = 1

    def forward(self, images):
        if not self.training or self.splits == 1:
            return super().forward(images)
        if len(images) % self.splits:
            raise ValueError(
                f"A batch of {len(images)} does not divide into {self.splits} splits of batch "
                "normalisation: change bn_splits."
            )
        mean, var = (
            self.running_mean.repeat(self.splits, 1),
            self.running_var.repeat(self.splits, 1),
        )
        parts = [
            F.batch_norm(
                part, mean[i], var[i], self.weight, self.bias, True, self.momentum, self.eps
            )
            for i, part in enumerate(images.chunk(self.splits))
        ]
        with torch.no_grad():
            self.running_mean.copy_(mean.mean(0))
            self.running_var.copy_(var.mean(0))
            self.num_batches_tracked.add_(1)
        return torch.cat(parts)


def split_batch_norm(module, splits):
    """Turn every BatchNorm2d of a module into SplitBatchNorm2d, in place; returns how many there
    were."""
    found = [
        child for child in module.modules() if type(child) in (nn.BatchNorm2d, SplitBatchNorm2d)
    ]
    for child in found:
        child.__class__ = SplitBatchNorm2d
        child.splits = splits
    return len(found)


class SyncBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch normalisation over the batches of all processes, which are equally large, on any
    device: what one process with all of them does.

    torch's own SyncBatchNorm does the same on CUDA alone; `sync_batch_norm` takes it there.
    """

    def _check_input_dim(self, images):
        """Any input of at least two dimensions serves, the second being the channels."""

    def forward(self, images):
        if not self.training:
            return super().forward(images)
        out, mean, var = _Synchronised.apply(images, self.weight, self.bias, self.eps)
        with torch.no_grad():
            count = dist.get_world_size() * images.numel() // images.shape[1]
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(var * (count / (count - 1)), self.momentum)
            self.num_batches_tracked.add_(1)
        return out


class _Synchronised(torch.autograd.Function):
    @staticmethod
    def forward(ctx, images, weight, bias, eps):
        over = [dim for dim in range(images.ndim) if dim != 1]
        var, mean = torch.var_mean(images, over, correction=0)
        # The variance of all is the mean of the variances and the variance of the means: no
        # difference of large squares.
        means, variances = _mean_over_processes(torch.stack([mean, var]))
        spread = _mean_over_processes((mean - means).square())
        mean, var = means, variances + spread
        out = F.batch_norm(images, mean, var, weight, bias, False, 0.0, eps)
        ctx.save_for_backward(images, weight, mean, (var + eps).rsqrt())
        ctx.over = over
        ctx.mark_non_differentiable(mean, var)
        return out, mean, var

    @staticmethod
    def backward(ctx, gradient, *_):
        images, weight, mean, scale = ctx.saved_tensors
        shape = [-1 if dim == 1 else 1 for dim in range(images.ndim)]
        normalised = (images - mean.view(shape)) * scale.view(shape)
        to_bias, to_weight = gradient.sum(ctx.over), (gradient * normalised).sum(ctx.over)
        # dL/dx = w scale (dy - mean(dy) - x^ mean(dy x^)), the means over all processes, each of
        # which brings its own part of the loss.
        each = images.numel() // images.shape[1]
        shift, slope = _mean_over_processes(torch.stack([to_bias, to_weight])) / each
        inner = gradient - shift.view(shape) - normalised * slope.view(shape)
        return inner * (weight * scale).view(shape), to_weight, to_bias, None


def _mean_over_processes(values):
    total = values.clone()
    dist.all_reduce(total)
    return total / dist.get_world_size()


def sync_batch_norm(module, device):
    """Let every BatchNorm1d and BatchNorm2d in a module take its statistics over all processes, in
    place; returns how many there were.

    On CUDA they become torch's SyncBatchNorm, elsewhere the one above; names, weights and buffers
    stay.
    """
    found = _synchronisable(module)
    if device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(module)
    else:
        for child in found:
            child.__class__ = SyncBatchNorm
    return len(found)


def _synchronisable(module):
    """The layers that `sync_batch_norm` can take; subclasses have a behaviour of their own."""
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, SplitBatchNorm2d)
    return [child for child in module.modules() if type(child) in kinds]


def check_batch_norm(backbone, config):
    """What is to be said of --bn and this backbone, as lines.

    Args:
        backbone: of the built method, which has split its layers where the config asks for that.
        config: `PretrainConfig`.
    Raises:
        TrainingError: --bn or --key_pass would reach a part of the layers only.
    """
    layers = batch_norms(backbone)
    if not layers and config.bn != "none":
        return [
            f"{config.backbone} has no batch normalisation: nothing can leak through it, and "
            f"--bn {config.bn} does nothing."
        ]
    split = sum(isinstance(module, SplitBatchNorm2d) for module in backbone.modules())
    splitting = {
        "--bn split": config.bn == "split",
        "--key_pass batched": config.key_pass == "batched",
    }
    for flag, asked in splitting.items():
        if asked and split < layers:
            raise TrainingError(
                f"{flag} reaches {split} of the {counted(layers, 'layer')} of batch normalisation "
                f"of {config.backbone}, the others are of a kind of their own: take --bn none and "
                "--key_pass separate, or another backbone."
            )
    if config.bn == "sync" and (synced := len(_synchronisable(backbone))) < layers:
        raise TrainingError(
            f"--bn sync reaches {synced} of the {counted(layers, 'layer')} of batch normalisation "
            f"of {config.backbone}: take --bn none."
        )
    return []
