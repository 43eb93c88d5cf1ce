"""A page of pictures in rows, as one PNG or one HTML file.

Pictures keep their pixels: a small one is enlarged by whole numbers, and .html holds PNGs.
"""

from __future__ import annotations

import base64
import html
import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

LEAST = 112
"""Pixels that a picture is shown with at least, on its longer side."""
GAP, LINE = 8, 14


@dataclass(frozen=True)
class Tile:
    pixels: np.ndarray
    """(H, W, 3) uint8."""
    caption: str


@dataclass(frozen=True)
class Line:
    head: str
    tiles: tuple[Tile, ...]


def sheet_png(title, lines, file):
    """Draw lines of tiles below a title into an open binary file."""
    rows = [[_enlarged(tile.pixels) for tile in line.tiles] for line in lines]
    widths = [max(row[n].width for row in rows if n < len(row)) for n in range(max(map(len, rows)))]
    texts = [title, *(line.head for line in lines)]
    font = ImageFont.load_default(size=LINE - 3)
    width = max(sum(widths) + GAP * len(widths), *(int(font.getlength(text)) for text in texts))
    height = 3 * LINE + sum(max(image.height for image in row) + 2 * LINE + GAP for row in rows)
    page = Image.new("RGB", (width + 2 * GAP, height + GAP), "white")
    draw, top = ImageDraw.Draw(page), 2 * LINE
    draw.text((GAP, GAP), title, "black", font)
    for line, row in zip(lines, rows, strict=True):
        draw.text((GAP, top), line.head, "black", font)
        left, top = GAP, top + LINE
        for tile, image, column in zip(line.tiles, row, widths, strict=False):
            page.paste(image, (left, top))
            caption = _fitting(tile.caption, column, font)
            draw.text((left, top + image.height), caption, "dimgray", font)
            left += column + GAP
        top += max(image.height for image in row) + LINE + GAP
    page.save(file, "PNG")


def sheet_html(title, lines, file):
    """Write lines of tiles below a title as one self-contained page into an open binary file."""
    parts = [HEAD.format(title=html.escape(title))]
    for line in lines:
        parts.append(f"<h2>{html.escape(line.head)}</h2>\n<div>")
        parts += [_figure(tile) for tile in line.tiles]
        parts.append("</div>")
    file.write("\n".join([*parts, "</body></html>\n"]).encode())


HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 14px system-ui, sans-serif; margin: 1.5em; }}
h1 {{ font-size: 1.1em; }} h2 {{ font-size: 0.95em; margin-bottom: 0.3em; }}
div {{ display: flex; flex-wrap: wrap; gap: 8px; }}
figure {{ margin: 0; }} figcaption {{ color: #555; font-size: 0.85em; }}
img {{ image-rendering: pixelated; display: block; }}
</style></head><body>
<h1>{title}</h1>"""


def _figure(tile):
    buffer = io.BytesIO()
    Image.fromarray(tile.pixels).save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    height, width = (side * _factor(tile.pixels) for side in tile.pixels.shape[:2])
    caption = html.escape(tile.caption)
    return (
        f'<figure><img src="data:image/png;base64,{data}" width="{width}" height="{height}" '
        f'alt="{caption}"><figcaption>{caption}</figcaption></figure>'
    )


def _factor(pixels):
    return -(-LEAST // max(pixels.shape[:2]))


def _enlarged(pixels):
    factor = _factor(pixels)
    return Image.fromarray(pixels.repeat(factor, 0).repeat(factor, 1))


def _fitting(text, width, font):
    """As much of a text as fits the width, with … where something is left out."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"
