"""The loader with Hugging Face accelerate, on one process or several.

    python docs/examples/accelerate_loop.py x.beton
    accelerate launch --num_processes 2 docs/examples/accelerate_loop.py x.beton

accelerate saves the loader's state with the weights: a second call resumes within an epoch.
"""

import argparse
import os

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torchvision.models import resnet18

import fastneg

parser = argparse.ArgumentParser()
parser.add_argument("data")
parser.add_argument("--out", default="accelerate-run")
parser.add_argument("--epochs", type=int, default=10)
parser.add_argument("--batch_size", type=int, default=256)
parser.add_argument("--image_size", type=int, default=224)
parser.add_argument("--save_every", type=int, default=100)
args = parser.parse_args()

accelerator = Accelerator()  # joins the processes: the loader asks torch.distributed for its place
network = resnet18(num_classes=128)
optimizer = torch.optim.SGD(network.parameters(), 0.05, momentum=0.9, weight_decay=1e-4)
network, optimizer = accelerator.prepare(network, optimizer)
largest = args.image_size * 72 // 224
loader = fastneg.TrainLoader(  # not prepared: each process gets its own part of a batch already
    args.data, args.batch_size, args.image_size, device=accelerator.device,
    threads=0 if accelerator.num_processes == 1 else 1,
    negatives="patch", patch_min=max(1, largest // 4), patch_max=largest,
)  # fmt: skip
accelerator.register_for_checkpointing(loader)
if os.path.isdir(args.out):
    accelerator.load_state(args.out)
for epoch in range(loader.next_epoch, args.epochs):
    for batch in loader:
        views = torch.cat([batch.query, batch.key, batch.negatives[:, 0]]).float()
        with accelerator.autocast():
            query, key, negative = F.normalize(network(views)).float().chunk(3)
        options = {"extra_negatives": negative[:, None], "return_stats": True}
        out = fastneg.info_nce(query, key, temperature=0.2, **options)
        accelerator.backward(out.loss)
        optimizer.step(), optimizer.zero_grad()
        if loader.iteration % args.save_every == 0 or loader.iteration == len(loader):
            accelerator.save_state(args.out)
    accelerator.print(f"epoch {epoch}: loss {out.loss:.3f}, acc1 {out.acc1:.1%}")
loader.close()
accelerator.end_training()
