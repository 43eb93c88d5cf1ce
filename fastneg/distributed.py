"""One process or many: the environment of torchrun and SLURM, and the collectives of a step."""

from __future__ import annotations

import ctypes
import datetime
import gc
import inspect
import os
import secrets
import signal
import socket
import time
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import bf16_compress_hook
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from fastneg.config import UnfitError
from fastneg.counts import counted

TIMEOUT = datetime.timedelta(minutes=10)
"""A collective that waits longer ends the process: the others do not wait for ever for a rank that
died."""


@dataclass(frozen=True)
class World:
    rank: int
    size: int
    device: torch.device

    @property
    def first(self):
        return self.rank == 0


def start(device="auto"):
    """Join the process group that torchrun (or srun) describes, if any; returns the `World`.

    Args:
        device: "auto" (CUDA where there is a device), "cpu" or "cuda".
    Raises:
        ConfigError: CUDA was asked for and there is none, or srun started several tasks and nothing
            says where they meet.
    """
    rank, size, local = place_in(os.environ)
    if "TORCHELASTIC_RUN_ID" in os.environ:
        _stop_with_parent()
    chosen = choose_device(device, local)
    if size > 1 and not dist.is_initialized():
        # Before the group is made: the functions of this module take the default group as a default
        # argument, when it is imported. DistributedDataParallel imports it. After the group is made
        # they would keep it, and its threads, alive to the end of the process (see `stop`).
        import torch.distributed.nn.functional  # noqa: F401

        store, _, _ = next(rendezvous("env://", rank, size, timeout=TIMEOUT))
        store = dist.PrefixStore(agree_on_token(store, rank, size), store)
        # With its device nccl connects here, not within the first step, and guesses none later.
        cuda = chosen.type == "cuda"
        dist.init_process_group(
            "nccl" if cuda else "gloo",
            store=store,
            rank=rank,
            world_size=size,
            timeout=TIMEOUT,
            device_id=chosen if cuda else None,
        )
    return World(rank if size > 1 else 0, size, chosen)


def agree_on_token(store, rank, size):
    """A text that the processes of this start share, and those of no other one.

    torchrun lends its store to the processes. Processes that it starts anew would find in it the
    addresses of those that died (seen with torch 2.14: "Connection refused"). So each process asks
    under a name that nobody had before. The first process answers whoever asks, until all have the
    token. The count of restarts would not do, for torchrun counts them for each machine.
    """
    own = secrets.token_hex(8)
    if rank:
        store.set(f"fastneg/asks/{rank}", own)
        token = store.get(f"fastneg/answer/{own}").decode()  # waits
        store.set(f"fastneg/has/{rank}/{token}", "1")
        return token
    waiting, ends = set(range(1, size)), time.monotonic() + TIMEOUT.total_seconds()
    while waiting:
        for other in sorted(waiting):
            if store.check([f"fastneg/has/{other}/{own}"]):
                waiting.discard(other)
            elif store.check([f"fastneg/asks/{other}"]):
                # perhaps still that of one that died: answering it does no harm
                store.set(f"fastneg/answer/{store.get(f'fastneg/asks/{other}').decode()}", own)
        if time.monotonic() > ends:
            raise TimeoutError(
                f"Waited {TIMEOUT} for the processes of rank "
                f"{', '.join(map(str, sorted(waiting)))} to start."
            )
        time.sleep(0.02)
    return own


def place_in(env):
    """(rank, number of processes, rank on this machine) from what torchrun or srun put into the
    environment."""
    if "WORLD_SIZE" in env:
        return int(env["RANK"]), int(env["WORLD_SIZE"]), int(env.get("LOCAL_RANK", 0))
    # of srun; a batch script itself, in which one process may run, has none
    tasks = int(env.get("SLURM_STEP_NUM_TASKS", 1))
    if tasks == 1:
        return 0, 1, 0
    missing = [name for name in ("MASTER_ADDR", "MASTER_PORT") if name not in env]
    if missing:
        raise UnfitError(
            f"srun started {counted(tasks, 'task')}, but {' and '.join(missing)} is not set, which "
            "the tasks need to find each other: export it."
        )
    return int(env["SLURM_PROCID"]), tasks, int(env.get("SLURM_LOCALID", 0))


