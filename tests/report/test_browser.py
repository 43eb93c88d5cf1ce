"""The page in a browser: no console message, every image loads, nothing is wider than a phone, no
card is empty (the page of fastneg.report.page, opened in headless Chromium; skipped where no
Chromium is installed: Debian and Ubuntu have it as chromium)."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fastneg.config import ReportConfig
from fastneg.recipes.presets import tiny_cpu, tiny_cpu_moco
from fastneg.report.page import write_report
from fastneg.report.study import write_study_report
from helpers.report_runs import add_new_kinds, make_run
from helpers.study_folders import study_folder

CHROMIUM = next(
    filter(
        None,
        map(
            shutil.which, ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
        ),
    ),
    None,
)
FLAGS = (
    *(
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
    ),
    *(
        "--disable-component-update",
        "--disable-sync",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
        "--enable-logging=stderr",
    ),
)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None,
    reason="no Chromium on this machine: apt-get install chromium to open the report in it",
)

# Put into a copy of the page: it finds what a reader would stumble over. The copy is shown in a
# frame, which may be as narrow as a phone (a window may not), and the frame's page writes what the
# probe tells into its own title, which --dump-dom shows.
FRAME = """<!DOCTYPE html><html><head><title></title><script>
addEventListener("message", event => document.title = event.data);
</script></head><body style="margin: 0">
<iframe src="{source}" style="border: 0; width: {width}px; height: {height}px"></iframe>
</body></html>"""
PROBE = """<script>
const errors = [];
addEventListener(
  "error", event => errors.push(String(event.message || event.target.outerHTML)), true
);
addEventListener("securitypolicyviolation", event => errors.push(event.blockedURI));
addEventListener("load", () => {
  document.querySelectorAll("details").forEach(fold => { fold.open = true; });
  const narrow = element => element.closest(".scroll");
  const beyond = [...document.querySelectorAll("main *")].filter(element => {
    const box = element.getBoundingClientRect();
    const wide = box.right > document.documentElement.clientWidth + 1;
    return box.width && wide && !narrow(element) && !element.closest("svg");
  });
  parent.postMessage(JSON.stringify({
    errors,
    width: innerWidth,
    page: document.documentElement.scrollWidth,
    images: [...document.images].map(image => image.complete && image.naturalWidth > 0),
    beyond: beyond.map(element => element.outerHTML.slice(0, 120)),
    empty: [...document.querySelectorAll(".card, .views, details")]
      .filter(card => card.getBoundingClientRect().height < 30).length,
    plots: [...document.querySelectorAll("svg.plot")]
      .map(plot => Math.round(plot.getBoundingClientRect().width)).filter(width => width),
    height: document.documentElement.scrollHeight,
    blank: [...document.querySelectorAll(".card")].filter(card => {
      const ends = [...card.children].map(child => child.getBoundingClientRect().bottom);
      return card.getBoundingClientRect().bottom - Math.max(...ends) > 110;
    }).map(card => card.innerText.slice(0, 60)),
    holes: [...document.querySelectorAll(".halves, .thirds, .tiles")].filter(grid => {
      const box = grid.getBoundingClientRect();
      const last = grid.lastElementChild.getBoundingClientRect();
      return box.right - last.right > 2;
    }).map(grid => grid.innerText.slice(0, 60)),
    hidden: [...document.querySelectorAll(".scroll")].filter(table =>
      table.scrollWidth > table.clientWidth + 1
      && !getComputedStyle(table).backgroundImage.includes("gradient")
    ).map(table => table.innerText.slice(0, 60)),
    colour: getComputedStyle(document.body).backgroundColor,
    requests: performance.getEntriesByType("resource")
      .map(entry => entry.name).filter(name => !name.startsWith("data:")),
  }), "*");
});
</script>"""


@pytest.fixture(scope="module")
def pages(page, tmp_path_factory, beton):
    """The same, that of one run and that of a study."""
    folder = tmp_path_factory.mktemp("more")
    add_new_kinds(Path(make_run(folder / "run")), beton)
    one = write_report(ReportConfig((str(folder / "run"),), str(folder / "one.html")))
    study_folder(folder / "study")
    return {
        "runs": page,
        "one": one,
        "study": write_study_report(folder / "study", folder / "study.html"),
    }


@pytest.fixture(scope="module")
def page(tmp_path_factory, beton):
    """A page of three entries with every kind of section, one of them of two seeds."""
    folder = tmp_path_factory.mktemp("browser")
    configs = {
        "a_run_with_quite_a_long_name-s0": tiny_cpu().replace(seed=0),
        "a_run_with_quite_a_long_name-s1": tiny_cpu().replace(seed=1),
        "alpha2": tiny_cpu().replace(alpha=2.0),
        "moco": tiny_cpu_moco(),
    }
    for number, (name, config) in enumerate(configs.items()):
        make_run(folder / name, config, top1=60.0 + number)
        add_new_kinds(folder / name, beton, number)
    return write_report(
        ReportConfig(tuple(str(folder / name) for name in configs), str(folder / "report.html"))
    )


def framed(page, source, width, height):
    """A page with another one in a frame of this width: a window may not be as narrow."""
    frame = page.with_name(f"frame-{width}-{source}")
    frame.write_text(FRAME.format(source=source, width=width, height=height), encoding="utf-8")
    return frame


def chromium(page, *flags):
    profile = page.with_name("profile")
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=True)


def opened(page, width, *flags):
    """What the probe found, and what Chromium wrote to its console."""
    copy = page.with_name(f"probed-{page.name}")
    copy.write_text(
        page.read_text(encoding="utf-8").replace("<title>", PROBE + "<title>", 1), encoding="utf-8"
    )
    frame = framed(page, copy.name, width, 900)
    shown = ["--window-size=1400,1000", "--virtual-time-budget=20000", "--dump-dom", frame.as_uri()]
    done = chromium(page, *flags, *shown)
    title = re.search(r"<title>(.*?)</title>", done.stdout, re.DOTALL)[1]
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return json.loads(html.unescape(title)), console


def screenshot(page, width, height, *flags):
    """(height, width, 3) uint8, as a reader sees the page before the folds are opened."""
    path, frame = page.with_suffix(".png"), framed(page, page.name, width, height)
    window = f"--window-size={max(width, 500)},{height}"
    chromium(
        page, *flags, window, "--virtual-time-budget=20000", f"--screenshot={path}", frame.as_uri()
    )
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))[:height, :width]


def blank_places(pixels, colours, size):
    """Left upper corners of windows (height, width) that hold one of the colours alone."""
    high, wide = size
    found = []
    for colour in colours:
        other = (np.abs(pixels.astype(int) - colour) > 3).any(2)
        total = np.pad(other.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
        inside = total[high:, wide:] - total[:-high, wide:] - total[high:, :-wide]
        found += np.argwhere(inside + total[:-high, :-wide] == 0).tolist()
    return found


LIGHT = (0xF6F6F3, 0xFFFFFF)
DARK = (0x131519, 0x1C1F25)
"""The colours of the page and of its cards."""


def bytes_of(colour):
    return tuple(colour.to_bytes(3, "big"))


@pytest.mark.parametrize(
    ("name", "width", "dark", "looked_at"),
    [
        ("runs", 1280, False, True),
        ("runs", 400, True, True),
        ("one", 1280, True, True),
        ("study", 400, False, False),
    ],
)
def test_a_browser_shows_all_of_it(pages, name, width, dark, looked_at):
    page, flags = pages[name], ["--blink-settings=preferredColorScheme=0"] if dark else []
    found, console = opened(page, width, *flags)
    assert found["errors"] == [] and console == [] and found["requests"] == []
    assert found["width"] == width and found["page"] <= width
    assert found["beyond"] == [] and found["empty"] == 0
    assert found["blank"] == [] and found["holes"] == [] and found["hidden"] == []
    assert all(found["images"]) and min(found["plots"]) > 180
    if name == "runs":
        assert len(found["images"]) > 30 and len(found["plots"]) > 20
    colours = [bytes_of(colour) for colour in (DARK if dark else LIGHT)]
    assert found["colour"] == f"rgb{colours[0]}"
    if looked_at:
        pixels = screenshot(page, width, found["height"], *flags)
        # The folds are closed in the picture: what is below the footer does not count.
        inked = (np.abs(pixels.astype(int) - colours[0]) > 3).any(2).any(1)
        pixels = pixels[: inked.nonzero()[0].max()]
        margin = max(0, (width - 1120) // 2)
        window = (230, min(400, width - 60))
        assert blank_places(pixels[:, margin : width - margin], colours, window) == []


def test_a_blank_place_is_found():
    page, card = ((200, 200, 200), (255, 255, 255))
    pixels = np.full((300, 400, 3), 200, np.uint8)
    pixels[::40] = 0
    assert blank_places(pixels, (page, card), (60, 100)) == []
    pixels[100:170, 50:160] = 255
    assert blank_places(pixels, (page, card), (60, 100))[0] == [100, 50]


def test_the_probe_finds_what_is_wrong(page):
    broken = page.with_name("broken.html")
    text = page.read_text(encoding="utf-8").replace(
        "</main>", '<img src="data:image/png;base64,AAAA"><p style="width: 900px">wide</p></main>'
    )
    hole = '<div class="tiles" style="--tiles: 3"><div class="card" style="height: 300px"></div>'
    text = text.replace("</main>", hole + "</div></main>")
    broken.write_text(text, encoding="utf-8")
    found, _ = opened(broken, 400)
    assert not found["images"][-1] and found["errors"] and len(found["beyond"]) == 1
    assert found["page"] > 400 and len(found["holes"]) == 1


def test_it_prints(page):
    paper = page.with_suffix(".pdf")
    chromium(page, "--no-pdf-header-footer", f"--print-to-pdf={paper}", page.as_uri())
    assert paper.read_bytes().startswith(b"%PDF") and paper.stat().st_size > 50_000
