"""kNN accuracy of the backbone while it trains, and properties of the features without labels.

Legend: N queries, M voters, F backbone features.
"""

from __future__ import annotations

import numpy as np
import torch

from fastneg import distributed
from fastneg.config import UnfitError
from fastneg.counts import counted
from fastneg.data.beton.overlap import FIELD, shared_images
from fastneg.data.beton.shards import open_data
from fastneg.data.labels import ABSENT, class_count, join_labels, labels_of
from fastneg.data.load.labelled_loaders import EvalLoader
from fastneg.data.load.train_loader import TrainLoader
from fastneg.feature_geometry import alignment, rank_me, uniformity
from fastneg.kernels.host_copy import to_device
from fastneg.knn import knn_votes
from fastneg.models.encoders import embed

NEIGHBOURS, TEMPERATURE = 200, 0.07
"""As `fastneg knn` votes by default."""
MOST_VOTERS, MOST_QUERIES = 130_000, 50_000
"""Of larger files evenly spaced images are taken. All of ImageNet-100 are 130,000 voters, as is a
tenth of ImageNet-1k."""
MOST_RANKED, MOST_SPREAD, MOST_ALIGNED = 25_600, 4_096, 2_048
"""Voters whose effective rank is taken, as many as its authors take; voters whose uniformity is;
and images of the queries' file whose views are compared."""
HELD_OUT = 10
"""Without a file of its own for the queries, every tenth voter asks instead of voting."""
BATCH = 256


