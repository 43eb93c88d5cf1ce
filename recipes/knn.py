"""fastneg knn."""

from __future__ import annotations

from fastneg.data.labels import class_count, join_labels, labels_of
from fastneg.data.shards import open_data
from fastneg.evaluation.features import features_of
from fastneg.evaluation.metrics import accuracy
from fastneg.evaluation.run import append_result, load_run
from fastneg.knn import knn_votes
from fastneg.training.distributed import choose_device


def run_knn(config):
    """Classify by the nearest training features, print and append the accuracy."""
    device = choose_device(config.device)
    loaded = load_run(config.run, device)
    with open_data(config.train) as train, open_data(config.val) as val:
        labels, count = labels_of(train), class_count(train)
        val_labels = join_labels(val, train.classes, count)[0]
        k = min(config.k, len(train))
        if k < config.k:
            print(f"--k is {config.k}, but {config.train} holds {k} images: all of them vote.")
        voters, queries = (features_of(config.run, loaded, reader, device, config.threads).features for reader in (train, val))
        votes = knn_votes(queries, voters, labels, count, k, config.temperature, device)
    result = accuracy(votes, val_labels)
    row = {"kind": "knn", "set": "val", "path": str(config.val), **result.figures(), "mode": "features"}
    row |= {"checkpoint": loaded.checkpoint, "k": k, "temperature": config.temperature}
    append_result(config.run, row)
    print(
        f"kNN (k {k}, T {config.temperature:g}): top-1 {result.top1:.2f}%, top-5 {result.top5:.2f}% "
        f"of {result.images} images in {result.classes} classes ({loaded.checkpoint})."
    )
    return 0
