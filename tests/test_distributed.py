"""Several processes mean what one process with the whole batch means: weights, queue and losses
after several steps."""

import pytest
import torch

from fastneg import distributed
from fastneg.config import ConfigError
from fastneg.distributed import (
    World,
    any_rank,
    average,
    choose_device,
    gather,
    place_in,
    share_of_cores,
    start,
)
from helpers.processes import train

WORKER = """
import os, sys, torch
from fastneg.methods.moco_torch import MoCo
from fastneg.recipes.presets import tiny_cpu
from fastneg import distributed
from fastneg.training.optim import GuardedSGD

torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)
world = distributed.start("cpu")
config = tiny_cpu().replace(bn="none", queue_size=20, feature_dim=16, batch_size=8)
torch.manual_seed(0)
# running statistics: batch statistics are each process's own by design
method = MoCo(config).eval()
optimizer = GuardedSGD((p for p in method.parameters() if p.requires_grad), config)
model = distributed.data_parallel(method, world)
data = torch.Generator().manual_seed(1)
losses = []
for _ in range(4):
    shapes = ((3, 16, 16), (3, 16, 16), (1, 3, 16, 16))
    query, key, negatives = (torch.randn(8, *shape, generator=data) for shape in shapes)
    mine = slice(world.rank * 8 // world.size, (world.rank + 1) * 8 // world.size)
    output = model(query[mine], key[mine], negatives[mine])
    output.loss.backward()
    optimizer.step(0.05)
    method.after_step(distributed.gather(output.keys, world))
    losses.append(distributed.average(output.loss.detach().clone(), world))
if world.first:
    found = {"losses": torch.stack(losses), "pointer": method.pointer}
    torch.save({**found, **method.state_dict()}, sys.argv[1])
assert distributed.any_rank(world.rank == world.size - 1, world)
del model
distributed.stop()
threads = [open(f"/proc/self/task/{task}/comm").read() for task in os.listdir("/proc/self/task")]
# one that outlives the interpreter may abort the process
assert not [name for name in threads if "gloo" in name], threads
"""


@pytest.mark.parametrize("processes", [4])
def test_processes_together_do_what_one_does(tmp_path, processes):
    one, many = train(tmp_path, 1, WORKER), train(tmp_path, processes, WORKER)
    assert one["pointer"] == many["pointer"] == 4 * 8 % 20
    for name, value in one.items():
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(many[name], value, rtol=1e-10, atol=1e-10, msg=name)


def test_alone_the_collectives_do_nothing(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    world = start("cpu")
    rows = torch.randn(3, 2)
    assert world.first and world.size == 1
    assert (
        gather(rows, world) is rows
        and average(rows, world) is rows
        and any_rank(True, world)
        and not any_rank(False, world)
    )


def test_where_a_process_stands_by_torchrun_and_by_srun():
    assert place_in({}) == (0, 1, 0)
    assert place_in(
        {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "SLURM_STEP_NUM_TASKS": "2"}
    ) == (5, 8, 1)
    srun = {
        "SLURM_PROCID": "3",
        "SLURM_STEP_NUM_TASKS": "4",
        "SLURM_LOCALID": "1",
        "SLURM_NTASKS": "4",
    }
    assert place_in({**srun, "MASTER_ADDR": "first", "MASTER_PORT": "29500"}) == (3, 4, 1)
    with pytest.raises(ConfigError, match="srun started 4 tasks, but MASTER_PORT is not set"):
        place_in({**srun, "MASTER_ADDR": "first"})
    # one process in a batch script, not under srun
    assert place_in({"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}) == (0, 1, 0)


def test_the_cores_of_a_machine_are_shared_by_its_own_processes(monkeypatch):
    """Not by those of other machines, nor by those that srun gave other cores."""
    monkeypatch.setattr(distributed.os, "sched_getaffinity", lambda _: set(range(12)))
    monkeypatch.setattr(distributed.socket, "gethostname", lambda: "here")

    def everyone(*processes):
        def gather(into, mine):
            assert mine == ("here", frozenset(range(12)))
            into[:] = [mine, *processes]

        monkeypatch.setattr(distributed.dist, "all_gather_object", gather)
        return share_of_cores(World(0, 1 + len(processes), torch.device("cpu")))

    own, other = frozenset(range(12)), frozenset(range(12, 24))
    assert share_of_cores(World(0, 1, torch.device("cpu"))) == 12
    assert everyone(*[("here", own)] * 3, *[("there", own)] * 4) == 3
    assert everyone(*[("here", other)] * 3, ("there", own)) == 12
    assert everyone(*[("here", own)] * 30) == 1


def test_each_process_takes_the_device_that_is_its_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    # srun may show each process its own GPU only
    for count, local, expected in ((8, 3, 3), (1, 3, 0)):
        monkeypatch.setattr(torch.cuda, "device_count", lambda count=count: count)
        assert choose_device("auto", local) == torch.device("cuda", expected)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ConfigError, match=r"Process 2 of this machine .* finds 2 GPUs"):
        choose_device("cuda", 2)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_that_is_not_there_is_refused():
    with pytest.raises(ConfigError, match="no CUDA device"):
        choose_device("cuda")
    assert choose_device("auto").type == "cpu"
