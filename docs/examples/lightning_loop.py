"""The loader in PyTorch Lightning, on one process or several.

    python docs/examples/lightning_loop.py x.beton
    torchrun --nproc_per_node 2 docs/examples/lightning_loop.py x.beton --devices 2

Lightning keeps the loader's state in its checkpoints: --resume FILE resumes within an epoch.
"""

import argparse

import lightning
import torch
import torch.nn.functional as F
from torchvision.models import resnet18

import fastneg

parser = argparse.ArgumentParser()
parser.add_argument("data")
parser.add_argument("--out", default="lightning-run")
parser.add_argument("--epochs", type=int, default=10)
parser.add_argument("--batch_size", type=int, default=256)
parser.add_argument("--image_size", type=int, default=224)
parser.add_argument("--devices", type=int, default=1)
parser.add_argument("--resume")


class Contrastive(lightning.LightningModule):
    def __init__(self, args):
        super().__init__()
        self.args, self.network = args, resnet18(num_classes=128)

    def train_dataloader(self):  # called in each process, after Lightning has joined them
        largest = self.args.image_size * 72 // 224
        sizes = {"patch_min": max(1, largest // 4), "patch_max": largest}
        options = {"device": self.device, "threads": 0 if self.args.devices == 1 else 1, **sizes}
        size = self.args.image_size
        return fastneg.TrainLoader(
            self.args.data, self.args.batch_size, size, negatives="patch", **options
        )

    def training_step(self, batch, number):
        views = torch.cat([batch.query, batch.key, batch.negatives[:, 0]]).float()
        query, key, negative = F.normalize(self.network(views)).chunk(3)
        options = {"extra_negatives": negative[:, None], "return_stats": True}
        out = fastneg.info_nce(query, key, temperature=0.2, **options)
        self.log_dict({"loss": out.loss, "acc1": out.acc1}, batch_size=len(query), prog_bar=True)
        return out.loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.05, momentum=0.9, weight_decay=1e-4)


if __name__ == "__main__":
    args = parser.parse_args()
    options = {"devices": args.devices, "max_epochs": args.epochs, "log_every_n_steps": 1}
    trainer = lightning.Trainer(default_root_dir=args.out, **options)
    trainer.fit(Contrastive(args), ckpt_path=args.resume)
    trainer.print(f"loss {trainer.callback_metrics['loss']:.3f}")