def joined_place():
    """(rank, number of processes) of the process group that this process has joined; (0, 1) where
    there is none.

    Raises:
        RuntimeError: torchrun or srun started several processes, and this one has not joined them.
    """
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    started = place_in(os.environ)[1]
    if started > 1:
        raise RuntimeError(
            f"{counted(started, 'process')} were started, but this one has not joined the others: "
            "call torch.distributed.init_process_group first, or give rank and world_size."
        )
    return 0, 1


def _stop_with_parent():
    """Let the kernel send SIGTERM to this process when torchrun's agent, which started it, is
    killed: else it would train on unwatched."""
    pr_set_pdeathsig = 1
    if ctypes.CDLL(None, use_errno=True).prctl(pr_set_pdeathsig, signal.SIGTERM):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")


def choose_device(device, local_rank=0):
    """The torch.device that "auto", "cpu" or "cuda" stands for here; it becomes the current one."""
    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise UnfitError(
            "--device is cuda, but torch sees no CUDA device here: use --device cpu, or install "
            "the CUDA driver."
        )
    if device == "cpu" or not available:
        return torch.device("cpu")
    count = torch.cuda.device_count()
    if local_rank >= count > 1:
        raise UnfitError(
            f"Process {local_rank} of this machine (counted from 0) finds {counted(count, 'GPU')}: "
            "start one process for each GPU."
        )
    # One device alone is that of this process (srun --gpus-per-task=1); were it not, nccl would
    # refuse two processes on it.
    chosen = torch.device("cuda", local_rank if count > 1 else 0)
    torch.cuda.set_device(chosen)
    return chosen


def stop():
    """Leave the process group, if there is one, when all processes have come to this point.

    The group's threads end when nothing holds it any more. A gloo thread that outlives the
    interpreter aborts the process, if tensors of the last collective are still to be released
    ("terminate called without an active exception"). So the caller lets go of what holds the group
    first, above all of what `data_parallel` gave. The cycles that it leaves are collected here.

    After an error in one process the others may be within a collective: then the process just ends,
    without calling this.
    """
    if dist.is_initialized():
        dist.barrier()
        gc.collect()
        dist.destroy_process_group()


def data_parallel(module, world, compress=False):
    """The module with gradients averaged over the processes, kept in the buckets that they travel
    in; buffers stay each process's own.

    compress: send them rounded to bfloat16.
    """
    if world.size == 1:
        return module
    for parameter in module.parameters():
        if parameter.ndim == 4 and parameter.shape[2:] == (1, 1):
            # Convolutions of channels_last images give gradients with the strides of that format.
            # Those of 1x1 weights differ from the weights' own in name only (both formats are the
            # same memory), which would make DDP copy them, and warn.
            parameter.data = torch.empty_like(parameter, memory_format=torch.channels_last).copy_(
                parameter
            )
    # Newer versions of torch give this option another name.
    renamed = "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters
    options = {"forward_sync_buffers" if renamed else "broadcast_buffers": False}
    model = DistributedDataParallel(module, gradient_as_bucket_view=True, **options)
    if compress:
        model.register_comm_hook(None, bf16_compress_hook)
    _settle_buckets(model)
    return model


def _settle_buckets(model):
    """Let DistributedDataParallel choose its buckets before the first step.

    It sends the first gradients in one bucket, and all later ones in buckets by the order in which
    the first came. How more than two numbers are added up depends on their place in a bucket. So
    the first step after a restart would round otherwise than the same step of a run that was not
    interrupted. Here the first gradients are zeros, which come in the order of a backward pass, the
    last layers' first; and nothing else is computed.
    """
    module = model.module
    weights = [weight for weight in module.parameters() if weight.requires_grad]
    module.forward = lambda: sum(0 * weight.sum() for weight in weights)
    try:
        model().backward()
    finally:
        del module.forward
    module.zero_grad(set_to_none=True)


