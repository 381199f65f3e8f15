"""What an annotator draws: strokes of brush and eraser, boxes, and outlines as answers."""

from typing import Any

import numpy as np

from backend.label_studio.regions import Region, parse_result
from tests.e2e.annotator_page import AnnotatorPage
from tests.e2e.photographs import CAT
from tests.e2e.regions import at, decode, iou
from tests.e2e.studio import Studio

CAT_KEY, CAT_BOX, ADD = "2", "Alt+2", "a"
CONFIG = """<View>
  <View className="pc-status">
    <TextArea name="status" toName="image" editable="false" smart="false"/>
  </View>
  <KeyPointLabels name="click" toName="image" smart="true" smartOnly="true">
    <Label value="Cat" hotkey="2"/>
    <Label value="+ last object" hotkey="a"/>
    <Label value="- last object" hotkey="s"/>
  </KeyPointLabels>
  <Image name="image" value="$image" crossOrigin="anonymous"/>
  {}
</View>"""
POLYGONS = CONFIG.format(
    '<PolygonLabels name="outline" toName="image" smart="false">'
    '<Label value="Cat"/></PolygonLabels>'
)
BITMASKS = CONFIG.format(
    '<BitmaskLabels name="mask" toName="image" smart="false">'
    '<Label value="Cat" hotkey="9"/></BitmaskLabels>'
)
MAGIC_WAND = CONFIG.format(
    '<Labels name="label" toName="image"><Label value="Cat" hotkey="9"/></Labels>'
    '<MagicWand name="wand" toName="image"/>'
)
_TAKE_TOOL = """name => {
  const image = Htx.annotationStore.selected.objects.find(object => object.type === 'image');
  const tools = image.getToolsManager();
  tools.selectTool(tools.allTools().find(tool => tool.toolName === name && !tool.dynamic), true);
}"""
_SELECT = """id => {
  const annotation = Htx.annotationStore.selected;
  annotation.selectArea(annotation.regions.find(region => region.cleanId === id));
}"""
_ALL_ITEMS = """() => {
  const annotation = Htx.annotationStore.selected;
  return [annotation.serializeAnnotation({fast: true}), annotation.serializeAnnotation()];
}"""


def masks(items: list[dict[str, Any]]) -> list[Region]:
    """The regions with a mask."""
    return [region for region in parse_result(items) if region.has_mask]


def test_strokes_are_drawn_as_the_page_draws_them(studio: Studio, page: AnnotatorPage) -> None:
    # given an accepted mask of the cat
    task = studio.task(CAT)
    page.open(studio.project(), task)
    page.click(55, 45, CAT_KEY)
    page.accept()
    page.page.wait_for_timeout(6_000)
    region = page.only()
    # when a part is erased and another one is painted
    page.stroke(region.id, "eraser", [(35, 50), (75, 55), (60, 80)])
    page.stroke(region.id, "add", [(5, 5), (20, 12)])
    # then the strokes over the mask are the pixels that the page burns in on submit
    draft, burnt = page.serialized(region.id)
    assert draft["value"]["touches"]
    (read,) = parse_result([draft])
    ours, theirs = read.mask(), decode(burnt)
    assert not np.array_equal(ours, region.mask)
    differing = np.count_nonzero(ours ^ theirs)
    print("pixels that differ:", differing, "of", theirs.sum())
    assert differing <= 0.002 * theirs.sum()
    # when the draft is saved and the object is refined
    page.draft_saved()
    page.click(30, 85, ADD, keys=("Control",))
    # then what was erased stays out, what was painted stays in
    after = page.regions()[-1].mask
    assert not at(after, 55, 52)
    assert at(after, 12, 8)
    kinds = [event["kind"] for event in studio.backend.events(task)]
    assert kinds == ["positive_click", "accept", "edit", "positive_click"]


def test_what_the_magic_wand_drew_is_the_mask_before(studio: Studio, page: AnnotatorPage) -> None:
    # given a region that the magic wand drew, in a draft that only has its image
    project = studio.api.project("wand", MAGIC_WAND, studio.backend)
    task = studio.api.upload(project, CAT.path)
    page.open(project, task, click_tool=False)
    page.page.keyboard.press("9")
    page.page.evaluate(_TAKE_TOOL, "MagicWandTool")
    left, top, width, height = page.box()
    page.page.mouse.move(left + width * 0.5, top + height * 0.4)
    page.page.mouse.down()
    page.page.mouse.move(left + width * 0.7, top + height * 0.5, steps=6)
    page.page.mouse.up()
    page.page.wait_for_timeout(1_500)
    draft, submitted = page.page.evaluate(_ALL_ITEMS)
    (region,) = masks(draft)
    assert (region.rle, region.label) == (None, "Cat")
    # then it is read as the page submits it
    wanded = region.mask()
    (burnt,) = masks(submitted)
    assert wanded.any()
    assert iou(wanded, burnt.mask()) > 0.999
    # when the draft is saved and a place beside it is added
    page.draft_saved()
    page.page.keyboard.press("Escape")
    page.take_click_tool()
    page.click(55, 45, ADD, keys=("Control",))
    page.accept()
    # then it is the same region, with all that the wand drew
    (after,) = masks(page.page.evaluate(_ALL_ITEMS)[1])
    assert (after.id, after.label) == (region.id, "Cat")
    assert not (wanded & ~after.mask()).any()
    # and it is stored
    page.submit()
    (annotation,) = studio.api.annotations(task)
    (stored,) = masks(annotation["result"])
    assert iou(stored.mask(), after.mask()) > 0.99


