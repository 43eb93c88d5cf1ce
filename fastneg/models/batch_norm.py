"""Batch normalisation over parts of a batch, and over the batches of all processes.

Legend: N batch, C channels, H W pixels, S splits.
"""

from __future__ import annotations

import contextlib

import torch
import torch.distributed as dist
from torch import nn

from fastneg.counts import counted
from fastneg.distributed import all_rows
from fastneg.errors import SettingsError
from fastneg.kernels.batch_norm import batch_norm


def batch_norms(module):
    """How many layers of batch normalisation a module has."""
    return sum(isinstance(child, nn.modules.batchnorm._BatchNorm) for child in module.modules())


class _Fusable(nn.modules.batchnorm._BatchNorm):
    """A layer whose ReLU, and the addition before that, may be part of it: then, and where the
    statistics are not those of one batch, `fastneg.kernels.batch_norm` computes it.

    Weights and buffers are those of torch's layer.
    """

    splits = 1
    relu = False
    """Whether the ReLU that comes next is part of this layer."""
    processes = None

    def forward(self, images, residual=None):
        """(N, C, …); the residual, of their shape, is added before the ReLU."""
        plain = not self.training or (self.splits == 1 and self.processes is None)
        if plain and not self.relu and residual is None:
            return super().forward(images)
        self._check_input_dim(images)
        if residual is not None and residual.dtype != images.dtype:
            dtype = torch.promote_types(images.dtype, residual.dtype)
            images, residual = images.to(dtype), residual.to(dtype)
        batch = self.training or self.running_mean is None
        moves = self.training and self.track_running_stats
        return batch_norm(
            images,
            self.weight,
            self.bias,
            self.running_mean if moves or not batch else None,
            self.running_var if moves or not batch else None,
            residual=residual,
            relu=self.relu,
            training=batch,
            momentum=self.momentum,
            eps=self.eps,
            groups=self.splits if self.training else 1,
            tracked=self.num_batches_tracked if moves else None,
            processes=self.processes if self.training else None,
        )


class GroupedBatchNorm2d(_Fusable, nn.BatchNorm2d):
    """Batch normalisation with its own statistics for each of S consecutive parts of the batch.

    One device acts as S small ones. With the key batch permuted, a query and its key share no
    statistics by which they could be matched. The running statistics move to the mean over the
    parts.
    Source: the shuffled batch normalisation of He et al. 2020, arXiv:1911.05722, section 3.3, on
    one device.
    """

    def forward(self, images, residual=None):
        if self.training and len(images) % self.splits:
            raise ValueError(
                f"A batch of {len(images)} does not divide into {self.splits} splits of batch "
                "normalisation: change bn_splits."
            )
        return super().forward(images, residual)


class SyncBatchNorm(_Fusable):
    """Batch normalisation over the batches of all processes, which are equally large, on any
    device: what one process with all of them does.

    One exchange in the forward and one in the backward pass; `torch.compile` leaves it as it is.
    """

    @torch.compiler.disable
    def forward(self, images, residual=None):
        return super().forward(images, residual)

    @property
    def processes(self):
        return Processes()

    def _check_input_dim(self, images):
        """Any input of at least two dimensions serves, the second being the channels."""


FUSABLE = (nn.BatchNorm2d, GroupedBatchNorm2d, SyncBatchNorm)


def takes_kernel(layer, kinds=FUSABLE):
    """Whether the kernel does what this layer does.

    Subclasses have a behaviour of their own. A momentum of None (torch's mean over all calls) is
    not known to the kernel.
    """
    return type(layer) in kinds and layer.momentum is not None


def split_batch_norm(module, splits):
    """Turn every BatchNorm2d of a module into GroupedBatchNorm2d, in place; returns how many there
    were."""
    found = _layers(module, (nn.BatchNorm2d, GroupedBatchNorm2d))
    for child in found:
        child.__class__ = GroupedBatchNorm2d
        child.splits = splits
    return len(found)


def _layers(module, kinds):
    return [child for child in module.modules() if takes_kernel(child, kinds)]


@contextlib.contextmanager
def statistics_kept(module):
    """Within it, the running statistics of a module do not move: what passes is not what the module
    is evaluated on."""
    norms = [each for each in module.modules() if isinstance(each, nn.modules.batchnorm._NormBase)]
    norms = [each for each in norms if each.running_mean is not None]
    moved = [buffer for each in norms for buffer in (each.running_mean, each.running_var)]
    counts = [each.num_batches_tracked for each in norms]
    before = [torch._foreach_mul(group, 1) if group else [] for group in (moved, counts)]
    yield
    for group, values in zip((moved, counts), before, strict=True):
        if group:
            # Autograd keeps them for a backward pass that does not use them in training: to write
            # through `data` is not to change them in its eyes.
            torch._foreach_copy_([buffer.data for buffer in group], values)


class Processes:
    """The processes of the group, as `fastneg.kernels.batch_norm` asks for them."""

    @property
    def size(self):
        return dist.get_world_size()

    def gather(self, tensor):
        """(P, *tensor.shape)"""
        return all_rows(tensor[None])

    def add(self, tensor):
        """The sum over the processes."""
        total = tensor.clone()
        dist.all_reduce(total)
        return total


def sync_batch_norm(module):
    """Let every BatchNorm1d and BatchNorm2d in a module take its statistics over all processes, in
    place; returns how many there were. Names, weights and buffers stay."""
    found = _synchronisable(module)
    for child in found:
        child.__class__ = SyncBatchNorm
    return len(found)


def _synchronisable(module):
    return _layers(module, (nn.BatchNorm1d, nn.BatchNorm2d, GroupedBatchNorm2d))


def check_batch_norm(method, config):
    """What is to be said of --bn and this backbone, as lines.

    Args:
        method: as built, which has split the layers of its backbone where the config asks for that.
        config: `PretrainConfig`.
    Raises:
        TrainingError: --bn or --key_pass would reach a part of the layers only.
    """
    backbone = method.query_encoder.backbone
    layers = batch_norms(backbone)
    if not layers and config.bn == "sync" and batch_norms(method):
        return [
            f"{config.backbone} has no batch normalisation: --bn sync acts on that of the heads "
            "alone."
        ]
    if not layers and config.bn != "none":
        return [
            f"{config.backbone} has no batch normalisation: nothing can leak through it, and "
            f"--bn {config.bn} has no effect."
        ]
    split = sum(isinstance(module, GroupedBatchNorm2d) for module in backbone.modules())
    splitting = {
        "--bn split": config.bn == "split",
        "--key_pass batched": config.key_pass == "batched",
    }
    for flag, asked in splitting.items():
        if asked and split < layers:
            raise SettingsError(
                f"{flag} supports only {split} of the {counted(layers, 'layer')} of batch "
                f"normalisation of {config.backbone}, because the others are of another class: "
                "take --bn none and --key_pass separate, or another backbone."
            )
    if config.bn == "sync" and (synced := len(_synchronisable(backbone))) < layers:
        raise SettingsError(
            f"--bn sync supports only {synced} of the {counted(layers, 'layer')} of batch "
            f"normalisation of {config.backbone}: take --bn none."
        )
    return []
