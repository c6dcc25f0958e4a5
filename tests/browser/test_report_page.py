"""The page of a quarter on a phone, a desk and paper: nothing clipped, hidden or loaded."""

import re

import pytest
from accessibility import find_barriers
from shop import fill

from evalbench.report import runbook

FONTS = ("DejaVu Sans", "DejaVu Serif")
"""The one that tests have everywhere, and one with quite other widths."""
ESCAPING = """font => {
  document.body.style.fontFamily = font;
  const inside = (box, of) => box.left >= of.left - 1 && box.right <= of.right + 1;
  const escaping = [];
  for (const frame of document.querySelectorAll('.front figure, .front .tile, .table')) {
    const of = frame.getBoundingClientRect();
    for (const each of frame.querySelectorAll('p, span, h2, td, th, b, small')) {
      if (frame.matches('.table') || !each.textContent.trim()) continue;
      if (!inside(each.getBoundingClientRect(), of)) escaping.push(each.textContent);
      const clipped = each.clientWidth && each.scrollWidth > each.clientWidth + 1;
      if (clipped) escaping.push(each.textContent);
    }
  }
  return escaping;
}"""
SIZES = """() => [...document.querySelectorAll('.front p, .front li, .front td, .front span')]
  .filter(each => /\\d/.test(each.textContent) && each.getClientRects().length)
  .map(each => parseFloat(getComputedStyle(each).fontSize))"""


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Make the report of a small surface; the page is printed by the tests."""
    folder = tmp_path_factory.mktemp("page")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runbook, "_BROWSERS", ())
        ws, asked = fill(folder / "workspace"), {"quarter": "2026Q3"}
        return runbook.run("11_impact", asked, workspace=ws, reports=folder / "reports").html


@pytest.mark.parametrize(("width", "height", "scheme"), [(390, 844, "light"), (1280, 800, "dark")])
def test_the_first_screen_says_it_all_and_nobody_is_kept_out(
    chromium, report, width, height, scheme
):
    size = {"width": width, "height": height}
    page = chromium.new_page(viewport=size, color_scheme=scheme, bypass_csp=True)
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(report.as_uri())
    for seen in (".front h1", ".short li:nth-child(3)", ".tile:nth-child(4) .aim"):
        box = page.locator(seen).bounding_box()
        assert box["y"] + box["height"] <= height, seen
    for font in FONTS:
        assert page.evaluate(ESCAPING, font) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert min(page.evaluate(SIZES)) >= 10.5
    assert find_barriers(page) == []
    assert asked == [report.as_uri()]
    link = page.locator(".front td a").first
    link.click()
    assert page.locator(f"{link.get_attribute('href')} blockquote").first.is_visible()
    page.close()


def test_the_page_before_the_appendix_is_one_page_of_paper(chromium, report):
    page = chromium.new_page()
    page.goto(report.as_uri())
    page.emulate_media(media="print")
    printed = page.pdf(prefer_css_page_size=True)
    whole = len(re.findall(rb"/Type\s*/Page\b", printed))
    page.evaluate("document.querySelector('.front').closest('.jp-Cell').remove()")
    without = page.pdf(prefer_css_page_size=True)
    assert whole - len(re.findall(rb"/Type\s*/Page\b", without)) == 1
    page.close()


def test_every_figure_is_a_picture_for_a_slide(report, tmp_path):
    if runbook.find_browser() is None:
        pytest.skip("no Chromium or Chrome on this machine")
    runbook._draw_slides(report, tmp_path / "figures")
    pictures = sorted((tmp_path / "figures").iterdir())
    assert [each.name for each in pictures] == [
        "figure-coverage.png", "figure-targets.png", "figure-year.png", "page.png",
    ]  # fmt: skip
    for each in pictures[:-1]:
        header = each.read_bytes()[:24]
        assert [int.from_bytes(header[at : at + 4]) for at in (16, 20)] == [1920, 1080]
