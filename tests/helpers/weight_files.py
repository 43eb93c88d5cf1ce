"""Files of weights as other projects write them, and a small method that takes them."""

import argparse
import copy

import torch
from torch import nn
from torchvision.models import resnet18

from fastneg.config import PretrainConfig
from fastneg.methods.moco_torch import MoCo

CONFIG = PretrainConfig(
    backbone="resnet18", queue_size=12, feature_dim=16, image_size=64, patch_max=32
)


def method(seed=0, config=CONFIG):
    torch.manual_seed(seed)
    made = MoCo(config)
    # running statistics that differ from the initial ones
    made.train()(torch.randn(8, 3, 32, 32), torch.randn(8, 3, 32, 32))
    made.after_step(nn.functional.normalize(torch.randn(5, config.feature_dim)))
    return made.eval()


def moco_checkpoint(seed=0, head="mlp"):
    """(the encoder, the checkpoint) as MoCo's main_moco.py makes them: torchvision's network, its
    fc replaced, wrapped for many GPUs."""
    torch.manual_seed(seed)
    encoder = resnet18(num_classes=16)
    if head == "mlp":
        encoder.fc = nn.Sequential(nn.Linear(512, 512), nn.ReLU(), encoder.fc)
    state = {
        f"module.{which}.{name}": value
        for which in ("encoder_q", "encoder_k")
        for name, value in encoder.state_dict().items()
    }
    queue = nn.functional.normalize(torch.randn(16, 12), dim=0)
    state |= {"module.queue": queue, "module.queue_ptr": torch.tensor([8])}
    content = {
        "epoch": 7,
        "arch": "resnet18",
        "state_dict": state,
        "optimizer": {"param_groups": []},
        "args": argparse.Namespace(lr=0.03),
    }
    return encoder.eval(), content


def spread(network, *prefixes):
    """A network's state dict under several prefixes, each with numbers of its own."""
    state = network.state_dict()
    return {
        prefix + name: value + number if value.is_floating_point() else value
        for number, prefix in enumerate(prefixes)
        for name, value in state.items()
    }


def lightly_moco():
    """(torchvision's network, the module) as lightly's MoCo example builds it."""
    from lightly.models.modules import MoCoProjectionHead
    from lightly.models.utils import deactivate_requires_grad

    class LightlyMoCo(nn.Module):
        def __init__(self):
            super().__init__()
            resnet = resnet18()
            self.backbone = nn.Sequential(*list(resnet.children())[:-1])
            self.projection_head = MoCoProjectionHead(512, 512, 16)
            self.backbone_momentum = copy.deepcopy(self.backbone)
            self.projection_head_momentum = copy.deepcopy(self.projection_head)
            deactivate_requires_grad(self.backbone_momentum)

    return LightlyMoCo()


def solo_mocov2plus():
    """A checkpoint of Lightning with the names of solo-learn's MoCo v2+ (solo/methods of its
    version 1.0.6, which PyPI does not have): backbone, momentum_backbone, projectors, classifier
    and a queue of (2, D, K), one for each view."""
    backbone = resnet18(num_classes=16)
    backbone.fc = nn.Identity()
    head = nn.Sequential(nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 16))
    state = spread(backbone, "backbone.", "momentum_backbone.")
    state |= spread(head, "projector.", "momentum_projector.")
    state |= spread(nn.Linear(512, 100), "classifier.")
    state |= {"queue": torch.randn(2, 16, 12), "queue_ptr": torch.tensor([4])}
    content = {"epoch": 3, "pytorch-lightning_version": "2.1.0", "state_dict": state}
    return backbone, head, content
