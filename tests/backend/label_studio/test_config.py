"""The labeling config decides; one that cannot work is refused with a sentence."""

from pathlib import Path

import pytest

from backend.errors import LabelConfigError
from backend.label_studio.config import parse_config
from backend.settings import Settings

PAYLOADS = Path(__file__).parents[2] / "payloads"
REFINE = Settings(refine_positive_label="Mehr", refine_negative_label="weniger")


def parse(*tags, **names):
    return parse_config(f"<View>{''.join(tags)}</View>", **names)


def tag(kind, name, *labels, image="image", more=""):
    inside = "".join(
        f'<Label value="{value}"' + (f' alias="{alias}"' if alias else "") + "/>"
        for value, _, alias in (label.partition("=") for label in labels)
    )
    smart = ' smart="true"' if kind == "KeyPointLabels" else ""
    return f'<{kind} name="{name}" toName="{image}"{smart}{more}>{inside}</{kind}>'


IMAGE = '<Image name="image" value="$image"/>'
BRUSH = tag("BrushLabels", "brush", "Cat", "Dog")
POINTS = tag("KeyPointLabels", "kp", "Cat", "Dog")
PHRASE = '<TextArea name="phrase" toName="image"/>'
AREA = '<TextArea name="{}" toName="image"/>'
STATUS = '<TextArea name="status" toName="image" editable="false" smart="false"/>'


def test_the_tried_config():
    config = parse_config((PAYLOADS / "tried_label_config.xml").read_text())
    (image,) = config.images
    assert (image.name, image.value, image.phrase, image.status) == (
        "image",
        "$image",
        "phrase",
        "status",
    )
    assert [lab.role for lab in image.clicks[0].labels] == ["object", "object", "add", "remove"]
    assert image.refines
    assert config.warnings == ()


def test_the_recorded_config_lacks_a_status_line():
    config = parse_config((PAYLOADS / "recorded_label_config.xml").read_text())
    assert config.images[0].phrase == "phrase"
    assert not config.images[0].refines
    assert len(config.warnings) == 1
    assert "status" in config.warnings[0]


def test_any_names_will_do():
    config = parse(
        '<Image name="bild" value="$foto"/>',
        '<BrushLabels name="maske" toName="bild"><Label value="Katze"/></BrushLabels>',
        tag("KeyPointLabels", "klick", "Katze", image="bild"),
        '<TextArea name="was" toName="bild"/>',
        '<TextArea name="meldung" toName="bild" editable="false" smart="false"/>',
    )
    (image,) = config.images
    assert (image.value, image.brushes[0].name, image.clicks[0].name) == (
        "$foto",
        "maske",
        "klick",
    )
    assert (image.phrase, image.status) == ("was", "meldung")
    assert config.warnings == ()


def test_aliases_are_written_and_understood():
    config = parse(
        IMAGE,
        '<BrushLabels name="brush" toName="image"><Label value="Cat" alias="c1"/></BrushLabels>',
        tag("KeyPointLabels", "kp", "Cat=k1"),
    )
    (image,) = config.images
    label = image.clicks[0].label("k1")
    assert label is image.clicks[0].label("Cat")
    assert label.brush_label.written == "c1"
    assert image.brushes[0].label("c1").value == "Cat"


@pytest.mark.parametrize(
    ("labels", "points", "sent", "written"),
    [
        ("Wheel=left Wheel=right Wheel=left Wheel", None, "left right Wheel", "left right left"),
        ("1=0 2=1 3=2", None, "0 1 2", "0 1 2"),
        ("1=0 2=1 3=2", "1 2 3", "1 2 3", "0 1 2"),
        ("Cat=Dog Dog=Cat", "Cat Dog", "Cat Dog", "Dog Cat"),
    ],
)
def test_labels_that_show_what_others_are_called_are_told_apart(labels, points, sent, written):
    (image,) = parse(
        IMAGE,
        tag("BrushLabels", "brush", *labels.split()),
        tag("KeyPointLabels", "kp", *(points or labels).split()),
    ).images

    got = [image.clicks[0].label(text).brush_label.written for text in sent.split()]
    assert got == written.split()
    for brush, label in image.labels:
        assert brush.label(label.value) == label


