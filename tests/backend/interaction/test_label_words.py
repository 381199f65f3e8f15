"""Which labels a phrase names, in the scripts and spellings that people type."""

import time
import tracemalloc
from collections.abc import Iterable

import pytest

from backend.interaction.label_words import asks_for_all, kinds_named, labels_named
from backend.label_studio.controls import BrushControl, Label
from model.spelling import about_one


def labels(*names: str) -> tuple[tuple[BrushControl, Label], ...]:
    brush = BrushControl("brush", tuple(Label(name) for name in names))
    return tuple((brush, label) for label in brush.labels)


def named(phrase: str, *names: str) -> list[str]:
    return [label.value for _, label in labels_named(phrase, labels(*names))]


@pytest.mark.parametrize(
    ("phrase", "names", "expected"),
    [
        ("the red cat", ("Cat", "Dog"), ["Cat"]),
        ("the dog's ear", ("Dog", "Ear"), ["Ear", "Dog"]),
        ("two dogs’ tails", ("Dog", "Tail"), ["Dog", "Tail"]),
        ("the cat on the sofa", ("Sofa", "Cat"), ["Cat", "Sofa"]),
        ("traffic-light", ("traffic_light",), ["traffic_light"]),
        ("the TrafficLight", ("TrafficLight",), ["TrafficLight"]),
        ("лошадь слева", ("Лошадь",), ["Лошадь"]),
        # vowel signs belong to their words
        ("बड़ी बिल्ली", ("बि", "बिल्ली"), ["बिल्ली"]),
        # plurals
        ("potatoes", ("Cat", "Potato"), ["Potato"]),
        ("cookies", ("Cat", "Cookie"), ["Cookie"]),
        ("the viruses", ("Cat", "Virus"), ["Virus"]),
        ("vertebrae", ("Cat", "Vertebra"), ["Vertebra"]),
        ("metastases", ("Cat", "Metastasis"), ["Metastasis"]),
        ("mitochondria", ("Cat", "Mitochondrion"), ["Mitochondrion"]),
        ("vertebra", ("Cat", "Vertebrae"), ["Vertebrae"]),
        ("glasses", ("Cat", "Glass"), ["Glass"]),
        ("TVs", ("Cat", "TV"), ["TV"]),
        # another word for several labels
        ("the boy", ("Woman", "Man", "Child"), ["Child"]),
        ("the boy", ("Woman", "Man"), ["Man"]),
        ("a guy", ("Woman", "Man"), ["Man"]),
        ("a guy", ("Person", "Woman"), ["Person"]),
        ("a human", ("Woman", "Man"), []),
        ("glasses", ("Glass", "Glasses"), ["Glasses", "Glass"]),
        ("the medium cup", ("Media", "Cup"), ["Cup", "Media"]),
        # scripts without blanks, in which a tone mark makes another word
        ("红色的猫", ("狗", "猫"), ["猫"]),
        ("自行车", ("车", "自行车"), ["自行车", "车"]),
        ("赤い車を選ぶ", ("車", "人"), ["車"]),
        ("แมวสีแดง", ("หมา", "แมว"), ["แมว"]),
        ("我的iPhone手机", ("iPhone", "手机"), ["iPhone", "手机"]),
        ("ม้าตัวใหญ่", ("มา", "ม้า"), ["ม้า"]),
        # Korean words, with particles and at the end of compounds
        ("빨간 고양이를", ("고양이", "개"), ["고양이"]),
        ("빨간고양이", ("고양이", "개"), ["고양이"]),
        ("개의 귀", ("개", "귀"), ["귀", "개"]),
        ("고양이사료", ("고양이", "개"), []),
        ("안개", ("고양이", "개"), []),
    ],
)
def test_labels_that_a_phrase_names(
    phrase: str, names: tuple[str, ...], expected: list[str]
) -> None:
    assert named(phrase, *names) == expected


@pytest.mark.parametrize(
    ("phrase", "names", "expected"),
    [
        ("cats and dogs", ("Dog", "Cat"), {"cats": "Cat", "dogs": "Dog"}),
        (
            "cats, dogs, and all cups",
            ("Cup", "Dog", "Cat"),
            {"cats": "Cat", "dogs": "Dog", "all cups": "Cup"},
        ),
        ("a cat & the dog", ("Cat", "Dog"), {"a cat": "Cat", "the dog": "Dog"}),
        ("cats and kittens", ("Cat", "Dog"), {}),
        ("cats and mats", ("Cat", "Dog"), {}),
        ("salt and pepper", ("Salt", "Pepper", "Salt and pepper"), {}),
        ("cats", ("Cat", "Dog"), {}),
        ("black and white cats", ("Cat", "Dog"), {}),
        ("and", ("Cat", "Dog"), {}),
        ("", ("Cat", "Dog"), {}),
    ],
)
def test_several_kinds_in_one_phrase(
    phrase: str, names: tuple[str, ...], expected: dict[str, str]
) -> None:
    kinds = kinds_named(phrase, labels(*names))
    assert {part: label.value for part, (_, label) in kinds.items()} == expected
    assert asks_for_all(phrase, labels(*names)) or not expected


@pytest.mark.parametrize(("phrase", "all_of_them"), [("고양이들을", True), ("빨간고양이", False)])
def test_a_name_with_particles_is_a_bare_name(phrase: str, all_of_them: bool) -> None:
    assert asks_for_all(phrase, labels("고양이")) == all_of_them


@pytest.mark.parametrize(
    ("phrase", "name"),
    [
        ("ＣＡＴ", "cat"),
        ("cafe\u0301", "caf\u00e9"),
        ("バイク", "ﾊﾞｲｸ"),
        ("big  cat", "Big Cat"),
        ("tshirts", "T-Shirt"),
        ("fire hydrant", "firehydrant"),
        ("inek", "İnek"),
    ],
)
def test_one_normal_form(phrase: str, name: str) -> None:
    assert named(phrase, name) == [name]
    assert asks_for_all(phrase, labels(name))


def test_what_is_said_about_one_of_them_keeps_its_script() -> None:
    assert about_one("all cats") == "cat"
    assert about_one("红色的猫") == "红色的猫"
    assert not asks_for_all("红色的猫", labels("猫"))
    assert asks_for_all("猫", labels("猫"))


@pytest.mark.parametrize(
    ("phrase", "names"),
    [
        ("".join(map(chr, range(0x4E00, 0x51E8))) * 10, map(chr, range(0x4E00, 0x51E8))),
        (" ".join(f"w{n}" for n in range(2_000)), (f"w{n}" for n in range(1_000))),
        ("a " * 5_000, ("a" * n for n in range(1, 1_000))),
        ("고양이" * 333, ("고양이" * n for n in range(1, 1_000))),
    ],
    ids=["without blanks", "words", "one letter", "compound"],
)
def test_a_long_phrase_and_many_labels_take_no_time(phrase: str, names: Iterable[str]) -> None:
    several = labels(*names)
    started = time.process_time()

    assert labels_named(phrase, several)
    asks_for_all(phrase, several)
    assert time.process_time() - started < 4


def test_long_names_are_not_kept_in_memory():
    tracemalloc.start()
    for number in range(50):
        label = Label(f"{number} {'x' * 100_000}")
        assert labels_named("cat", [(BrushControl("brush", (label,)), label)]) == ()
    del label
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert kept < 1_000_000
