"""The contrast of text in a page with what is behind it: can it be read?"""

from __future__ import annotations

import re

from playwright.sync_api import Page


def luminance(colour: str) -> float:
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in (int(number) / 255 for number in re.findall(r"\d+", colour)[:3])
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def ratio(ink: str, behind: str) -> float:
    """The contrast of two colours: 1 to 21 (WCAG 2.2, "contrast ratio")."""
    dark, light = sorted(map(luminance, (ink, behind)))
    return (light + 0.05) / (dark + 0.05)


def contrast(page: Page, selector: str) -> float:
    """The contrast between the text of an element and what lies behind it."""
    colours = page.locator(selector).first.evaluate("""item => {
        const clear = "rgba(0, 0, 0, 0)";
        const ink = getComputedStyle(item).color;
        while (getComputedStyle(item).backgroundColor === clear) item = item.parentElement;
        return [ink, getComputedStyle(item).backgroundColor];
    }""")
    return ratio(*colours)
