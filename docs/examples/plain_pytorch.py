"""Your own loop in plain PyTorch, on one process or several. It resumes from its last checkpoint.

python docs/examples/plain_pytorch.py x.beton
torchrun --nproc_per_node 2 docs/examples/plain_pytorch.py x.beton
"""

import argparse
import os

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch.nn.parallel import DistributedDataParallel
from torchvision.models import resnet18

import fastneg

parser = argparse.ArgumentParser()
parser.add_argument("data")
parser.add_argument("--out", default="own-loop.pt")
parser.add_argument("--epochs", type=int, default=10)
parser.add_argument("--batch_size", type=int, default=256)
parser.add_argument("--image_size", type=int, default=224)
parser.add_argument("--save_every", type=int, default=100)
args = parser.parse_args()
cuda, several = torch.cuda.is_available(), "WORLD_SIZE" in os.environ
device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if cuda else "cpu"
if several:
    dist.init_process_group("nccl" if cuda else "gloo", device_id=device if cuda else None)
first = not several or dist.get_rank() == 0
network = resnet18(num_classes=128).to(device)
model = DistributedDataParallel(network) if several else network
optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9, weight_decay=1e-4)
largest = args.image_size * 72 // 224
with fastneg.TrainLoader(
    args.data, args.batch_size, args.image_size, device=device, threads=1 if several else 0,
    negatives="patch", patch_min=max(1, largest // 4), patch_max=largest,
) as loader:  # fmt: skip
    if os.path.exists(args.out):
        state = torch.load(args.out, map_location=device)
        network.load_state_dict(state["network"]), optimizer.load_state_dict(state["optimizer"])
        loader.load_state_dict(state["loader"])
    for epoch in range(loader.next_epoch, args.epochs):
        for batch in loader:
            views = torch.cat([batch.query, batch.key, batch.negatives[:, 0]]).float()
            query, key, negative = F.normalize(model(views)).chunk(3)
            options = {"extra_negatives": negative[:, None], "return_stats": True}
            out = fastneg.info_nce(query, key, temperature=0.2, **options)
            optimizer.zero_grad(), out.loss.backward(), optimizer.step()
            due = loader.iteration % args.save_every == 0 or loader.iteration == len(loader)
            if first and due:
                state = {"network": network.state_dict(), "optimizer": optimizer.state_dict()}
                torch.save({**state, "loader": loader.state_dict()}, f"{args.out}.new")
                os.replace(f"{args.out}.new", args.out)  # whole, or the one before
        if first:
            print(f"epoch {epoch}: loss {out.loss:.3f}, acc1 {out.acc1:.1%}")
if several:
    dist.destroy_process_group()
