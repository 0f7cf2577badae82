"""Draw the pictures of docs/report.md from the shipped organisms. Needs Chromium and playwright.

python tools/report_pictures.py            # docs/report-*.png
"""

import io
import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from misfired.demo import demo
from misfired.report.html import write_report
from misfired.report.measured import read_measured

DOCS = Path(__file__).parents[1] / "docs"
MOST_BYTES = 150_000


def save(page: Page, name: str) -> None:
    """Save what the window shows in few colours, so that a picture stays small."""
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    path = DOCS / f"report-{name}.png"
    picture.quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)
    size = path.stat().st_size
    print(f"{path}: {size:,} bytes")
    assert size < MOST_BYTES


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        demo(out, n_threads=1)
        page_file = out / "report.html"
        write_report(read_measured([out / "instruct"]), page_file)
        shoot(page_file)


def shoot(page_file: Path) -> None:
    chromium = shutil.which("chromium") or sys.exit("no chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        views = (
            ("result", 1180, 1290, "light"),
            ("pairs", 1180, 800, "dark"),
            ("phone", 400, 800, "light"),
        )
        for name, width, height, scheme in views:
            size = {"width": width, "height": height}
            page = browser.new_context(viewport=size, color_scheme=scheme, offline=True).new_page()
            page.goto(
                page_file.as_uri() + ("#priming=1&outcome=misfire" if name != "result" else "")
            )
            if name != "result":
                page.locator("#pairs summary").first.click()
                page.evaluate("document.getElementById('filters').scrollIntoView()")
            save(page, name)
        browser.close()


if __name__ == "__main__":
    main()
