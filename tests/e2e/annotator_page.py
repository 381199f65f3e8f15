"""One annotator at Label Studio's real labeling page, in a real browser.

Knows how the page of Label Studio 1.23 is built, so that the tests need not: they click, say and
look. Places are percents of the picture, as Label Studio counts them.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from playwright.sync_api import ConsoleMessage, Page, Route
from playwright.sync_api import TimeoutError as TooLateError

from tests.e2e.regions import Mask, Region, is_mask, region_of

Key = Literal["Alt", "Control", "Shift"]

# A first click reads and encodes the picture; with the cores taken that lasts.
ANSWER_MS = 60_000
PAGE_MS = 120_000

_ANSWERS = "**/interactive-annotating*"
_REGIONS = """() => {
  const annotation = Htx.annotationStore.selected;
  const suggested = [...annotation.suggestions.values()].flatMap(
    region => region.results.map(result => result.serialize()));
  return [annotation.serializeAnnotation(), suggested.filter(Boolean)];
}"""
_TOOL = """() => {
  const image = Htx.annotationStore.selected.objects.find(object => object.type === 'image');
  return image.getToolsManager().findSelectedTool()?.toolName ?? '';
}"""
_STAGE = """() => {
  const image = Htx.annotationStore.selected.objects.find(object => object.type === 'image');
  return [image.zoomingPositionX, image.zoomingPositionY,
          image.stageWidth * image.zoomScale, image.stageHeight * image.zoomScale];
}"""
# Every coloured pixel that lies over the picture. The first canvas is the picture itself.
_PAINTED = """([width, height, [x, y, w, h]]) => {
  const sum = new Uint8Array(width * height);
  for (const canvas of [...document.querySelectorAll('.konvajs-content canvas')].slice(1)) {
    const copy = document.createElement('canvas');
    copy.width = width; copy.height = height;
    const context = copy.getContext('2d', {willReadFrequently: true});
    const ratio = canvas.width / canvas.clientWidth;
    context.drawImage(canvas, x * ratio, y * ratio, w * ratio, h * ratio, 0, 0, width, height);
    const data = context.getImageData(0, 0, width, height).data;
    for (let i = 0; i < sum.length; i++) sum[i] = Math.max(sum[i], data[4 * i + 3]);
  }
  return [...sum].map(alpha => alpha > 40 ? 1 : 0).join('');
}"""


# One stroke over a region, by the same actions as the page's brush and eraser.
_STROKE = """([id, kind, points, size]) => {
  const annotation = Htx.annotationStore.selected;
  const region = annotation.regions.find(region => region.cleanId === id);
  const {stageWidth, stageHeight} = annotation.objects.find(object => object.type === 'image');
  region.beginPath({type: kind, strokeWidth: size});
  for (const [x, y] of points)
    region.addPoint(Math.floor(x / 100 * stageWidth), Math.floor(y / 100 * stageHeight));
  region.endPath();
}"""
_DELETE = """id => {
  const annotation = Htx.annotationStore.selected;
  annotation.regions.find(region => region.cleanId === id).deleteRegion();
}"""
# A region as a draft keeps it, and as it is submitted.
_SERIALIZED = """id => {
  const annotation = Htx.annotationStore.selected;
  const one = items => items.find(item => item.id === id && item.type === 'brushlabels');
  return [one(annotation.serializeAnnotation({fast: true})), one(annotation.serializeAnnotation())];
}"""


_SMART_TOOL_IN_HAND = ".lsf-tool_smart.lsf-tool_active"


class AnnotatorPage:
    """What an annotator does and sees. ``complaints`` holds what the page itself objected to."""

    def __init__(self, page: Page, url: str, artefacts: Path) -> None:
        self.page = page
        self.complaints: list[str] = []
        self._url = url
        self._hosts = [url, "data:", "blob:"]
        self._artefacts = artefacts
        self._shots = 0
        page.set_default_timeout(PAGE_MS)
        page.context.route("**/*", self._keep_inside)
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.complaints.append(f"uncaught: {error}"))

    # -- coming and going

    def log_in(self, user: str, password: str) -> None:
        """Through the log-in page."""
        self.page.goto(f"{self._url}/user/login")
        self.page.fill("#email", user)
        self.page.fill("#password", password)
        self.page.click("button[type=submit]")
        self.page.wait_for_url(lambda url: "/user/" not in url, wait_until="commit")

    def sign_up(self, invitation: str, user: str, password: str) -> None:
        """As a new annotator who was sent this address."""
        self.page.goto(invitation)
        self.page.fill("#email", user)
        self.page.fill("#password", password)
        self.page.click("button[type=submit]")
        self.page.wait_for_url(lambda url: "/user/" not in url, wait_until="commit")

    def open(
        self,
        project: int,
        task: int,
        *,
        auto_annotation: bool = True,
        auto_accept: bool = False,
        click_tool: bool = True,
    ) -> None:
        """Open a task, auto-annotation on, the click tool in hand."""
        self.page.goto(f"{self._url}/projects/{project}/data?task={task}")
        self.page.wait_for_selector(".konvajs-content canvas")
        self.page.wait_for_function(
            "id => Htx.task && String(Htx.task.id) === id && Htx.annotationStore.selected"
            " && Htx.annotationStore.selected.objects.some(o => o.type === 'image'"
            " && o.stageWidth > 1 && o.imageIsLoaded !== false)",
            arg=str(task),
        )
        self.page.wait_for_load_state("networkidle")
        self.auto_annotation(on=auto_annotation)
        if auto_annotation:
            self._switch("autoAcceptSuggestions", "bottombar-auto-accept-toggle", auto_accept)
        if click_tool:
            self.take_click_tool()

    @contextmanager
    def slow_answers(self, seconds: float) -> Iterator[None]:
        """Hold every request for a prediction back for a while."""

        def hold(route: Route) -> None:
            self.page.wait_for_timeout(seconds * 1000)
            route.continue_()

        self.page.route(_ANSWERS, hold)
        yield
        self.page.unroute(_ANSWERS)

    def let_in(self, address: str) -> None:
        """Let the browser ask this host as well."""
        self._hosts.append(address)

    # -- what an annotator does

    def auto_annotation(self, *, on: bool) -> None:
        """The switch below the picture."""
        self._switch("autoAnnotation", "bottombar-auto-annotation-toggle", on)

    def take_click_tool(self) -> None:
        """By its hotkey."""
        self.page.keyboard.press("k")
        self.page.wait_for_selector(_SMART_TOOL_IN_HAND)

    @property
    def tool(self) -> str:
        """The tool in hand, as Label Studio names it; '' if none is."""
        return str(self.page.evaluate(_TOOL))

    def click(
        self, x: float, y: float, label: str, *, keys: Sequence[Key] = (), wait: bool = True
    ) -> None:
        """Press the label's hotkey and click at a place; returns when the answer is shown.

        Args:
            x: percent of the picture's width.
            y: percent of the picture's height.
            label: hotkey of the label.
            keys: held down meanwhile: Alt removes a part, Control clicks through an accepted mask.
            wait: whether to wait for the answer.
        """
        self.page.keyboard.press(label)
        if not wait:
            self._press_at(x, y, keys)
            return
        with self.page.expect_response(_is_answer, timeout=ANSWER_MS):
            self._press_at(x, y, keys)
        self.settled()

    def say(self, phrase: str) -> None:
        """Type a phrase and press Enter, in place of the one before it if there was one."""
        field = self.page.locator("input[name=phrase]")
        if field.count() == 0:
            own = self.page.locator("[data-testid=textarea-control]").filter(
                has=self.page.locator("[name^='phrase:']")
            )
            own.locator("[data-testid=htx-textbox-edit-button]").click(force=True)
            field = own.locator("[data-testid=htx-textbox-input]")
        with self.page.expect_response(_is_answer, timeout=ANSWER_MS):
            field.fill(phrase)
            field.press("Enter")
        self.settled()
        self.page.evaluate("() => document.activeElement?.blur()")

    def draw_box(self, x1: float, y1: float, x2: float, y2: float, label: str) -> None:
        """Take the box tool by its hotkey, press the label's, and drag from one corner to the
        other, in percent; returns when the answer is shown."""
        self.page.keyboard.press("r")
        self.page.wait_for_timeout(300)
        self.page.keyboard.press(label)
        left, top, width, height = self.box()
        with self.page.expect_response(_is_answer, timeout=ANSWER_MS):
            self.page.mouse.move(left + width * x1 / 100, top + height * y1 / 100)
            self.page.mouse.down()
            self.page.mouse.move(left + width * x2 / 100, top + height * y2 / 100, steps=8)
            self.page.mouse.up()
        self.settled()

    def stroke(self, region: str, kind: Literal["add", "eraser"], points: Sequence[Any]) -> None:
        """Paint or erase along a line of places in percent."""
        self.page.evaluate(_STROKE, [region, kind, [list(point) for point in points], 12])
        self.page.wait_for_timeout(200)

    def serialized(self, region: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """A region as a draft keeps it, and as it is submitted."""
        draft, submitted = self.page.evaluate(_SERIALIZED, region)
        return draft, submitted

    def draft_saved(self) -> None:
        """Save the draft now, and wait until the backend's clock is well past it."""
        self.page.evaluate("() => Htx.annotationStore.selected.saveDraftImmediately()")
        self.page.wait_for_load_state("networkidle")
        self.page.wait_for_timeout(6_000)

    def accept(self) -> None:
        """Take the suggestion over."""
        self.page.click("[data-testid=bottombar-accept-suggestions-button]")
        self.page.wait_for_function("() => Htx.annotationStore.selected.suggestions.size === 0")

    def reject(self) -> None:
        """Throw the suggestion away."""
        self.page.click("[data-testid=bottombar-reject-suggestions-button]")
        self.page.wait_for_function("() => Htx.annotationStore.selected.suggestions.size === 0")

    def delete(self, region: str) -> None:
        """Delete an accepted region: tells nobody."""
        self.page.evaluate(_DELETE, region)
        self.page.wait_for_timeout(200)

    def undo(self) -> None:
        """Ctrl+Z: tells nobody."""
        self.page.keyboard.press("Control+z")
        self.page.wait_for_timeout(400)

    def submit(self) -> None:
        """Submit, or update what was submitted before; returns when Label Studio has stored it."""
        button = "[data-testid=bottombar-submit-button], [data-testid=bottombar-update-button]"
        with self.page.expect_response(
            lambda answer: (
                "/annotations" in answer.url and answer.request.method in ("POST", "PATCH")
            )
        ) as stored:
            self.page.locator(button).first.click()
        assert stored.value.ok, stored.value.status
        self.page.wait_for_load_state("networkidle")

    def settled(self) -> None:
        """Wait until no request is under way and what came is drawn."""
        self.page.wait_for_function("() => !document.querySelector('.lsf-requesting')")
        self.page.wait_for_timeout(400)

    # -- what an annotator sees

    @property
    def status(self) -> str:
        """The status line as it is readable on the page; '' where it is hidden or empty."""
        line = self.page.locator(".pc-status [data-testid=htx-textbox-content]")
        return line.first.inner_text().strip() if line.count() and line.first.is_visible() else ""

    @property
    def banner(self) -> str:
        """All that is readable in the banner."""
        return self.page.locator(".pc-bar").inner_text().strip()

    def regions(self) -> list[Region]:
        """The masks on the page, accepted ones first."""
        accepted, suggested = self.page.evaluate(_REGIONS)
        return [
            *(region_of(item, suggested=False) for item in accepted if is_mask(item)),
            *(region_of(item, suggested=True) for item in suggested if is_mask(item)),
        ]

    def only(self) -> Region:
        """The one mask on the page."""
        regions = self.regions()
        assert len(regions) == 1, [(region.id, region.label) for region in regions]
        return regions[0]

    def outlines(self) -> list[dict[str, Any]]:
        """The polygons on the page as Label Studio writes them, accepted ones first."""
        accepted, suggested = self.page.evaluate(_REGIONS)
        return [item for item in [*accepted, *suggested] if item["type"] == "polygonlabels"]

    def clicks_on_page(self) -> int:
        """Key points on the canvas."""
        accepted, _ = self.page.evaluate(_REGIONS)
        return sum(item["type"] == "keypointlabels" and "x" in item["value"] for item in accepted)

    def painted(self, width: int, height: int) -> Mask:
        """The pixels of the picture that are coloured on the screen."""
        drawn: str = self.page.evaluate(_PAINTED, [width, height, self.page.evaluate(_STAGE)])
        mask: Mask = np.frombuffer(drawn.encode(), np.uint8).reshape(height, width) == ord("1")
        return mask

    def has_draft(self) -> bool:
        """Whether Label Studio has saved what is on the page."""
        return bool(self.page.evaluate("() => Htx.annotationStore.selected.draftId > 0"))

    def count(self, selector: str) -> int:
        """How many such elements the page has."""
        return self.page.locator(selector).count()

    def bounds(self, selector: str, which: int = 0) -> tuple[float, float, float, float]:
        """Where an element lies in the window: left, top, width, height."""
        box = self.page.locator(selector).nth(which).bounding_box()
        assert box is not None, f"{selector} is on the page"
        return box["x"], box["y"], box["width"], box["height"]

    def fits(self, selector: str) -> bool:
        """Whether an element shows all that is in it."""
        question = "e => e.scrollHeight <= e.clientHeight + 1 && e.scrollWidth <= e.clientWidth + 1"
        return bool(self.page.locator(selector).first.evaluate(question))

    def box(self) -> tuple[float, float, float, float]:
        """Where the picture lies in the window: left, top, width, height."""
        x, y, _, _ = self.bounds(".konvajs-content canvas")
        left, top, width, height = self.page.evaluate(_STAGE)
        return x + left, y + top, width, height

    def picture(self, name: str) -> None:
        """Keep a screenshot under tests/artefacts."""
        self._shots += 1
        self.page.screenshot(path=self._artefacts / f"{self._shots:02d}_{name}.png")

    # -- inside

    def _press_at(self, x: float, y: float, keys: Sequence[Key]) -> None:
        left, top, width, height = self.box()
        for key in keys:
            self.page.keyboard.down(key)
        self.page.mouse.click(left + width * x / 100, top + height * y / 100)
        for key in reversed(keys):
            self.page.keyboard.up(key)

    def _switch(self, state: str, toggle: str, on: bool) -> None:
        # Both are remembered by the browser, so they are read before they are toggled.
        if self.page.evaluate(f"() => Boolean(Htx.{state})") == on:
            return
        switch = self.page.locator(f"[data-testid={toggle}]")
        switch.wait_for(state="attached")
        label = switch.locator("xpath=ancestor-or-self::label|..").first
        for seconds in (5, 5, 60):
            # While the page still lays itself out, a click may land beside what has just moved.
            label.click(force=True)
            try:
                self.page.wait_for_function(
                    f"on => Boolean(Htx.{state}) === on", arg=on, timeout=seconds * 1000
                )
                break
            except TooLateError:
                if seconds > 5:
                    raise
        # Hotkeys are swallowed while a toggle has the focus.
        self.page.evaluate("() => document.activeElement?.blur()")

    def _keep_inside(self, route: Route) -> None:
        """Nothing but Label Studio is asked: no test may lean on the internet."""
        if route.request.url.startswith(tuple(self._hosts)):
            route.continue_()
        else:
            route.abort()

    def _hear(self, message: ConsoleMessage) -> None:
        # What was blocked above, and Label Studio's own missing icons.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.complaints.append(message.text)


def _is_answer(response: Any) -> bool:
    return "interactive-annotating" in response.url
