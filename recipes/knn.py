"""fastneg knn."""

from __future__ import annotations

from fastneg.counts import counted
from fastneg.distributed import choose_device
from fastneg.evaluation.accuracy import accuracy
from fastneg.evaluation.features import features_of
from fastneg.knn import knn_votes
from fastneg.recipes.labelled import open_labelled, told
from fastneg.runs.load import load_run
from fastneg.runs.results import append_result


def run_knn(config):
    """Classify by the nearest training features, print and append the accuracy."""
    device = choose_device(config.device)
    loaded = load_run(config.run, device)
    with open_labelled(config, loaded.config.cache_dir) as data:
        k = min(config.k, len(data.train))
        if k < config.k:
            print(
                f"--k is {config.k}, but {config.train} holds {counted(k, 'image')}: all of them "
                "vote."
            )
        voters, queries = (
            features_of(config.run, loaded, reader, device, config.threads)
            for reader in (data.train, data.val)
        )
        k = min(k, len(voters.index))
        votes = knn_votes(
            queries.features,
            voters.features,
            data.labels[voters.index],
            data.count,
            k,
            config.temperature,
            device,
        )
        result = accuracy(votes, data.val_labels[queries.index], above=0)
    row = {
        "kind": "knn",
        "set": "val",
        "path": str(config.val),
        **result.figures(),
        "skipped": len(queries.skipped),
        "mode": "features",
    }
    row |= {
        **data.fields(),
        "checkpoint": loaded.checkpoint,
        "k": k,
        "temperature": config.temperature,
    }
    append_result(config.run, row)
    print(
        f"kNN (k {k}, T {config.temperature:g}): {told(result, data.shared)} ({loaded.checkpoint})."
    )
    return 0