class OnlineKnn:
    """Compares features of labelled images with those of others, on call; the images are chosen
    once.

    Every process takes its share of both. All use the running statistics of the first process, for
    its checkpoints hold those. All hold the features of all voters while they compare.

    Args:
        config: `PretrainConfig`; knn_train and knn_val name files, "" stands for the training file
            and for held-out voters.
        reader: the open training data.
        world: `World`.
        threads: decoding threads.
        stack: ExitStack that closes what is opened here.
    Raises:
        ConfigError, BetonError: a file has no labels, shares no class with the other one, or is too
            small.
    """

    def __init__(self, config, reader, world, threads, stack):
        self.config, self.world, self.threads = config, world, threads
        opened = lambda spec: stack.enter_context(open_data(spec, cache_dir=config.cache_dir))
        self._voters = opened(config.knn_train) if config.knn_train else reader
        labels = labels_of(self._voters)
        self._classes, voting = class_count(self._voters), np.arange(len(labels))
        if config.knn_val:
            self._queries = opened(config.knn_val)
            query_labels, _ = join_labels(self._queries, self._voters.classes, self._classes)
            asking = np.flatnonzero(query_labels.numpy() != ABSENT)
            if len(asking) < len(query_labels) and world.first:
                print(
                    f"{self._queries.path}: {len(asking)} of "
                    f"{counted(len(query_labels), 'image')} ask in the kNN while training: "
                    f"{self._voters.path} does not know the classes of the others.",
                    flush=True,
                )
        else:
            self._queries, query_labels, asking = self._voters, labels, voting[::HELD_OUT]
            voting = np.setdiff1d(voting, asking)
        # Processes gather equal shares of the voters.
        voting, asking = _spaced(voting, MOST_VOTERS), _spaced(asking, MOST_QUERIES)
        self._voting, self._asking = voting[: len(voting) - len(voting) % world.size], asking
        if min(len(self._voting), len(asking)) < world.size:
            raise UnfitError(
                "--knn_every needs at least one voter and one query for each of the "
                f"{counted(world.size, 'process')}: {self._voters.path} gives "
                f"{counted(len(voting), 'voter')}, {self._queries.path} "
                f"{counted(len(asking), 'query')}."
            )
        self.shared = int(shared_images(self._voters, self._queries, voting, asking).sum())
        """Images that ask and also vote: the same bytes."""
        if self.shared and world.first:
            print(
                f"SHARED IMAGES: {self.shared} of the {counted(len(asking), 'image')} of "
                f"{self._queries.path} that the kNN classifies while training are among the voters "
                f"of {self._voters.path} too: its accuracy is too high. Name another --knn_val.",
                flush=True,
            )
        self._labels = labels[
            np.concatenate([self._share(self._voting, rank) for rank in range(world.size)])
        ]
        self._answers = query_labels[self._share(asking, world.rank)]

    def _share(self, positions, rank):
        return positions[rank :: self.world.size]

    @torch.no_grad()
    def __call__(self, backbone, autocast, stopping=lambda: False):
        """Top-1 accuracy in percent, and from how many voters and images; and of the features alone
        `rank_me`, `uniformity` and, over two views of each image of the queries' file as the run
        draws them, `alignment` (`fastneg.feature_geometry`).

        Args:
            backbone: (N, 3, H, W) → (N, F); in eval mode while this runs, in training mode after
                it.
            autocast: compute in bfloat16.
            stopping: asked before each batch, in all processes together: whether to leave.
        Returns:
            dict of figures, the same in every process; None where it was left.
        """
        # running statistics are each process's own while it trains
        distributed.broadcast(list(backbone.buffers()), self.world)
        backbone.eval()
        try:
            voters = self._features(backbone, self._voters, self._voting, autocast, stopping)
            queries = (
                None
                if voters is None
                else self._features(backbone, self._queries, self._asking, autocast, stopping)
            )
            if queries is None:
                return None
            aligned = self._alignment(backbone, autocast)
            voters, voting = (distributed.gather(share, self.world) for share in voters)
            queries, asking = queries
        finally:
            backbone.train()
        voting, asking = voting.cpu() > 0, asking.cpu() > 0  # those that could be used
        voters, queries = (
            rows[to_device(used.nonzero()[:, 0], rows.device)]
            for rows, used in ((voters, voting), (queries, asking))
        )
        images = distributed.total(len(queries), self.world)
        k = min(NEIGHBOURS, len(voters))
        try:
            votes = knn_votes(
                queries,
                voters,
                self._labels[voting],
                self._classes,
                k,
                TEMPERATURE,
                self.world.device,
            )
        except ValueError as error:
            raise UnfitError(
                f"The online kNN found features that cannot be compared: {error}"
            ) from error
        right = (votes.argmax(1) == self._answers[asking]).sum().double()
        share = to_device(right, self.world.device)
        hits = distributed.average(share, self.world).item() * self.world.size
        counts = {"images": images, "voters": len(voters), "k": k, FIELD: self.shared}
        spread = uniformity(_spaced(voters, MOST_SPREAD)) if len(voters) > 1 else 0.0
        geometry = {"rank_me": rank_me(_spaced(voters, MOST_RANKED)), "uniformity": spread}
        return {"top1": 100 * hits / images, **counts, **geometry, "alignment": aligned}

    def _alignment(self, backbone, autocast):
        """The mean of `alignment` over two views of images of the queries' file: the same ones, in
        the same views, whenever it is called."""
        world, config = self.world, self.config
        # The same batches, and so the same views, for any number of processes that divides 256.
        batch = min(max(BATCH, world.size), len(self._queries)) // world.size * world.size
        told = config.view_options()
        views = ("normalisation", "augmentation", "augment_with", "crop_area")
        options = {name: told[name] for name in views}
        options |= {"rank": world.rank, "world_size": world.size, "seed": config.seed}
        options |= {"device": world.device, "threads": self.threads}
        options["max_bad_share"] = config.max_bad_share
        found = []
        with TrainLoader(self._queries, batch, config.image_size, **options) as loader:
            for pair in loader.epoch(0):
                both = (embed(backbone, view, autocast) for view in (pair.query, pair.key))
                found.append(alignment(*both))
                if len(found) * batch >= MOST_ALIGNED:
                    break
        mean = torch.tensor(found, dtype=torch.float64, device=world.device).mean()
        return distributed.average(mean, world).item()

    def _features(self, backbone, reader, positions, autocast, stopping):
        """(its share of N, F) float32 on the device, in the order of the positions, and (its share
        of N,) 1.0 where an image could be used; None where it was left.

        Images that could not be used have rows of zeros: all processes need equally many rows.
        """
        config, device = self.config, self.world.device
        mine = self._share(positions, self.world.rank)
        options = {"device": device, "threads": self.threads, "samples": mine}
        options |= config.evaluation_options()
        loader = EvalLoader(reader, BATCH, config.image_size, resize=config.eval_resize, **options)
        to_ask = len(positions) // self.world.size // BATCH  # batches that every process has
        features, index = [], []
        try:
            for batch in loader:
                to_ask -= 1
                if to_ask >= 0 and stopping():
                    return None
                features.append(embed(backbone, batch.images, autocast))
                index.append(batch.index)
        finally:
            loader.close()
        # The loader passes over a batch in which nothing could be used. The other processes have
        # asked at it all the same, and would wait.
        for _ in range(to_ask):
            if stopping():
                return None
        features = torch.cat(features)
        used = torch.isin(torch.from_numpy(mine), torch.cat(index))
        rows = features.new_zeros(len(mine), features.shape[1])
        rows.index_copy_(0, to_device(used.nonzero()[:, 0], features.device), features)
        return rows, to_device(used.float(), features.device)


def _spaced(positions, most):
    """Up to `most` of the rows of an array, evenly spaced."""
    return positions[:: -(-len(positions) // most)]
