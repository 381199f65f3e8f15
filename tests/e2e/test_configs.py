"""Each shipped labeling config in the real page: laid out well, answered, without a complaint."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.annotator_page import AnnotatorPage
from tests.e2e.photographs import ASTRONAUT, CAT, Photograph, portrait
from tests.e2e.regions import at, iou
from tests.e2e.servers import CONFIGS
from tests.e2e.studio import Studio

PERSON, CAT_KEY, DOG, COAT = "1", "2", "3", "2"
READY = sorted(path.stem for path in CONFIGS.glob("*.xml"))
WINDOWS = [(1280, 800), (1600, 900)]


@pytest.fixture
def portrait_picture(tmp_path: Path) -> Photograph:
    """A portrait that is stored lying on its side."""
    return portrait(tmp_path)


@pytest.mark.parametrize("window", WINDOWS, ids=["1280", "1600"])
@pytest.mark.parametrize("config", READY)
def test_the_picture_and_every_control_are_in_view(
    studio: Studio,
    new_page: Callable[..., AnnotatorPage],
    logged_in: Path,
    portrait_picture: Photograph,
    config: str,
    window: tuple[int, int],
) -> None:
    # given a portrait, which is taller than the window has room for at its full width
    page = new_page(window=window, cookies=logged_in)
    task = studio.task(portrait_picture, config)
    page.open(studio.project(config), task, click_tool=False)
    page.picture("opened")
    # then the whole picture lies above the bottom bar, below the banner
    left, top, width, height = page.box()
    banner, bar = page.bounds(".pc-bar"), page.bounds(".lsf-bottombar")
    assert top >= banner[1] + banner[3]
    assert top + height <= bar[1] + 1
    assert left + width <= window[0]
    assert height > 300
    # and so does every row of labels
    for row in range(page.count(".pc-row")):
        _, upper, _, tall = page.bounds(".pc-row", row)
        assert upper + tall <= bar[1] + 1
    # and the hint in the banner is there in full
    assert page.fits(".pc-bar")
    assert page.banner


def test_the_banner_says_what_is_missing(studio: Studio, page: AnnotatorPage) -> None:
    # given a task just opened, auto-annotation off, another tool in hand
    page.open(studio.project(), studio.task(CAT), auto_annotation=False, click_tool=False)
    assert page.banner.startswith("Switch on Auto-Annotation")
    # when it is switched on
    page.auto_annotation(on=True)
    # then the banner says how to click, and that the click tool is to be taken
    assert page.banner.startswith("Press K and a label’s key")
    assert "K takes the click tool" in page.banner
    # and with the tool in hand that part is gone
    page.take_click_tool()
    assert "K takes the click tool" not in page.banner
    page.picture("ready")
    # and while the model works the banner says so
    with page.slow_answers(1.5):
        page.click(55, 45, CAT_KEY, wait=False)
        page.page.wait_for_timeout(500)
        assert page.banner == "The model is working …"
        page.picture("working")
        page.settled()
    # and then the status line takes the place of the hint
    assert page.status.startswith("1 click → Cat")
    assert page.banner == page.status


def test_the_hints_are_dark_on_yellow_in_the_dark_theme(
    studio: Studio, page: AnnotatorPage
) -> None:
    page.open(studio.project(), studio.task(CAT))
    page.page.evaluate("document.documentElement.setAttribute('data-color-scheme', 'dark')")
    page.picture("dark")

    colours = page.page.evaluate(
        "[...document.querySelectorAll('.pc-bar h4, .pc-keep h4')]"
        ".map(heading => getComputedStyle(heading).color)"
    )

    assert set(colours) == {"rgb(61, 47, 0)"}


def test_clicks_only(studio: Studio, page: AnnotatorPage) -> None:
    page.open(studio.project("clicks_only"), studio.task(CAT, "clicks_only"))
    page.click(55, 45, CAT_KEY)
    region = page.only()
    assert region.label == "Cat"
    assert at(region.mask, 55, 45)
    assert page.status.startswith("1 click → Cat")


def test_label_keys_work_again_after_m_took_the_box_tool(
    studio: Studio, page: AnnotatorPage
) -> None:
    # given a task that the page opens with the click tool in hand, where M takes the box tool
    page.open(studio.project(), studio.task(CAT))
    page.open(studio.project(), studio.task(CAT), click_tool=False)
    page.page.keyboard.press("m")
    assert page.tool == "RectangleTool"
    # when a click's label is pressed, which leaves no tool in hand
    page.page.keyboard.press(DOG)
    page.page.wait_for_timeout(300)
    assert page.tool == ""
    # then the banner names the key that takes the click tool, and clicks work
    assert "K takes the click tool" in page.banner
    page.take_click_tool()
    assert page.tool == "KeyPointTool"
    page.click(55, 45, CAT_KEY)
    assert page.only().label == "Cat"


def test_the_banner_says_that_a_selected_region_takes_the_keys(
    studio: Studio, page: AnnotatorPage
) -> None:
    # given an accepted mask
    page.open(studio.project(), studio.task(CAT))
    page.click(55, 45, CAT_KEY)
    page.accept()
    assert "Esc first" not in page.banner
    # when it is clicked, which selects it
    page.click(55, 45, CAT_KEY, wait=False)
    page.page.wait_for_timeout(500)
    # then the banner says how to go on
    assert "A region is selected: Esc first" in page.banner
    page.page.keyboard.press("Escape")
    page.page.wait_for_timeout(500)
    assert "Esc first" not in page.banner


def test_the_picture_stays_where_it_is_and_a_phrase_can_be_edited(
    studio: Studio, page: AnnotatorPage
) -> None:
    # given the config in which the brush, with its slider, is in hand from the start
    task = studio.task(CAT, "phrase_only")
    page.open(studio.project("phrase_only"), task, click_tool=False)
    top = page.box()[1]
    # when a phrase is entered, and then edited by its pencil
    page.say("the cat")
    assert page.box()[1] == top
    button = "[data-testid=htx-textbox-edit-button]"
    x, y, width, height = page.bounds(f".pc-row {button}")
    reached = page.page.evaluate(
        "([x, y]) => Boolean(document.elementFromPoint(x, y)?.closest('button'))",
        [x + width / 2, y + height / 2],
    )
    # then the mouse reaches the pencil
    assert reached
    page.say("the cat in front")
    assert page.status.startswith("'the cat in front'")
    assert page.box()[1] == top
    # and where its words were deleted, the empty field says how to go on
    page.say("")
    assert page.status == "The phrase was removed."
    field = "[data-testid=htx-textbox-content] p:empty"
    hint = page.page.locator(f".pc-row {field}").evaluate(
        "p => getComputedStyle(p, '::before').content"
    )
    assert "the pencil writes" in hint
    assert page.box()[1] == top
    page.picture("emptied")
    page.say("the cat")
    assert page.status.startswith("'the cat'")


def test_phrase_only_finds_the_label_in_the_words(studio: Studio, page: AnnotatorPage) -> None:
    task = studio.task(CAT, "phrase_only")
    page.open(studio.project("phrase_only"), task, click_tool=False)
    page.say("the cat in front")
    region = page.only()
    assert region.label == "Cat"
    assert iou(region.mask, CAT.object()) > 0.6
    assert page.status.startswith("'the cat in front' → Cat")


def test_several_labels_answer_by_alias(studio: Studio, page: AnnotatorPage) -> None:
    # given garments, whose results carry the alias
    task = studio.task(ASTRONAUT, "several_labels")
    page.open(studio.project("several_labels"), task)
    # when the suit is clicked as a coat, and submitted
    page.click(35, 75, COAT)
    assert "Coat or jacket" in page.status
    page.accept()
    page.submit()
    # then that is what is stored
    (annotation,) = studio.api.annotations(task)
    (item,) = [item for item in annotation["result"] if item["type"] == "brushlabels"]
    assert item["value"]["brushlabels"] == ["coat"]


def test_a_portrait_stored_on_its_side(
    studio: Studio, page: AnnotatorPage, portrait_picture: Photograph
) -> None:
    # given a picture whose file says "turn me"
    task = studio.task(portrait_picture)
    page.open(studio.project(), task)
    # when the woman is clicked twice, where she is seen
    page.click(40, 75, PERSON)
    page.click(50, 18, PERSON)
    # then the mask is upright too, and lies on her
    region = page.only()
    assert region.mask.shape == (512, 390)
    assert at(region.mask, 40, 75)
    assert at(region.mask, 50, 18)
    outline = portrait_picture.object()
    assert (region.mask & outline).sum() > 0.8 * region.mask.sum()
    assert iou(page.painted(390, 512), region.mask) > 0.95
