"""Settings of pre-training: data, run folder, device, speed, logging, checkpoints."""

from __future__ import annotations

from dataclasses import dataclass

from fastneg.config.base import Config
from fastneg.counts import ordinal
from fastneg.methods import METHODS
from fastneg.options import ConfigError, option


@dataclass(frozen=True)
class DataPart(Config):
    data: str = option("", listed="paths")
    """The .beton file to train on; several as a comma list or a glob in quotes. A URL (s3, gs, hf,
    https) is copied once."""
    out: str = ""
    """The run folder: config, metrics, checkpoints, TensorBoard events."""
    order: str = option("random", choices=("random", "page", "sequential"))
    """The order of the samples. random. page: whole pages of the file in random order with their
    samples mixed, for data sets larger than memory. sequential: the order of the file."""
    cache: str = option("none", choices=("none", "device"))
    """device: decode all images once, and keep their pixels on the device. They must have one size,
    and --augment_with becomes kernel. none: decode each image when it is needed."""
    cache_dir: str = ""
    """The folder for local copies of .beton files that are named by URL; default: FASTNEG_CACHE of
    the environment, or fastneg in the user's cache."""
    max_bad_share: float = option(0.001, at_least=0.0, below=1.0)
    """Samples that cannot be decoded (or, with --check_crc, have a wrong checksum) are replaced and
    counted. If more than this fraction is bad, the run stops."""
    check_crc: bool = False
    """Check each sample's CRC32 while training. This detects silent damage on disk, and costs one
    more pass over the bytes."""

    def _check(self):
        if self.cache == "device" and self.augment_with == "dali":
            raise ConfigError(
                "--cache is device, but --augment_with is dali: DALI makes no view from images "
                "that lie on the device, leave it out or give --augment_with kernel."
            )


@dataclass(frozen=True)
class RunPart(Config):
    device: str = option("auto", choices=("auto", "cpu", "cuda"))
    """auto: CUDA if there is a device, otherwise the CPU."""
    precision: str = option("auto", choices=("auto", "fp32", "bf16"))
    """auto: bfloat16 autocast on CUDA, float32 on the CPU."""
    compile: bool = False
    """Compile the encoders with torch.compile, which takes minutes at the start and for each view
    size."""
    cuda_graphs: bool = False
    """Replay the passes of keys and negatives as CUDA graphs, recorded at the first step of each
    view size. Only on a GPU."""
    fused_bn: str = option("auto", choices=("auto", "on", "off"))
    """Compute batch normalisation, the residual addition and ReLU in one kernel, in supported kinds
    of blocks. auto: on a GPU."""
    compress_gradients: bool = False
    """Send gradients between processes rounded to bfloat16, which halves the bytes."""
    threads: int = option(0, at_least=0)
    """Decoding threads of each process; 0: its share of the cores."""
    prefetch_queue_depth: int = option(2, at_least=1, at_most=16)
    """Batches that DALI works on at a time, each with its own memory."""
    log_every: int = option(10, at_least=1)
    """Steps between lines of metrics.jsonl."""
    profile: int = option(0, at_least=0)
    """Steps to profile, beginning with the 11th of this call. RUN/profile/ gets a trace for
    chrome://tracing and a table by part. 0: none."""
    checkpoint_every: int = option(1, at_least=1)
    """Epochs between checkpoints. A checkpoint is also written at the end of the run and when a
    signal stops it."""
    keep_checkpoints: int = option(3, at_least=1)
    """Number of newest checkpoints to keep."""
    keep_every: int | None = option(None, at_least=1)
    """Also keep the checkpoint of every n-th epoch; n is a multiple of checkpoint_every."""
    resume: str = option("auto", choices=("auto", "never"))
    """auto: resume from the newest checkpoint in the run folder, if there is one. never: refuse a
    folder with a checkpoint."""
    wandb: str = ""
    """Also log to this project of Weights & Biases (needs the extra wandb)."""
    knn_every: int = option(0, at_least=0)
    """Epochs between measurements of kNN accuracy, with one after the last epoch; 0: none. Needs
    labels, which training does not use."""
    knn_train: str = option("", listed="paths")
    """The labelled .beton file whose images vote; default: the training file."""
    knn_val: str = option("", listed="paths")
    """The labelled .beton file whose images are classified; default: every tenth of the voting
    images."""
    probe: str = option("crops", choices=("crops", "features"))
    """The default mode of `fastneg linear`: on augmented crops (the published protocol) or on
    stored features (fast)."""

    def _check(self):
        self._check_graphs()
        for name in ("knn_train", "knn_val"):
            if getattr(self, name) and not self.knn_every:
                raise ConfigError(
                    f"--{name} is {getattr(self, name)!r}, which has no effect without --knn_every."
                )
        if self.keep_every is not None and self.keep_every % self.checkpoint_every:
            raise ConfigError(
                f"--keep_every is {self.keep_every}: only every {ordinal(self.checkpoint_every)} "
                "epoch writes a checkpoint (--checkpoint_every), and it must be a multiple of "
                "that."
            )

    def _check_graphs(self):
        if not self.cuda_graphs:
            return
        if not METHODS[self.method].key_encoder:
            wherefore = f"--method {self.method} has no key encoder"
        elif self.compile:
            wherefore = "--compile makes kernels of its own"
        elif self.bn == "sync":
            wherefore = "with --bn sync a pass waits for other processes"
        else:
            return
        raise ConfigError(f"--cuda_graphs is True, but {wherefore}: leave one of them out.")
