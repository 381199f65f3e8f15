"""A labeling config that cannot work, or that is made to do harm, is refused with a sentence."""

import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.errors import LabelConfigError
from backend.interaction.label_words import labels_named
from backend.label_studio import config as label_config
from backend.label_studio.config import parse_config, status_control
from backend.label_studio.controls import LabelConfig
from tests.backend.label_studio.test_config import BRUSH, IMAGE, POINTS, STATUS, parse


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ("", "empty"),
        ("   ", "empty"),
        ("<View>", "not valid XML"),
        ("not xml", "not valid XML"),
        ("<View></View>", "no <Image>"),
        (f"<View>{BRUSH}</View>", "no <Image>"),
        (f"<View>{IMAGE}</View>", "No <BrushLabels>"),
        (f"<View>{IMAGE}{POINTS}</View>", "No <BrushLabels>"),
        (f'<View>{IMAGE}<BrushLabels name="b" toName="image"/></View>', "No <BrushLabels>"),
        (f'<View><Image name="other" value="$a"/>{BRUSH}</View>', "points to 'image'"),
        (f'<View><Image name="image"/>{BRUSH}</View>', "No <BrushLabels>"),
        (f'<View><Image name="image" valueList="$a"/>{BRUSH}</View>', "valueList"),
        (f'<View><Image name="image" value="$a" valueList="$b"/>{BRUSH}</View>', "valueList"),
        (f'<View>{IMAGE}<BrushLabels name="b" toName="image" value="$l"/></View>', "task's data"),
        (f"<View>{IMAGE}{POINTS}</View>", "nowhere to go"),
        (f"<View>&x;{IMAGE}{BRUSH}</View>", "not valid XML"),
        ("<View>" * 300 + "</View>" * 300, "nested deeper"),
        ("<View>" + " " * 1_000_001 + "</View>", "longer than"),
    ],
)
def test_a_config_that_cannot_work_is_refused_with_a_sentence(config, says):
    with pytest.raises(LabelConfigError, match=says):
        parse_config(config)


@pytest.mark.parametrize(
    "doctype",
    [
        '<!DOCTYPE v [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>',
        '<!DOCTYPE v SYSTEM "file:///etc/passwd">',
        '<!DOCTYPE v [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
        "<!DOCTYPE v>",
    ],
)
def test_document_types_and_entities_are_refused(doctype):
    with pytest.raises(LabelConfigError, match="document type"):
        parse_config(f'{doctype}<View name="&b;">{IMAGE}{BRUSH}</View>')


@given(st.text(alphabet='<>/&;"= abViewImgeTolN\n', max_size=200))
def test_no_text_is_a_crash(xml):
    with suppress(LabelConfigError):
        parse_config(xml)


@pytest.mark.parametrize(
    "inside",
    [
        f'<Repeater on="$a">{IMAGE}<Repeater on="$b">{BRUSH}</Repeater></Repeater>',
        f'<Repeater on="all">{IMAGE}{BRUSH}</Repeater>',
    ],
)
def test_a_repeater_that_cannot_be_read_is_refused(inside):
    with pytest.raises(LabelConfigError, match="Repeater"):
        parse(inside)


def test_what_links_many_controls_with_many_images_is_refused() -> None:
    images = "".join(f'<Image name="i{n}" value="$image"/>' for n in range(400))
    targets = ",".join(f"i{n}" for n in range(400))
    labels = "".join(f'<Label value="l{n}"/>' for n in range(1_000))

    with pytest.raises(LabelConfigError, match="links too many"):
        parse(f'{images}<BrushLabels name="b" toName="{targets}">{labels}</BrushLabels>')


@pytest.mark.parametrize("tool", ["KeyPoint", "Rectangle", "Brush"])
def test_many_tools_that_share_many_labels_are_refused(tool: str) -> None:
    # given: reading each label for each tool would take minutes
    labels = "".join(f'<Label value="l{n}"/>' for n in range(1_000))
    tools = "".join(f'<{tool} name="t{n}" toName="image"/>' for n in range(100))

    with pytest.raises(LabelConfigError, match="links too many"):
        parse(f'{IMAGE}<View><Labels name="l" toName="image">{labels}</Labels></View>{tools}')


def test_of_a_long_config_only_the_status_line_and_the_images_are_read() -> None:
    status = STATUS.replace("/>", "></TextArea>")
    labels = "<Label>" * 9_000  # never closed: no parser takes the whole

    assert status_control(f"<View>{IMAGE}{labels}{status}</View>") == ("status", "image")


def test_the_status_line_of_many_images_is_found_at_once() -> None:
    images = "".join(f'<Image name="i{n}" value="$image"/>' for n in range(90_000))
    started = time.process_time()

    assert status_control(f"<View>{STATUS}{IMAGE}{images}</View>") == ("status", "image")
    assert time.process_time() - started < 0.2