def share_of_cores(world):
    """How many cores this process has to itself: those that it may run on, divided among the
    processes of its machine that may too.

    torchrun lets all processes of a machine run on all its cores; srun and taskset may have given
    each its own.
    """
    mine = socket.gethostname(), frozenset(os.sched_getaffinity(0))
    sharing = sum(
        host == mine[0] and not cores.isdisjoint(mine[1]) for host, cores in everyone(mine, world)
    )
    return max(1, len(mine[1]) // sharing)


def gather(rows, world):
    """(n, …) of each process → (n · size, …) in the order of ranks."""
    if world.size == 1:
        return rows
    return all_rows(rows)


def average(values, world):
    """Mean of a tensor over the processes."""
    if world.size > 1:
        dist.all_reduce(values)
        values /= world.size
    return values


def total(count, world):
    """Sum of a number over the processes; waits for all of them."""
    if world.size == 1:
        return count
    value = torch.tensor([float(count)], device=world.device)
    dist.all_reduce(value)
    return round(value.item())


def union(entries, world):
    """The entries of the dicts of all processes, by sorted key."""
    parts = everyone(entries, world)
    return dict(sorted((key, value) for part in parts for key, value in part.items()))


def everyone(value, world):
    """[what each process gives, in the order of ranks], of any type that pickle takes; waits for
    all of them."""
    given = [value]
    if world.size > 1:
        given = [None] * world.size
        dist.all_gather_object(given, value)
    return given


def broadcast(tensors, world):
    """Give every process the values of the first one, in place."""
    if world.size > 1:
        for tensor in tensors:
            dist.broadcast(tensor, 0)


def any_rank(flag, world):
    """Whether any process says True; waits for all of them."""
    return bool(highest(flag, world))


def highest(number, world):
    """The highest number that a process gives; waits for all of them."""
    if world.size == 1:
        return number
    value = torch.tensor([float(number)], device=world.device)
    dist.all_reduce(value, dist.ReduceOp.MAX)
    return value.item()


def gather_own_first(rows):
    """Gather the rows of all processes, (n, D) → (S n, D): this process's rows first, then those of
    the next ranks in cyclic order. In one process the rows are returned unchanged.

    Every process must hold the same number of rows. Differentiable: the gradient of a row is the
    sum of its gradients in all processes. If each process takes the mean loss of its own rows and
    DistributedDataParallel averages, gradients are those of one process with the global batch.
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return rows
    return _Gather.apply(rows)


def all_rows(rows):
    """(n, …) of each process → (S n, …) in the order of ranks, without gradient; every process must
    hold as many rows."""
    out = rows.new_empty((dist.get_world_size() * len(rows), *rows.shape[1:]))
    # Newer versions of torch give it another name.
    getattr(dist, "all_gather_single", dist.all_gather_into_tensor)(out, rows.contiguous())
    return out


class _Gather(torch.autograd.Function):
    """One all-gather, and one all-reduce in backward, on every backend.

    torch.distributed.nn.functional.all_gather gives the same gradients. On gloo, however, its
    backward is a scatter from each process in turn: S collectives for our one. Versions from 2.14
    on call it deprecated, for a function that those before have not.
    """

    @staticmethod
    def forward(ctx, rows):
        out = all_rows(rows)
        ctx.own = slice(dist.get_rank() * len(rows), (dist.get_rank() + 1) * len(rows))
        return out.roll(-ctx.own.start, 0)

    @staticmethod
    def backward(ctx, gradient):
        total = gradient.roll(ctx.own.start, 0).contiguous()
        dist.all_reduce(total)
        return total[ctx.own]
