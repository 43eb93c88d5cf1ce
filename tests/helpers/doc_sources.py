"""The small data that the commands of the documentation find in their working folder."""

import io
import json
import shutil
import tarfile

import numpy as np

from fastneg.data.known_classes import IMAGENET100
from helpers.doc_pages import blocks
from helpers.images import jpeg
from helpers.tinted import tinted

SIDE = 48


def lay_out(folder, pages):
    """Photographs, archives, lists, an ImageNet of 100 classes with two images each in data/, and
    the modules that the pages show."""
    rng = np.random.default_rng(0)

    def image(path, look="a"):
        path = folder / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(tinted(rng, look, SIDE)))

    for name in ("cat", "dog"):
        for i in range(20):
            image(f"photos/{name}/{i}.jpg", name)
        image(f"flat-photos/{name}.jpg", name)
        image(f"described-photos/{name}.jpg", name)
        image(f"data/{name}.jpg", name)
        image(f"cars/{name}.jpg", name)
    for wnid in IMAGENET100:
        image(f"data/imagenet/train/{wnid}/{wnid}_0.JPEG", wnid)
        image(f"data/imagenet/val/{wnid}/{wnid}_v.JPEG", wnid)
    for wnid in IMAGENET100[:2]:
        image(f"data/imagenet-sketch/{wnid}/0.JPEG", wnid)
    for i in range(2):
        image(f"tiny-imagenet-200/val/images/val_{i}.JPEG")
        image(f"imagenet/val/ILSVRC2012_val_0000000{i}.JPEG")
    _lists(folder)
    _archives(folder, [jpeg(tinted(rng, name, SIDE)) for name in ("cat", "dog")])
    for page, start, name in (
        ("docs/how-to/own-network.md", "import fastneg\nfrom torch", "nets.py"),
        ("docs/how-to/extend.md", "# my_kinds.py", "my_kinds.py"),
        ("docs/how-to/extend.md", "# my_method.py", "my_method.py"),
    ):
        [text] = [each for each in blocks(pages[page], "python") if each.startswith(start)]
        (folder / name).write_text(text, encoding="utf-8")


def _lists(folder):
    for name, lines in {
        "data/list.csv": ["path,label", "cat.jpg,cat", "dog.jpg,dog"],
        "cars.csv": [
            "image,x1,y1,x2,y2,kind",
            "cars/cat.jpg,1,2,3,4,van",
            "cars/dog.jpg,1,2,3,4,car",
        ],
        "imagenet/LOC_val_solution.csv": [
            "ImageId,PredictionString",
            "ILSVRC2012_val_00000000,n01440764 1 2 3 4",
            "ILSVRC2012_val_00000001,n01443537 1 2 3 4",
        ],
        "tiny-imagenet-200/val/val_annotations.txt": [
            "val_0.JPEG\tn03444034\t0\t32\t44\t62",
            "val_1.JPEG\tn04067472\t52\t55\t57\t59",
        ],
        "described-photos/metadata.jsonl": [
            json.dumps({"file_name": f"{name}.jpg", "label": name, "split": split})
            for name, split in (("cat", "train"), ("dog", "test"))
        ],
    }.items():
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _archives(folder, photos):
    for number in range(3):
        with tarfile.open(folder / f"data/imagenet/train-00{number}.tar", "w") as archive:
            for label, data in enumerate(photos):
                for name, content in (
                    (f"{label}.jpg", data),
                    (f"{label}.cls", str(label).encode()),
                ):
                    member = tarfile.TarInfo(name)
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))


def copy_run(folder, name, *others):
    """The same run under other names."""
    for other in others:
        shutil.copytree(folder / name, folder / other)