def test_a_bitmask_is_answered_edited_refined_and_stored(
    studio: Studio, page: AnnotatorPage
) -> None:
    # given a config with bitmasks, and a click on the cat
    project = studio.api.project("bitmasks", BITMASKS, studio.backend)
    task = studio.api.upload(project, CAT.path)
    page.open(project, task, click_tool=False)
    page.page.keyboard.press("m")
    page.click(55, 45, CAT_KEY)
    assert "1 click → Cat" in page.status
    # when it is accepted
    page.accept()
    page.page.wait_for_timeout(1_000)
    # then the page shows the object
    (first,) = masks(page.page.evaluate(_ALL_ITEMS)[1])
    assert (first.type, first.label) == ("bitmasklabels", "Cat")
    assert iou(first.mask(), CAT.object()) > 0.5
    painted = page.painted(CAT.width, CAT.height)
    assert iou(painted, first.mask()) > 0.9
    # when a part of it is painted by hand, and the object is refined
    page.page.keyboard.press("9")
    left, top, width, height = page.box()
    page.page.evaluate(_SELECT, first.id)
    page.page.evaluate(_TAKE_TOOL, "BitmaskTool")
    page.page.mouse.move(left + width * 0.03, top + height * 0.05)
    page.page.mouse.down()
    page.page.mouse.move(left + width * 0.12, top + height * 0.05, steps=5)
    page.page.mouse.up()
    page.page.wait_for_timeout(500)
    (edited,) = masks(page.page.evaluate(_ALL_ITEMS)[1])
    added = edited.mask() & ~first.mask()
    assert added.sum() > 20
    page.draft_saved()
    page.page.evaluate("() => Htx.annotationStore.selected.unselectAll()")
    page.page.keyboard.press("m")
    page.click(95, 50, ADD)
    page.accept()
    # then it is the same region, with what was painted
    (after,) = masks(page.page.evaluate(_ALL_ITEMS)[1])
    assert after.id == first.id
    assert not (added & ~after.mask()).any()
    # and it is stored
    page.submit()
    (annotation,) = studio.api.annotations(task)
    (stored,) = masks(annotation["result"])
    assert iou(stored.mask(), after.mask()) > 0.99


def test_a_box_makes_a_mask(studio: Studio, page: AnnotatorPage) -> None:
    # given a photograph of a cat
    task = studio.task(CAT)
    page.open(studio.project(), task)
    # when a box is drawn around it
    page.draw_box(5, 5, 95, 95, CAT_BOX)
    # then there is one mask of that label in it
    region = page.only()
    assert region.label == "Cat"
    assert iou(region.mask, CAT.object()) > 0.5
    assert page.status.startswith("1 box → Cat, ")
    # and the log has one interaction
    assert [event["kind"] for event in studio.backend.events(task)] == ["box"]


def test_a_click_in_a_box_refines_its_object(studio: Studio, page: AnnotatorPage) -> None:
    # given the mask of a box
    task = studio.task(CAT)
    page.open(studio.project(), task)
    page.draw_box(5, 5, 95, 95, CAT_BOX)
    boxed = page.only()
    # when a place in it is clicked with the same label (Ctrl clicks through the box)
    page.page.keyboard.press("Escape")
    page.take_click_tool()
    page.click(25, 80, CAT_KEY, keys=("Control",))
    # then both make one mask, under the same id
    refined = page.only()
    assert refined.id == boxed.id
    assert at(refined.mask, 25, 80)
    assert page.status.startswith("1 box, 1 click → Cat, ")
    # and it is kept when it is accepted and submitted
    page.accept()
    page.submit()
    (annotation,) = studio.api.annotations(task)
    (item,) = [item for item in annotation["result"] if item["type"] == "brushlabels"]
    assert iou(decode(item), refined.mask) >= 0.99


def test_an_outline_is_answered_refined_and_stored(studio: Studio, page: AnnotatorPage) -> None:
    # given a config with polygons, and a click on the cat
    project = studio.api.project("polygons", POLYGONS, studio.backend)
    task = studio.api.upload(project, CAT.path)
    page.open(project, task, click_tool=False)
    page.page.keyboard.press("m")
    page.click(55, 45, CAT_KEY)
    # then its outline is suggested
    first = page.outlines()[0]
    assert first["value"]["polygonlabels"] == ["Cat"]
    assert len(first["value"]["points"]) > 3
    assert "1 click → Cat" in page.status
    # when it is accepted and refined
    page.accept()
    page.click(60, 75, "s", keys=("Control",))
    page.accept()
    # then the outline of that id is another one than before
    (second,) = (outline for outline in page.outlines() if outline["id"] == first["id"])
    assert second["value"]["points"] != first["value"]["points"]
    # and that one is stored
    page.submit()
    (annotation,) = studio.api.annotations(task)
    (stored,) = [item for item in annotation["result"] if item["id"] == first["id"]]
    assert stored["value"]["points"] == second["value"]["points"]