@pytest.mark.parametrize(
    ("points", "brush", "expected"),
    [
        ('<Label value="Dog"/>', '<Label value="Cat"/><Label value="Dog"/>', "Dog"),
        ('<Label value="d"/>', '<Label value="Cat"/><Label value="Dog" alias="d"/>', "Dog"),
        ('<Label value="x" alias="Dog"/>', '<Label value="Cat"/><Label value="Dog"/>', "Dog"),
        ('<Label value="dog"/>', '<Label value="Cat"/><Label value="Dog"/>', "Dog"),
        ('<Label value="a"/><Label value="b"/>', '<Label value="Cat"/><Label value="Dog"/>', "Cat"),
        ('<Label value="here"/><Label value="there"/>', '<Label value="Cat"/>', None),
        ('<Label value="here"/>', '<Label value="Cat"/>', None),
        ('<Label value="New"/>', '<Label value="Cat"/><Label value="Dog"/>', None),
    ],
)
def test_which_brush_label_a_key_point_label_means(points, brush, expected):
    config = parse(
        IMAGE,
        f'<BrushLabels name="brush" toName="image">{brush}</BrushLabels>',
        f'<KeyPointLabels name="kp" toName="image" smart="true">{points}</KeyPointLabels>',
    )
    label = config.images[0].clicks[0].labels[0].brush_label
    assert (label.value if label else None) == expected


def test_several_brush_controls_each_get_their_classes():
    config = parse(
        IMAGE,
        '<BrushLabels name="animals" toName="image"><Label value="Cat"/></BrushLabels>',
        '<BrushLabels name="things" toName="image"><Label value="Cup"/></BrushLabels>',
        tag("KeyPointLabels", "kp", "Cat", "Cup"),
    )
    labels = config.images[0].clicks[0].labels
    assert [label.brush for label in labels] == ["animals", "things"]
    assert [brush.name for brush, _ in config.images[0].labels] == ["animals", "things"]


def test_several_images_keep_their_controls_apart():
    config = parse(
        '<Image name="left" value="$a"/><Image name="right" value="$b"/>',
        BRUSH.replace('"image"', '"left"'),
        POINTS.replace('"image"', '"left"'),
        BRUSH.replace('"image"', '"right"').replace('"brush"', '"brush2"'),
        PHRASE.replace('"image"', '"right"'),
    )
    left, right = config.images
    assert (left.value, left.phrase, right.phrase) == ("$a", "", "phrase")
    assert config.image_of("kp").name == "left"
    assert config.image_of("phrase").name == "right"
    assert config.image_of("kp", "right") is None


def test_an_image_without_brush_is_left_out_with_a_warning():
    config = parse(IMAGE, '<Image name="other" value="$b"/>', BRUSH, POINTS, STATUS)
    assert [image.name for image in config.images] == ["image"]
    assert "'other'" in config.warnings[0]


def test_a_plain_brush_and_plain_key_points():
    config = parse(
        IMAGE,
        '<Brush name="brush" toName="image"/><KeyPoint name="kp" toName="image" smart="true"/>',
    )
    (image,) = config.images
    assert (image.brushes[0].type, image.brushes[0].labels) == ("brush", ())
    assert image.clicks[0].labels == ()


@pytest.mark.parametrize("written", ["+ Last Object", " + last object "])
def test_refine_labels_are_found_without_regard_to_case(written):
    points = tag("KeyPointLabels", "kp", written)
    assert parse(IMAGE, BRUSH, points).images[0].clicks[0].labels[0].role == "add"


@pytest.mark.parametrize(
    "tags",
    [
        tag("BrushLabels", "b", "Cat", "+ last object") + tag("KeyPointLabels", "k", "Cat"),
        '<Brush name="b" toName="image"/><KeyPoint name="k" toName="image"/>'
        + tag("Labels", "tag", "Cat", "+ last object"),
    ],
)
def test_a_refine_label_is_no_class_where_the_brush_has_it_too(tags):
    (image,) = parse(IMAGE, tags).images

    assert [label.value for _, label in image.labels] == ["Cat"]


def test_refine_labels_by_setting_and_by_alias():
    points = (
        '<KeyPointLabels name="kp" toName="image" smart="true"><Label value="mehr"/>'
        '<Label value="x" alias="weniger"/></KeyPointLabels>'
    )
    config = parse(IMAGE, BRUSH, points, **REFINE.refine_labels)
    assert [lab.role for lab in config.images[0].clicks[0].labels] == ["add", "remove"]


