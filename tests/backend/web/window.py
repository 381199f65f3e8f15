"""A browser window on the dashboard: its requests, errors and layout."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Page, Response

LAPTOP, PHONE = (1280, 800), (390, 844)
Scheme = Literal["light", "dark"]

# What is wrong with a page, in sentences. Labels, heads of tables, names of pictures and places.
_FAULTS = """() => {
  const faults = [];
  const all = (what) => [...document.querySelectorAll(what)];
  const must = (good, sentence) => { if (!good) faults.push(sentence); };
  const named = (it) => it.getAttribute('aria-label')
    || document.getElementById(it.getAttribute('aria-labelledby') ?? '')?.textContent.trim();
  must(all('h1').length === 1, 'there is not one h1');
  must(document.documentElement.lang === 'en', 'the language is not set');
  must(document.title.length > 14, 'no title');
  for (const tag of ['header', 'main', 'footer', 'nav'])
    must(all(tag).length, `no ${tag}`);
  for (const it of all('input:not([type=hidden]), select, textarea'))
    must(it.labels?.length || named(it), `no label: ${it.outerHTML}`);
  for (const it of all('button, a[href]'))
    must(it.textContent.trim() || named(it), `nothing to read: ${it.outerHTML}`);
  for (const it of all('table')) must(it.caption, `no caption: ${it.className}`);
  for (const it of all('th')) must(it.scope, `no scope: ${it.outerHTML}`);
  for (const it of all('img')) must(it.alt, `no alt: ${it.src}`);
  for (const it of all('svg'))
    must(it.getAttribute('aria-hidden') === 'true' || (it.role === 'img' && named(it)),
         `no name: ${it.outerHTML.slice(0, 80)}`);
  for (const it of all('progress:not([aria-hidden])')) must(named(it), 'a progress without a name');
  for (const it of all('section, [role=region], nav'))
    must(named(it), `no name: ${it.outerHTML.slice(0, 80)}`);
  const beyond = document.documentElement.scrollWidth - innerWidth;
  must(beyond <= 0, `the page scrolls sideways by ${beyond} pixels`);
  // What one cannot scroll to: cut off at the left, or hidden by its box.
  for (const it of all('main h1, main h2, main p, main dd, main button')) {
    const box = it.getBoundingClientRect();
    if (!box.width || it.closest('.unseen, .scroll, .log')) continue;
    must(box.left >= 0 && box.right <= innerWidth + 1, `cut off: ${it.textContent.slice(0, 60)}`);
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
        found: list[str] = self.page.evaluate(_FAULTS)
        return found

    def strangers(self) -> list[str]:
        """Requests to other hosts; a data: address, as of a date field's icon, asks none."""
        here = urlsplit(self.home).netloc
        addresses = [address for address in self.asked if not address.startswith("data:")]
        return [address for address in addresses if urlsplit(address).netloc != here]

    def see_pictures(self) -> None:
        """Scroll to each, and hold that it is one."""
        for picture in self.page.locator("main img").all():
            picture.scroll_into_view_if_needed()
            picture.evaluate("it => it.decode()")

    def picture(self, folder: Path, name: str) -> None:
        """Save a screenshot."""
        folder.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=folder / f"{name}.png", full_page=True)

    def focused(self) -> dict[str, Any]:
        """The element with the focus: its name, and whether the focus is visible."""
        found: dict[str, Any] = self.page.evaluate(
            """() => {
              const it = document.activeElement, style = getComputedStyle(it);
              const box = it.getBoundingClientRect();
              return {
                tag: it.localName,
                name: (it.getAttribute('aria-label') || it.textContent || it.name).trim(),
                address: it.getAttribute('href') ?? '',
                outlined: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2,
                shown: box.width > 4 && box.height > 4,
              };
            }"""
        )
        return found


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
