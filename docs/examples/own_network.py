"""Pre-train your own network on your own folder of images, FOLDER/<class>/*.jpg: encode, pre-train
without labels, and measure kNN accuracy on held-out images.

    python docs/examples/own_network.py FOLDER OUT [EPOCHS [IMAGE_SIZE]]
"""

import sys
from pathlib import Path

import torch
from torch import nn

import fastneg
from fastneg.config import EncodeConfig
from fastneg.data.encode.encode import encode
from fastneg.knn import knn_votes


class Block(nn.Module):
    def __init__(self, width, out):
        super().__init__()
        self.first = nn.Conv2d(width, out, 3, stride=2, padding=1, bias=False)
        self.second = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(out) for _ in range(2))

    def forward(self, images):
        first = self.norms[0](self.first(images)).relu()
        return (first + self.norms[1](self.second(first))).relu()


class Network(nn.Module):  # images (N, 3, H, W) → a map (N, 128, H/16, W/16), which is averaged
    def __init__(self):
        super().__init__()
        widths = (3, 16, 32, 64, 128)
        self.blocks = nn.Sequential(*map(Block, widths[:-1], widths[1:]))

    def forward(self, images):
        return self.blocks(images)


if __name__ == "__main__":  # encode starts processes
    folder, out = sys.argv[1], Path(sys.argv[2])
    epochs, size = [*map(int, sys.argv[3:]), *(50, 64)[len(sys.argv) - 3 :]]
    out.mkdir(parents=True, exist_ok=True)
    encode(EncodeConfig(folder, str(out / "own.beton"), holdout=0.2))
    settings = {"preset": "tiny_cpu", "image_size": size, "batch_size": 32, "epochs": epochs}
    network = Network()
    fastneg.pretrain(out / "own.beton", out / "run", backbone=network, **settings)
    run = fastneg.load_run(out / "run", backbone=network)
    voters, asked = (run.embed(out / name) for name in ("own.beton", "own-holdout.beton"))
    classes = int(voters.labels.max()) + 1
    votes = knn_votes(asked.features, voters.features, voters.labels, classes, k=20)
    right = (votes.argmax(1) == asked.labels).to(torch.float64).mean()
    told = f"kNN top-1 on {len(asked.labels)} held-out images"
    print(f"{told}: {right:.1%}, chance {1 / classes:.1%}")