@pytest.mark.parametrize(
    ("areas", "phrase", "status"),
    [
        (PHRASE + STATUS, "phrase", "status"),
        ('<TextArea name="a" toName="image"/>', "a", ""),
        (AREA.format("Phrase") + AREA.format("b"), "Phrase", ""),
        ('<TextArea name="a" toName="image"/><TextArea name="b" toName="image"/>', "", ""),
        ('<TextArea name="a" toName="image" smart="false"/>', "", ""),
        ('<TextArea name="a" toName="image" perRegion="true"/>', "", ""),
        (AREA.format("a") + STATUS.replace('"status"', '"s"'), "a", "s"),
        ('<TextArea name="Status" toName="image"/>', "", "Status"),
        ('<TextArea name="a" toName="text"/>', "", ""),
        (PHRASE + '<TextArea name="status" toName="image" perRegion="true"/>', "phrase", ""),
    ],
)
def test_which_text_area_is_the_phrase_and_which_the_status(areas, phrase, status):
    (image,) = parse(IMAGE, BRUSH, POINTS, areas).images
    assert (image.phrase, image.status) == (phrase, status)


@pytest.mark.parametrize(
    ("area", "data", "phrase"),
    [
        (PHRASE, {"phrase": " red cat "}, "red cat"),
        (PHRASE, {}, ""),
        (PHRASE, {"phrase": 3}, ""),
        (PHRASE, {"phrase": ["red cat"]}, "red cat"),
        ('<TextArea name="p" toName="image" value="$words"/>', {"words": "a", "phrase": "b"}, "a"),
        ("", {"phrase": "b"}, "b"),
    ],
)
def test_the_phrase_that_a_task_brings(area, data, phrase):
    assert parse(IMAGE, BRUSH, POINTS, area).images[0].batch_phrase(data) == phrase


def test_a_declaration_a_namespace_and_other_scripts_are_fine():
    view = '<View xmlns="http://www.w3.org/1999/xhtml">'
    xml = f'<?xml version="1.0" encoding="latin-1"?>{view}{IMAGE}{BRUSH}</View>'
    assert parse_config(xml.replace("Cat", "猫")).images[0].labels[0][1].value == "猫"


@pytest.mark.parametrize(
    ("image", "brush"),
    [
        (
            '<image NAME="image" value="$image"/>',
            '<BRUSHLABELS name="b" toname="image">{}</BRUSHLABELS>',
        ),
        (IMAGE, '<brushLabels name="b">{}</brushLabels>'),
        (
            '<Image name="image">\n$image</Image><Text name="t"/>',
            '<BrushLabels name="b">{}</BrushLabels>',
        ),
    ],
)
def test_tags_are_read_as_the_page_reads_them(image, brush):
    labels = '<label Value="Cat"/><Label>Dog &amp; Fox</Label><!-- <Label value="Bird"/> -->'

    (read,) = parse(image, brush.format(labels), STATUS).images

    assert (read.name, read.value, read.status) == ("image", "$image", "status")
    assert [label.value for _, label in read.labels] == ["Cat", "Dog &amp; Fox"]


def test_of_several_images_none_is_taken_for_a_control_without_toname():
    other = '<Image name="other" value="$other"/>'
    with pytest.raises(LabelConfigError):
        parse(IMAGE, other, BRUSH.replace('toName="image"', ""))


def test_key_points_that_send_nothing_are_warned_of():
    config = parse(IMAGE, BRUSH, POINTS.replace('smart="true"', 'smart="false"'), STATUS)
    assert not config.images[0].clicks[0].smart
    assert any('smart="false"' in warning for warning in config.warnings)
    assert any("only batch" in warning for warning in config.warnings)


def test_labels_from_task_data_are_warned_of():
    dynamic = '<BrushLabels name="dyn" toName="image" value="$labels"/>'
    config = parse(IMAGE, BRUSH, dynamic, POINTS, STATUS)
    assert [brush.name for brush in config.images[0].brushes] == ["brush"]
    assert "'dyn'" in config.warnings[0]


def test_a_config_is_read_once():
    xml = f"<View>{IMAGE}{BRUSH}</View>"
    assert parse_config(xml) is parse_config(xml)


