"""Features of the frozen encoder, extracted once and kept on disk.

A stored file is for one combination of weights, data and transform.

Legend: N images, F backbone features, H W pixels.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from pathlib import Path

import torch

from fastneg.counts import counted
from fastneg.files import write_atomically
from fastneg.models.torch_files import UnreadableError, load_file
from fastneg.runs.embed import Features, central_crops, extract_features, uses_autocast
from fastneg.runs.load import same_outputs
from fastneg.runs.paths import features_path

FORMAT = 3


def features_of(run, loaded, reader, device="cpu", threads=0, report=print, resize=None):
    """The features of a file's central crops.

    They come from RUN/features/ if they are there. Else they are extracted and stored there.

    Args:
        run: the run folder.
        loaded: its `LoadedRun`, on `device`.
        reader: an open `BetonReader`.
        threads: decoding threads; 0 takes all cores.
        report: called with one line that says what was done.
        resize: as of `central_crops`.
    Returns:
        Features.
    """
    device, config = torch.device(device), loaded.config
    autocast = uses_autocast(config, device)
    key = cache_key(loaded.digest, reader, config, device.type, autocast, resize)
    path = cache_path(run, key)
    outputs = loaded.outputs()
    stored = _stored(path, key, outputs, report)
    if stored is not None:
        report(
            f"{reader.path}: features of {counted(len(stored.index), 'image')}, stored "
            f"before.{told_of(stored.skipped, reader)}"
        )
        return stored
    began = time.perf_counter()
    with contextlib.closing(
        central_crops(reader, config, resize=resize, device=device, threads=threads)
    ) as loader:
        found = extract_features(loaded.backbone, loader, device, autocast, Path(reader.path).name)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "key": key,
        "features": found.features,
        "labels": found.labels,
        "index": found.index,
        "skipped": found.skipped,
        "outputs": outputs,
    }
    write_atomically(path, lambda file: torch.save(content, file))
    seconds = time.perf_counter() - began
    report(
        f"{reader.path}: features of {counted(len(found.index), 'image')} in {seconds:.1f} "
        f"s.{told_of(found.skipped, reader)}"
    )
    return found


def told_of(skipped, reader):
    """What to tell a person of images that were left out; "" if there are none.

    skipped is {position: reason}.
    """
    if not skipped:
        return ""
    index, reason = min(skipped.items())
    return (
        f" {len(skipped)} of {counted(len(reader), 'image')} cannot be used and are LEFT OUT, so "
        f"figures are over the others: {reader.describe(index)}: "
        f"{reason}{', …' if len(skipped) > 1 else ''}. Run fastneg verify on the file."
    )


def cache_key(digest, reader, config, device_type, autocast, resize=None):
    """All that the stored features depend on; any change of it makes them be extracted anew."""
    files = [Path(file).resolve() for file in reader.files]
    stats = [file.stat() for file in files]
    # without checksums nothing else tells pixels of the same sizes that a tool put in with the old
    # time
    changed = [] if reader.checksums is not None else [stat.st_ctime_ns for stat in stats]
    return {
        "format": FORMAT,
        "weights": digest,
        "files": list(map(str, files)),
        "bytes": [stat.st_size for stat in stats],
        "modified_ns": [stat.st_mtime_ns for stat in stats],
        "changed_ns": changed,
        "samples": len(reader),
        # of the files' metadata, checksums of samples among them, where a copy kept size and time
        "fingerprint": reader.fingerprint,
        "image_size": config.image_size,
        "eval_resize": resize or config.eval_resize,
        "interpolation": config.eval_interpolation,
        "normalisation": [list(values) for values in config.normalisation()],
        "device": device_type,  # the decoders of CPU and GPU differ in the last bits
        "autocast": autocast,
    }


def cache_path(run, key):
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]
    return features_path(run, digest)


def _stored(path, key, outputs, report):
    if not path.exists():
        return None
    try:
        content = load_file(path)
        if content["key"] != key:
            raise ValueError("it holds the features of something else")
        if not same_outputs(content["outputs"], outputs):
            raise ValueError("the network computes something else now, with the same weights")
        return Features(
            content["features"], content["labels"], content["index"], content["skipped"]
        )
    except (UnreadableError, KeyError, TypeError, ValueError) as error:
        report(f"{path} cannot be used ({error}): the features are extracted again.")
        return None
