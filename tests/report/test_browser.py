"""The page in a browser: no console message, every image loads, nothing is wider than a phone, no
card is empty (the page of fastneg.report.page, opened in headless Chromium; skipped where no
Chromium is installed: Debian and Ubuntu have it as chromium)."""

import html
import json
import re
import shutil
import subprocess

import pytest

from fastneg.config import ReportConfig
from fastneg.recipes.presets import tiny_cpu, tiny_cpu_moco
from fastneg.report.page import write_report
from helpers.report_runs import add_new_kinds, make_run

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
</script></head><body>
<iframe src="{source}" style="border: 0; width: {width}px; height: 900px"></iframe>
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
      .map(plot => Math.round(plot.getBoundingClientRect().width)),
    colour: getComputedStyle(document.body).backgroundColor,
    requests: performance.getEntriesByType("resource")
      .map(entry => entry.name).filter(name => !name.startsWith("data:")),
  }), "*");
});
</script>"""


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


def opened(page, width, *flags):
    """What the probe found, and what Chromium wrote to its console."""
    copy = page.with_name(f"probed-{width}.html")
    copy.write_text(
        page.read_text(encoding="utf-8").replace("<title>", PROBE + "<title>", 1), encoding="utf-8"
    )
    profile = page.with_name(f"profile-{width}{len(flags)}")
    frame = page.with_name(f"frame-{width}.html")
    frame.write_text(FRAME.format(source=copy.name, width=width), encoding="utf-8")
    shown = ["--window-size=1400,1000", "--virtual-time-budget=20000", "--dump-dom", frame.as_uri()]
    command = [CHROMIUM, *FLAGS, *flags, f"--user-data-dir={profile}", *shown]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True)
    title = re.search(r"<title>(.*?)</title>", done.stdout, re.DOTALL)[1]
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return json.loads(html.unescape(title)), console


@pytest.mark.parametrize(
    ("width", "flags"), [(1280, ()), (390, ()), (390, ("--blink-settings=preferredColorScheme=0",))]
)
def test_a_browser_shows_all_of_it(page, width, flags):
    found, console = opened(page, width, *flags)
    assert found["errors"] == [] and console == [] and found["requests"] == []
    assert found["width"] == width and found["page"] <= width
    assert found["beyond"] == [] and found["empty"] == 0
    assert len(found["images"]) > 30 and all(found["images"])
    assert len(found["plots"]) > 20 and min(found["plots"]) > 180
    light, dark = "rgb(246, 246, 243)", "rgb(19, 21, 25)"
    assert found["colour"] == (dark if flags else light)


def test_the_probe_finds_what_is_wrong(page):
    broken = page.with_name("broken.html")
    text = page.read_text(encoding="utf-8").replace(
        "</main>", '<img src="data:image/png;base64,AAAA"><p style="width: 900px">wide</p></main>'
    )
    broken.write_text(text, encoding="utf-8")
    found, _ = opened(broken, 390)
    assert (
        not found["images"][-1]
        and found["errors"]
        and len(found["beyond"]) == 1
        and found["page"] > 390
    )


def test_it_prints(page):
    paper = page.with_suffix(".pdf")
    profile = page.with_name("profile-print")
    subprocess.run(
        [
            CHROMIUM,
            *FLAGS,
            f"--user-data-dir={profile}",
            "--no-pdf-header-footer",
            f"--print-to-pdf={paper}",
            page.as_uri(),
        ],
        capture_output=True,
        timeout=240,
        check=True,
    )
    assert paper.read_bytes().startswith(b"%PDF") and paper.stat().st_size > 50_000
