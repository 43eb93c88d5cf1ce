"""Run folders for the report's tests, as pretrain and evaluate write them, and a reader of the
finished page."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import torch
from PIL import Image

from fastneg.config import ReportConfig
from fastneg.recipes.presets import tiny_cpu
from fastneg.report.page import write_report

VOID = {"meta", "img", "br", "hr", "input", "link"}


class Page(HTMLParser):
    """Collects what a browser would show and load, and checks that elements nest."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.source, self.narrow = text, None
        self.open, self.images, self.loads, self.ids, self.words, self.tables, self.plots = (
            [],
            [],
            [],
            [],
            [],
            [],
            [],
        )
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag not in VOID:
            self.open.append(tag)
        if attributes.get("class") == "on-narrow":  # a window does not show it, a phone does
            self.narrow = len(self.open)
        self.ids += [attributes["id"]] if "id" in attributes else []
        if tag == "svg" and attributes.get("class") == "plot" and self.narrow is None:
            self.plots.append(attributes["aria-label"])
        if tag == "img":
            self.images.append(attributes["src"])
        assert tag not in ("script", "iframe", "object", "embed")
        self.loads += [
            attributes[name]
            for name in ("src", "href", "xlink:href", "srcset", "poster", "action")
            if name in attributes
        ]
        self.loads += re.findall(r"url\(([^)]*)\)", attributes.get("style") or "")
        if tag == "tr":
            self.tables.append([])
        if tag in ("td", "th") and self.tables:
            self.tables[-1].append("")

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if self.narrow is not None and len(self.open) < self.narrow:
            self.narrow = None

    def handle_data(self, data):
        if "style" in self.open:
            self.loads += re.findall(r"url\(([^)]*)\)|@import", data)
            return
        if self.narrow is not None:
            return
        self.words.append(data)
        if {"td", "th"} & set(self.open):
            self.tables[-1][-1] += data

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def rows(self, start):
        """The cells of each table row that begins so."""
        return [cells for cells in self.tables if cells and cells[0].startswith(start)]

    def row(self, start):
        return self.rows(start)[-1]


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def add_rows(folder, *rows):
    with open(folder / "evaluation.jsonl", "a", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def make_run(folder, config=None, top1=61.25, bias=40.0, negatives=1, size=(32, 32)):
    """A run folder; returns its path as text."""
    (folder / "gallery").mkdir(parents=True)
    config = (config or tiny_cpu()).replace(data="train.beton", out=str(folder))
    (folder / "config.json").write_text(json.dumps(config.as_dict()))
    environment = {
        "versions": {"torch": "2.9.1"},
        "device": "a CPU & more",
        "cores": 2,
        "commit": None,
        "command": "fastneg demo",
    }
    (folder / "environment.json").write_text(json.dumps(environment))
    rows = [{"kind": "start", "step": 0, "total_steps": 40, "accuracy_most": 1.0}]
    for step in range(10, 50, 10):
        figures = {
            "loss": 9 - step / 10,
            "acc1": step / 100,
            "acc5": step / 50,
            "positive_similarity": 0.5,
            "queue_similarity": 0.1,
        }
        rows.append(
            {
                "kind": "train",
                "step": step,
                "epoch": 0,
                **figures,
                "images_per_s": 700 + step,
                "data_wait_share": 0.1,
            }
        )
        if negatives:
            rows[-1]["negative_similarity"] = 0.3
    write_lines(folder / "metrics.jsonl", rows)
    categories = {
        "arrow": {"shape": 4, "texture": 6, "other": 0},
        "bolt": {"shape": 0, "texture": 0, "other": 10},
    }
    write_lines(
        folder / "evaluation.jsonl",
        [
            {
                "kind": "linear",
                "set": "val",
                "top1": 1.0,
                "top5": 2.0,
                "images": 120,
                "classes": 12,
                "mode": "features",
            },
            {
                "kind": "linear",
                "set": "val",
                "top1": top1,
                "images": 120,
                "classes": 12,
                "mode": "features",
                "path": "x/in_domain.beton",
            },
            {
                "kind": "knn",
                "set": "val",
                "top1": 55.5,
                "images": 120,
                "classes": 12,
                "checkpoint": "a.pt",
            },
            {"kind": "accuracy", "set": "in_domain", "top1": top1, "images": 120, "classes": 12},
            {
                "kind": "accuracy",
                "set": "unseen_texture",
                "top1": 33.75,
                "images": 120,
                "classes": 8,
            },
            {
                "kind": "corruptions",
                "set": "in_domain",
                "mean_top1": 30.0,
                "by_corruption": {"gaussian_noise": [50, 40, 30, 20, 10]},
            }
            | {
                "source": "on the fly",
                "of_the_15": ["gaussian_noise"],
                "images": 100,
                "arg_max": "all",
            },
            {
                "kind": "shape_bias",
                "set": "swapped",
                "shape_bias": bias,
                "coverage": 50.0,
                "by_category": categories,
            },
        ],
    )
    for i in range(2):
        for name in ("image", "query", "key", *(f"negative-{m}" for m in range(negatives))):
            Image.new("RGB", size, (40 * i, 90, 200)).save(folder / "gallery" / f"{i}-{name}.jpg")
    return str(folder)


def add_new_kinds(folder, beton, seed=0):
    """Lines and predictions of every further kind, of the images of a .beton file with classes a,
    b, c, d."""
    rng, common = (
        np.random.default_rng(seed),
        {"set": "photos", "path": str(beton), "checkpoint": "a.pt"},
    )
    edges = [round(-1 + 0.1 * i, 1) for i in range(21)]
    counts = {name: rng.integers(0, 50, 20).tolist() for name in ("positive", "queue", "patch")}
    add_rows(
        folder,
        {
            "kind": "accuracy",
            **common,
            "top1": 50.0,
            "top1_interval": [35.0, 65.0],
            "images": 40,
            "classes": 4,
            "ece": 12.5,
        },
        {
            "kind": "few_shot",
            "set": "val",
            "share": 1,
            "top1": 20.0 + seed,
            "top1_interval": [15.0, 25.0],
            "images": 40,
        },
        {"kind": "few_shot", "set": "val", "share": 10, "top1": 30.0 + seed, "images": 40},
        {
            "kind": "finetune",
            "set": "val",
            "top1": 70.0 + seed,
            "top5": 90.0,
            "epochs": 5,
            "images": 40,
        },
        {
            "kind": "per_class",
            **common,
            "by_class": {
                name: {"top1": 20.0 * i + seed, "images": 10} for i, name in enumerate("abcd")
            },
        },
        {
            "kind": "texture_classes",
            **common,
            "by_class": {
                name: {"top1": 90.0 - 20 * i, "images": 10} for i, name in enumerate("abcd")
            },
        }
        | {
            "groups": {
                "fine": {"top1": 80.0, "images": 20, "classes": 2},
                "coarse": {"top1": 40.0, "images": 20, "classes": 2},
            }
        },
        {
            "kind": "similarity",
            **common,
            "edges": edges,
            "positive": counts["positive"],
            "queue": counts["queue"],
        }
        | {
            "negative": {"patch": counts["patch"]},
            "means": {"positive": 0.8, "queue": 0.1, "negative": {"patch": 0.25}},
        },
        {
            "kind": "embedding",
            **common,
            "points": rng.normal(size=(40, 2)).tolist(),
            "labels": list("abcd") * 10,
            "explained": [41.0, 13.0],
        },
    )
    add_predictions(
        folder,
        np.arange(40) % 4,
        np.where(rng.random(40) < 0.5, np.arange(40) % 4, rng.integers(0, 4, 40)),
        rng.random(40),
    )


def add_predictions(folder, label, predicted, confidence, name="photos", classes="abcd"):
    """RUN/predictions/<name>.npz and the class names of RUN/linear.pt."""
    (folder / "predictions").mkdir(exist_ok=True)
    arrays = {
        "index": np.arange(len(label)),
        "label": np.asarray(label),
        "predicted": np.asarray(predicted),
    }
    np.savez(
        folder / "predictions" / f"{name}.npz",
        **arrays,
        confidence=np.asarray(confidence, np.float32),
    )
    torch.save({"classes": list(classes)}, folder / "linear.pt")


def page_of(tmp_path, *runs, **options):
    return Page(
        write_report(
            ReportConfig(runs, str(tmp_path / "out" / "report.html"), **options)
        ).read_text(encoding="utf-8")
    )
