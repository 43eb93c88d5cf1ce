"""Files of weights as other projects write them, and a small method that takes them."""

import argparse

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
