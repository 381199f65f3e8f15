"""A browser window on the dashboard: its requests, errors and layout."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import numpy as np
from playwright.sync_api import Browser, ConsoleMessage, Page, Response

LAPTOP, PHONE = (1280, 800), (390, 844)
Scheme = Literal["light", "dark"]

# What is wrong with a page, in sentences. Labels, heads of tables, names of pictures and places.
_FAULTS = """() => {
  const faults = [];
  const all = (what) => [...document.querySelectorAll(what)];
  const must = (good, sentence) => { if (!good) faults.push(sentence); };
  const named = (node) => node.getAttribute('aria-label')
    || document.getElementById(node.getAttribute('aria-labelledby') ?? '')?.textContent.trim();
  must(all('h1').length === 1, 'there is not one h1');
  must(document.title.length > 14, 'no title');
  for (const node of all('input:not([type=hidden]), select, textarea'))
    must(node.labels?.length || named(node), `no label: ${node.outerHTML}`);
  for (const node of all('button, a[href]'))
    must(node.textContent.trim() || named(node), `nothing to read: ${node.outerHTML}`);
  for (const node of all('svg'))
    must(node.getAttribute('aria-hidden') === 'true' || (node.role === 'img' && named(node)),
         `no name: ${node.outerHTML.slice(0, 80)}`);
  for (const node of all('progress:not([aria-hidden])'))
    must(named(node), 'a progress without a name');
  for (const node of all('section, [role=region], nav'))
    must(named(node), `no name: ${node.outerHTML.slice(0, 80)}`);
  const beyond = document.documentElement.scrollWidth - innerWidth;
  must(beyond <= 0, `the page scrolls sideways by ${beyond} pixels`);
  // What one cannot scroll to: cut off at the left, or hidden by its box.
  for (const node of all('main h1, main h2, main p, main dd, main button')) {
    const box = node.getBoundingClientRect();
    if (!box.width || node.closest('.unseen, .scroll, .log')) continue;
    must(box.left >= 0 && box.right <= innerWidth + 1, `cut off: ${node.textContent.slice(0, 60)}`);
  }
  return faults;
}"""


@dataclass
class Window:
    """One window."""

    page: Page
    home: str
    asked: list[str] = field(default_factory=list)  # addresses, as Chromium's network says
    popped: list[str] = field(default_factory=list)  # alerts
    complaints: list[str] = field(default_factory=list)  # of the console, and of scripts that fell

    def go(self, path: str = "") -> Response:
        """Open a page of the dashboard."""
        answer = self.page.goto(f"{self.home}/dashboard{path}")
        assert answer is not None
        return answer

    def loading(self) -> float:
        """Seconds from asking for this page until it had loaded, as the browser counts them."""
        loaded = self.page.wait_for_function(
            "() => performance.getEntriesByType('navigation')[0].loadEventEnd"
        )
        return float(loaded.json_value()) / 1000

    @property
    def words(self) -> str:
        """The visible text with single spaces."""
        return " ".join(self.page.locator("main").inner_text().split())

    def faults(self) -> list[str]:
        """Problems for screen readers, keyboards and small screens."""
        problems: list[str] = self.page.evaluate(_FAULTS)
        return problems

    def strangers(self) -> list[str]:
        """Requests to other hosts; a data: address, as of a date field's icon, asks none."""
        here = urlsplit(self.home).netloc
        addresses = [address for address in self.asked if not address.startswith("data:")]
        return [address for address in addresses if urlsplit(address).netloc != here]

    def see_pictures(self) -> None:
        """Scroll to each, and hold that it is one."""
        for picture in self.page.locator("main img").all():
            picture.scroll_into_view_if_needed()
            picture.evaluate("image => image.decode()")

    def picture(self, folder: Path, name: str) -> None:
        """Save a screenshot."""
        folder.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=folder / f"{name}.png", full_page=True)

    def luminance(self, what: str) -> float:
        """Of a colour of the body, as WCAG counts it. what: a property, or a variable of the
        style."""
        colour = self.page.evaluate(
            """(what) => {
              const probe = document.createElement('span');
              document.body.append(probe);
              if (what.startsWith('--')) probe.className = 'soft';
              const style = getComputedStyle(what.startsWith('--') ? probe : document.body);
              const resolved = style.getPropertyValue(what.startsWith('--') ? 'color' : what);
              probe.remove();
              return resolved;
            }""",
            what,
        )
        channels = [int(number) / 255 for number in re.findall(r"\d+", colour)[:3]]
        linear = [
            channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4
            for channel in channels
        ]
        return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))

    def focused(self) -> dict[str, Any]:
        """The element with the focus: its name, and whether the focus is visible."""
        element: dict[str, Any] = self.page.evaluate(
            """() => {
              const node = document.activeElement, style = getComputedStyle(node);
              const box = node.getBoundingClientRect();
              return {
                tag: node.localName,
                name: (node.getAttribute('aria-label') || node.textContent || node.name).trim(),
                address: node.getAttribute('href') ?? '',
                outlined: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2,
                shown: box.width > 4 && box.height > 4,
              };
            }"""
        )
        return element


@contextmanager
def window(
    browser: Browser,
    home: str,
    size: tuple[int, int] = LAPTOP,
    scheme: Scheme = "light",
) -> Iterator[Window]:
    """A new window with its own cookies."""
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]}, color_scheme=scheme
    )
    context.set_default_timeout(30_000)
    page = context.new_page()
    opened = Window(page, home)
    wire = context.new_cdp_session(page)
    wire.send("Network.enable")
    wire.on("Network.requestWillBeSent", lambda sent: opened.asked.append(sent["request"]["url"]))

    def complained(message: ConsoleMessage) -> None:
        # A refusal of the server's own is looked at by the tests that ask for one.
        if message.type == "error" and "the server responded with a status" not in message.text:
            opened.complaints.append(message.text)

    page.on("console", complained)
    page.on("pageerror", lambda error: opened.complaints.append(str(error)))
    page.on("dialog", lambda dialog: (opened.popped.append(dialog.message), dialog.dismiss()))
    try:
        yield opened
        assert not opened.popped, "nothing that a stranger wrote runs"
        assert not opened.complaints
        assert opened.strangers() == [], "no other host is asked for anything"
    finally:
        context.close()


def contrast(one: float, other: float) -> float:
    """The ratio of two luminances."""
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)
