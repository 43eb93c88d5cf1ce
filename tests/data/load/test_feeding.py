"""How long things live: tensors, threads, loaders, processes, memory."""

import gc
import multiprocessing
import os
import pickle
import resource
import threading

import numpy as np
import pytest
import torch

from fastneg.data import BetonReader, BetonWriter
from fastneg.data.load import feeding as module
from fastneg.data.load.labelled_loaders import EvalLoader
from helpers.images import jpeg, photo
from helpers.loading import first_views, train_loader

WAIT_S = 120


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """16 samples as FFCV's proportion mode writes them: half JPEG, half raw pixels, of different
    sizes."""
    path, rng = tmp_path_factory.mktemp("data") / "mixed.beton", np.random.default_rng(2)
    with BetonWriter(path) as writer:
        for i in range(16):
            height, width = (int(side) for side in rng.integers(40, 90, 2))
            pixels = photo(rng, height, width)
            if i % 2:
                writer.add_raw(pixels, label=i)
            else:
                writer.add(jpeg(pixels), height, width, label=i)
    return path


def test_the_views_lie_in_dalis_memory(reader, monkeypatch):
    """On the CPU nothing is copied between DALI and torch: the tensors are where DALI wrote
    them."""
    places = []

    def noted(output):
        dense = output.as_tensor()
        places.append(dense.data_ptr())
        return plain(output)

    plain = module._tensor
    monkeypatch.setattr(module, "_tensor", noted)
    loader = train_loader(reader, augment_with="dali")
    batches = list(loader.epoch(0))
    assert [view.data_ptr() for batch in batches for view in (batch.query, batch.key)] == places
    assert all(
        view.is_contiguous(memory_format=torch.channels_last)
        for batch in batches
        for view in (batch.query, batch.key)
    )
    loader.close()


def test_no_batch_is_overwritten_while_it_is_kept(reader):
    """All batches of some epochs at once, and their loader gone: each still holds what it held."""
    loader = train_loader(reader, batch_size=4)
    kept = [
        (batch, batch.query.clone(), batch.key.clone())
        for epoch in range(3)
        for batch in loader.epoch(epoch)
    ]
    loader.close()
    gc.collect()
    assert len({batch.query.data_ptr() for batch, _, _ in kept}) == len(kept)
    for batch, query, key in kept:
        assert torch.equal(batch.query, query) and torch.equal(batch.key, key)


@pytest.mark.gpu
def test_no_batch_is_overwritten_on_a_gpu_whatever_stream_reads_it(reader):
    """The consumer's stream is busy when a batch arrives, and reads it late; meanwhile the loader
    goes on."""
    stream, kept = torch.cuda.Stream(), []
    host = [
        batch.query
        for epoch in range(3)
        for batch in train_loader(reader, batch_size=4).epoch(epoch)
    ]
    loader = train_loader(reader, batch_size=4, device="cuda")
    for epoch in range(3):
        for batch in loader.epoch(epoch):
            with torch.cuda.stream(stream):
                torch.cuda._sleep(20_000_000)
                stream.wait_stream(torch.cuda.default_stream())
                batch.query.record_stream(stream)
                kept.append(batch.query.float())
    torch.cuda.synchronize()
    for one, other in zip(host, kept, strict=True):
        assert (one - other.cpu()).abs().mean() < 0.1
    loader.close()


def test_a_file_of_jpeg_and_raw_samples_trains_like_any_other(mixed):
    with BetonReader(mixed) as reader:
        assert 0 < reader.raw.sum() < len(reader)
        loader = train_loader(reader, batch_size=4)
        batches = list(loader.epoch(0))
        assert sorted(torch.cat([batch.index for batch in batches]).tolist()) == list(range(16))
        for batch in batches:
            assert torch.isfinite(batch.query).all() and torch.equal(batch.label, batch.index)
            assert (batch.query.flatten(1).std(1) > 0.05).all()
        again = list(loader.epoch(0, start=2))
        assert all(
            torch.equal(one.query, other.query)
            for one, other in zip(batches[2:], again, strict=True)
        )
        loader.close()


def test_memory_stays_flat_over_epochs_and_loaders(reader):
    """Pages in use, not the peak: epochs left early and loaders that are opened and closed give
    back what they took."""

    def used():
        gc.collect()
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize() / 2**20

    loader = train_loader(reader)
    sizes = []
    for epoch in range(50):
        for number, _ in enumerate(loader.epoch(epoch)):
            if epoch % 5 == 4 and number == 1:
                break
        if epoch >= 10:
            sizes.append(used())
    loader.close()
    for _ in range(10):
        other = train_loader(reader)
        next(iter(other.epoch(0)))
        other.close()
        sizes.append(used())
    # One batch of views is 0.2 MiB: a leak of one an epoch would be 8 MiB, of one pipeline a loader
    # more.
    assert max(sizes[-5:]) - min(sizes[:5]) < 12, sizes
    assert not [thread for thread in threading.enumerate() if thread.name == "fastneg-loader"]


def test_a_closed_loader_and_one_of_another_process_say_so(reader, monkeypatch):
    loader = train_loader(reader)
    with pytest.raises(TypeError, match="cannot be sent to another process"):
        pickle.dumps(loader)
    monkeypatch.setattr(module.os, "getpid", lambda: -1)
    with pytest.raises(RuntimeError, match=r"was opened in process \d+ .* in this process, -1"):
        next(iter(loader.epoch(0)))
    monkeypatch.undo()
    loader.close()
    loader.close()
    with pytest.raises(RuntimeError, match="is closed"):
        next(iter(loader.epoch(0)))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_loaders_of_other_processes_give_the_same(beton, reader, method):
    """Also while this process has a loader at work, whose threads a fork does not take along."""
    loader = train_loader(reader)
    batches = loader.epoch(0)
    here = [float(next(batches).query.double().sum())]
    context = multiprocessing.get_context(method)
    answers = context.Queue()
    process = context.Process(target=first_views, args=(str(beton), answers), daemon=True)
    process.start()
    there = answers.get(timeout=WAIT_S)
    process.join(WAIT_S)
    assert process.exitcode == 0
    here += [float(batch.query.double().sum()) for batch in batches]
    assert here == there
    loader.close()


def test_a_batch_that_does_not_come_is_a_timeout_that_says_so(reader, monkeypatch):
    monkeypatch.setattr(module, "WAIT_S", 0.5)
    release = threading.Event()
    loader = EvalLoader(reader, 8, 32, threads=1)
    monkeypatch.setattr(loader, "_feed", lambda pending, place: release.wait(60))
    threading.Timer(1.5, release.set).start()
    with pytest.raises(
        TimeoutError, match=rf"Waited 0 s for .*the next batch of {reader.path}|thread that makes"
    ):
        next(iter(loader))
    release.set()


def test_nothing_is_left_of_a_loader_that_nobody_closed(reader):
    before = {thread.ident for thread in threading.enumerate()}
    loader = train_loader(reader)
    batches = loader.epoch(0)
    next(batches)
    del batches, loader
    gc.collect()
    assert not [
        thread
        for thread in threading.enumerate()
        if thread.name == "fastneg-loader" and thread.ident not in before
    ]
    assert os.getpid()
