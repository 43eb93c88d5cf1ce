"""fastneg encode."""

from __future__ import annotations

import contextlib
import functools
import signal
import sys

from fastneg.counts import counted
from fastneg.data.encode.anywhere import encode_anywhere


class _Terminated(BaseException):
    """SIGTERM came. Raised where the work is, so that all that cleans up after an error does so."""


@contextlib.contextmanager
def _raising_sigterm():
    def stop(number, frame):
        raise _Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def run_encode(config):
    """Encode and print what was done; 1 if images had to be skipped, 143 if SIGTERM stopped it."""
    try:
        with _raising_sigterm():
            summary = encode_anywhere(config, report=functools.partial(print, flush=True))
    except _Terminated:
        print(
            f"fastneg encode: stopped by SIGTERM; nothing was left of {config.out}.",
            file=sys.stderr,
        )
        return 128 + signal.SIGTERM
    for name in summary["removed"]:
        print(f"removed {name}, which a call that was killed had left.")
    changed, of_textures = (
        ", ".join(f"{count} {reason}" for reason, count in summary[key].items())
        for key in ("re_encoded", "textures_re_encoded")
    )
    again = "stored as raw pixels" if config.lossless else "encoded again"
    print(
        f"{config.out}: {counted(summary['images'], 'image')}{_classes(summary)}, "
        f"{summary['bytes'] / 2**20:.1f} MiB in {summary['seconds']:.1f} s; "
        f"{summary['passed_through']} passed through untouched, {again}: {changed or 'none'}; "
        + (f"textures {again}: {of_textures or 'none'}; " if config.textures else "")
        + "".join(
            f"images left out: {count} {reason}; " for reason, count in summary["left_out"].items()
        )
        + f"skipped: {len(summary['skipped'])}; no images by their suffix: {summary['ignored']}."
    )
    if "holdout" in summary:
        print(_held_out(config, summary["holdout"], summary["images"]))
    for skipped in summary["skipped"]:
        print(f"  skipped {skipped}")
    return 1 if summary["skipped"] else 0


def _held_out(config, held, images):
    """What --holdout did, in words."""
    text = (
        f"{held['path']}: {held['images']} of these images, held out (seed {config.seed}); "
        f"{config.out}: the other {images - held['images']}"
    )
    if held["doubles"]:
        text += (
            f"; {counted(held['doubles'], 'image')} lie in the same file as another of the "
            "same bytes"
        )
    for key, where in (("only_train", config.out), ("only_holdout", held["path"])):
        if names := held[key]:
            named = f"{', '.join(names[:5])}{', …' if len(names) > 5 else ''}"
            classes = f"{len(names)} class{'es' if len(names) > 1 else ''}"
            text += f"; {classes} with one image, or copies of one, in {where} alone: {named}"
    return text + "."


def _classes(summary):
    if summary["classes"] is None:
        return " without labels"
    (least, fewest), (most, largest) = summary["smallest_class"], summary["largest_class"]
    return (
        f" in {summary['classes']} class{'es' * (summary['classes'] != 1)} (labels from "
        f"{summary['labels_from']}; the fewest in {least}: {fewest}, the most in {most}: {largest})"
    )
