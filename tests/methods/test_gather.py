"""The methods without a queue mean the same in several processes as in one with the whole batch:
losses, gradients, weights."""

import torch

from fastneg.distributed import gather_own_first
from helpers.processes import train

WORKER = """
import sys, torch
from fastneg.models.batch_norm import sync_batch_norm
from fastneg.methods import METHODS
from fastneg.distributed import gather_own_first
from fastneg.recipes.presets import tiny_cpu
from fastneg import distributed
from fastneg.training.optim import OPTIMIZERS

torch.set_num_threads(1)
torch.set_default_dtype(getattr(torch, sys.argv[2]))
high = 0.2 if sys.argv[2] == "float64" else 0.02  # high rates enlarge rounding
world, kept = distributed.start("cpu"), {}
if world.size > 1:
    rows = (10.0 * world.rank + torch.arange(3.0)).requires_grad_()
    everyone = gather_own_first(rows)
    order = [(world.rank + step) % world.size for step in range(world.size)]
    assert everyone.tolist() == [10.0 * rank + row for rank in order for row in range(3)]
    (everyone * (world.rank + 1)).sum().backward()  # each row is used by every process
    assert rows.grad.tolist() == [sum(range(1, world.size + 1))] * 3
for name in ("simclr", "byol", "moco_v3", "supcon"):
    more = {"hidden_dim": 24} if name == "moco_v3" else {}
    for bn in {"moco_v3": ["sync"], "supcon": ["none"]}.get(name, ["none", "sync"]):
        config = tiny_cpu().replace(
            method=name, feature_dim=16, batch_size=8, alpha=0.5, optimizer="lars", lars_trust=0.02,
            **more
        )
        torch.manual_seed(0)
        method = METHODS[name](config)
        if bn == "none":
            method.eval()  # running statistics: batch statistics are each process's own by design
        elif world.size > 1:  # in training, with statistics over all processes
            assert sync_batch_norm(method) >= 9
        optimizer = OPTIMIZERS["lars"]([p for p in method.parameters() if p.requires_grad], config)
        model = distributed.data_parallel(method, world)
        data = torch.Generator().manual_seed(1)
        for step in range(int(sys.argv[3])):
            shapes = ((3, 16, 16), (3, 16, 16), (1, 3, 16, 16))
            query, key, negatives = (torch.randn(8, *shape, generator=data) for shape in shapes)
            mine = slice(world.rank * 8 // world.size, (world.rank + 1) * 8 // world.size)
            labels = [torch.tensor([0, 1, 1, 2, 2, 2, 0, 1])[mine]] if name == "supcon" else []
            output = model(query[mine], key[mine], negatives[mine], None, *labels)
            output.loss.backward()
            kept[f"{name}.{bn}.norm.{step}"] = optimizer.step(0.2 if bn == "none" else high)
            method.after_step(None, step / 3)
            loss = output.loss.detach().clone()
            kept[f"{name}.{bn}.loss.{step}"] = distributed.average(loss, world)
        kept |= {f"{name}.{bn}.{key}": value for key, value in method.state_dict().items()}
if world.first:
    torch.save(kept, sys.argv[1])
del model
distributed.stop()
"""


def test_two_processes_do_what_one_does(tmp_path):
    """In float64, where nothing but a fault makes a difference; in float32 loosely and for one
    step, since rounding grows from step to step."""
    for dtype, bound, steps in (("float64", 1e-10, "3"), ("float32", 2e-3, "1")):
        one, two = (train(tmp_path, processes, WORKER, dtype, steps) for processes in (1, 2))
        assert one.keys() == two.keys() and len(one) > 300
        for name, value in one.items():
            assert value.dtype in (getattr(torch, dtype), torch.int64), name
            torch.testing.assert_close(
                two[name],
                value,
                rtol=bound,
                atol=bound,
                msg=lambda said, name=name: f"{name}: {said}",
            )


def test_alone_the_rows_are_returned_as_they_are():
    rows = torch.randn(3, 2)
    assert gather_own_first(rows) is rows