@pytest.mark.parametrize(
    "repeated",
    [
        pytest.param('<Repeater on="$a"><Label value="x"/></Repeater>' * 1_000, id="tags"),
        pytest.param(
            f'<Repeater on="$a" indexFlag="x"><Label value="{"x" * 300_000}"/></Repeater>',
            id="characters",
        ),
    ],
)
def test_a_repeater_makes_no_more_than_a_page_can_show(repeated: str) -> None:
    config = parse(f'<Repeater on="$b">{IMAGE}{BRUSH}</Repeater>{repeated}')

    data = {"a": [1] * 200, "b": [1]}
    with pytest.raises(LabelConfigError, match="more of the task's data"):
        config.of(data)
    # and what is saved on the task is still read
    assert config.of_saved(data) is config


def test_a_refused_config_may_still_have_a_status_line():
    points = f"<View>{IMAGE}{POINTS}{STATUS}</View>"
    assert status_control(points) == ("status", "image")
    assert status_control(f"<View>{IMAGE}{POINTS}</View>") == ("", "")
    assert status_control("<View") == ("", "")


def _config_of(labels: int, *, same: bool) -> str:
    """A config whose key point labels are those of the brush, or none of them."""
    brushes = "".join(f'<Label value="Class {n}" background="#ffffff"/>' for n in range(labels))
    other = "Class" if same else "Point"
    points = "".join(f'<Label value="{other} {n}" alias="p{n}"/>' for n in range(labels + 1 - same))
    return (
        '<View><Image name="image" value="$image"/>'
        f'<BrushLabels name="brush" toName="image">{brushes}</BrushLabels>'
        f'<KeyPointLabels name="kp" toName="image" smart="true">{points}</KeyPointLabels></View>'
    )


@pytest.mark.timed
def test_many_tools_are_matched_with_thousands_of_labels_in_linear_time() -> None:
    labels = "".join(f'<Label value="l{n}"/>' for n in range(5_000))
    tool = '<KeyPointLabels name="t" toName="image"><Label value="l9"/></KeyPointLabels>'
    started = time.perf_counter()
    parse(f'{IMAGE}<BrushLabels name="b" toName="image">{labels}</BrushLabels>{tool * 400}')

    assert time.perf_counter() - started < 10


@pytest.mark.timed
@pytest.mark.parametrize("same", [True, False])
def test_thousands_of_labels_are_matched_in_linear_time(same: bool) -> None:
    # given: when each was compared with each, this took minutes and held up every click
    xml = _config_of(4_000, same=same)
    started = time.perf_counter()
    config = parse_config(xml)
    (image,) = config.images
    named = labels_named("the class 3999 on the left", image.labels)
    for number in range(4_000):
        assert image.brushes[0].label(f"Class {number}") is not None

    assert time.perf_counter() - started < 15
    assert len(config.warnings) <= 25
    assert [label.value for _, label in named][:1] == ["Class 3999"]


@pytest.mark.parametrize(
    "xml",
    [
        _config_of(7_000, same=True),
        '<View><Image name="image" value="$image"/>'
        + '<BrushLabels name="brush" toName="image"><Label value="a"/></BrushLabels>' * 501
        + "</View>",
        f'<View><Image name="image" value="${"x" * 500_000}"/></View>',
    ],
    ids=["labels", "controls", "characters"],
)
def test_a_config_beyond_the_limits_is_refused(xml: str) -> None:
    with pytest.raises(LabelConfigError, match=r"more than|longer than"):
        parse_config(xml)


def test_a_config_that_comes_many_times_at_once_is_parsed_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # given
    unknown, known = _config_of(600, same=True), parse_config(_config_of(10, same=True))
    parsed, begun, go_on = [], threading.Event(), threading.Event()
    parse_now = label_config._parsed

    def slowly(xml: str, *more: object) -> LabelConfig:
        parsed.append(xml)
        begun.set()
        assert go_on.wait(20)
        return parse_now(xml, *more)

    monkeypatch.setattr(label_config, "_parsed", slowly)
    # when
    with ThreadPoolExecutor(8) as threads:
        answers = [threads.submit(parse_config, unknown) for _ in range(8)]
        assert begun.wait(20)
        meanwhile = parse_config(_config_of(10, same=True))
        with monkeypatch.context() as patch:
            patch.setattr(label_config, "_parsed", parse_now)
            short = parse_config(_config_of(11, same=True))
        go_on.set()
    # then
    assert parsed == [unknown]
    assert len({id(answer.result()) for answer in answers}) == 1
    assert meanwhile is known, "a known one does not wait"
    assert len(short.images[0].labels) == 11, "nor does a short one"


def test_parsed_configs_count_with_the_memory_that_they_take() -> None:
    linked = ",".join(f"i{n}" for n in range(10))
    images = "".join(f'<Image name="i{n}" value="$i{n}"/>' for n in range(10))
    labels = "".join(f'<Label value="Label {n}"/>' for n in range(500))
    brush = f'<BrushLabels name="b" toName="{linked}">{labels}</BrushLabels>'
    for xml in (_config_of(1_000, same=True), f"<View>{images}{brush}</View>"):
        tracemalloc.start()
        config = parse_config(xml)
        taken, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()

        assert taken / 2 < config.size < taken * 4