def test_a_magic_wand_takes_masks_that_no_brush_takes():
    wand = '<MagicWand name="wand" toName="image"/>'
    names = '<Labels name="tag" toName="image"><Label value="Cat"/></Labels>'
    clicks = '<KeyPoint name="dots" toName="image" smart="true"/>'
    (alone,) = parse(IMAGE, wand, names, clicks).images[0].brushes
    both = parse(IMAGE, wand, '<Brush name="mask" toName="image"/>', names).images[0].brushes

    assert (alone.type, [label.value for label in alone.labels]) == ("magicwand", ["Cat"])
    assert [taking.type for taking in both] == ["brush", "magicwand"]


def test_labels_name_the_regions_of_a_plain_brush_and_plain_key_points():
    config = parse(
        IMAGE,
        tag("Labels", "tag", "Cat", "Dog"),
        '<Brush name="mask" toName="image"/>',
        '<KeyPoint name="dots" toName="image" smart="true"/>',
    )
    (image,) = config.images
    (brush,), (points,) = image.brushes, image.clicks
    assert (brush.type, brush.labels_control) == ("brush", "tag")
    assert [label.value for label in brush.labels] == ["Cat", "Dog"]
    assert points.type == "keypoint"
    assert [label.brush_label for label in points.labels] == list(brush.labels)


def test_blanks_around_a_label_are_written_but_do_not_count():
    config = parse(IMAGE, tag("BrushLabels", "brush", " Cat ", "Dog=d "), POINTS)
    cat, dog = config.images[0].brushes[0].labels
    assert (cat.value, cat.written, dog.written) == ("Cat", " Cat ", "d ")
    assert config.images[0].brushes[0].label("  Cat") is cat
    assert config.images[0].brushes[0].label(" ") is None


@pytest.mark.parametrize(
    ("brush", "points"),
    [("Dog  big", "Dog big"), ("\uff37\uff49\uff44\uff45", "Wide"), ("caf\u00e9", "cafe\u0301")],
)
def test_labels_are_compared_in_their_normal_form(brush, points):
    config = parse(
        IMAGE, tag("BrushLabels", "brush", brush, "Cat"), tag("KeyPointLabels", "kp", points)
    )
    image = config.images[0]
    assert image.clicks[0].labels[0].brush_label.value == brush
    assert image.brushes[0].label(points).value == brush
    assert not any("has no brush label" in warning for warning in config.warnings)


REPEATER = """<View><Repeater on="$doc" indexFlag="{{idx}}">
  <Image name="page_{{idx}}" value="$doc[{{idx}}].page"/>
  <BrushLabels name="mask_{{idx}}" toName="page_{{idx}}"><Label value="Cat"/></BrushLabels>
  <KeyPointLabels name="dots_{{idx}}" toName="page_{{idx}}"><Label value="Cat"/></KeyPointLabels>
</Repeater></View>"""


def test_a_repeater_gives_each_entry_of_the_data_its_controls():
    # given a config that repeats an image for each page of a document
    config = parse_config(REPEATER)
    # when it is read for a task with two pages
    data = {"doc": [{"page": "/a.png"}, {"page": "/b.png"}]}
    images = config.of(data).images
    # then each page has its picture and controls
    assert [image.address(data) for image in images] == ["/a.png", "/b.png"]
    assert config.of(data).image_of("dots_1", "page_1") is images[1]
    # and without such data there is still a config to check
    assert [image.name for image in config.images] == ["page_0"]
    assert config.of({"doc": "none"}) is config


def test_a_long_document_has_the_controls_of_all_its_pages():
    words = '<TextArea name="words_{{idx}}" toName="page_{{idx}}"/></Repeater>'
    config = parse_config(REPEATER.replace("</Repeater>", words))

    images = config.of({"doc": [{"page": f"/{n}.png"} for n in range(200)]}).images

    assert images[-1].phrase == "words_199"


@pytest.mark.parametrize(
    ("more", "smart"),
    [("", True), (' smart="false"', False), (' smart="false" smartOnly="true"', True)],
)
def test_key_points_are_smart_unless_the_config_says_otherwise(more, smart):
    points = f'<KeyPointLabels name="kp" toName="image"{more}><Label value="Cat"/></KeyPointLabels>'
    assert parse(IMAGE, BRUSH, points).images[0].clicks[0].smart is smart
