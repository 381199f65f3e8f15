"""Every wording an annotator may come up with."""

from __future__ import annotations

import re
import string
import time
import unicodedata
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.errors import WordVectorsError
from model.tokenizer import MAX_CHARACTERS, MAX_WORDS, Tokenizer

VOCABULARY = re.findall(
    r"\w+",
    "the left on dog man red shirt girl person horse cat woman right rose blue t umbrella glasses "
    "potted plant tshirt car people child foot knife baby babies bus 2 3rd surfboard skate board "
    "dark light traffic elephant airplane dish grass cafe dont bicycle house",
)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    vectors = np.random.default_rng(0).normal(size=(len(VOCABULARY), 5)).astype(np.float32)
    return Tokenizer(VOCABULARY, vectors)


@pytest.mark.parametrize(
    ("phrase", "words"),
    [
        ("red dog", "red dog"),
        ("Red DOG", "red dog"),
        ("  the\tred\n dog.  ", "the red dog"),
        ("“red”, (dog)!", "red dog"),
        ("ｒｅｄ　ｄｏｇ", "red dog"),
        ("red/blue_dog & cat", "red blue dog cat"),
        ("dog🐕 cat", "dog cat"),
        # number
        ("dogs", "dog"),
        ("dishes", "dish"),
        ("buses", "bus"),
        ("babies", "babies"),
        ("children", "child"),
        ("women", "woman"),
        ("feet", "foot"),
        ("knives", "knife"),
        ("bus", "bus"),
        ("grass", "grass"),
        ("glass", "glasses"),
        # possessive
        ("dog's", "dog"),
        ("the dogs’ shirt", "the dog shirt"),
        ("don't", "dont"),
        # compound and hyphen
        ("t-shirt", "tshirt"),
        ("T‑Shirts", "tshirt"),
        ("pottedplant", "potted plant"),
        ("potted-plants", "potted plant"),
        ("dark-blue car", "dark blue car"),
        ("surf board", "surfboard"),
        ("skateboards", "skate board"),
        ("TrafficLight", "traffic light"),
        # accents
        ("café", "cafe"),
        # numbers stay what they are
        ("2 dogs", "2 dog"),
        ("3rd person", "3rd person"),
    ],
)
def test_wordings_that_are_no_mistake(tokenizer: Tokenizer, phrase: str, words: str) -> None:
    reading = tokenizer.read(phrase)

    assert reading.words == tuple(words.split())
    assert reading.corrected == ()
    assert reading.ignored == ()


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("shrit", "shirt"),
        ("shirtt", "shirt"),
        ("grl", None),
        ("gril", "girl"),
        ("hrose", "horse"),  # as near to "rose", but for its first letter
        ("umberlla", "umbrella"),
        ("elefant", "elephant"),
        ("aeroplane", "airplane"),
        ("bycicle", "bicycle"),
        ("shrits", "shirt"),
        ("hous", "house"),
        ("dgo", None),  # too short to guess
        ("xqzkjv", None),
        ("2o1", None),
        ("shirt7", None),
    ],
)
def test_typos(tokenizer: Tokenizer, typed: str, meant: str | None) -> None:
    reading = tokenizer.read(f"red {typed}")

    if meant is None:
        assert (reading.words, reading.corrected, reading.ignored) == (("red",), (), (typed,))
    else:
        assert (reading.words, reading.corrected) == (("red", meant), ((typed, meant),))
        assert reading.ignored == ()


def test_of_equally_near_words_the_most_frequent_is_read() -> None:
    one = Tokenizer(["bear", "bean"], np.eye(2, dtype=np.float32))
    other = Tokenizer(["bean", "bear"], np.eye(2, dtype=np.float32))

    assert one.read("beat").words == ("bear",)
    assert other.read("beat").words == ("bean",)


@pytest.mark.parametrize("phrase", ["собака", "赤い猫", "كلب", "🐶", "żółw", "λόγος"])
def test_other_scripts_are_ignored_and_said_so(tokenizer: Tokenizer, phrase: str) -> None:
    reading = tokenizer.read(f"{phrase} dog")

    assert reading.words == ("dog",)
    assert len(reading.ignored) == (0 if phrase == "🐶" else 1)


def test_a_vocabulary_of_another_script_is_read() -> None:
    tokenizer = Tokenizer(["собака", "猫"], np.eye(2, dtype=np.float32))

    assert tokenizer.read("Собака 猫").words == ("собака", "猫")
    assert tokenizer.read("сабака").corrected == (("сабака", "собака"),)


@pytest.mark.parametrize("phrase", ["", "   ", "?!", "…", "\n\t", "\x00", "'", "-"])
def test_nothing_said(tokenizer: Tokenizer, phrase: str) -> None:
    reading = tokenizer.read(phrase)

    assert reading.words == ()
    assert reading.ignored == ()
    assert reading.vectors.shape == (0, 5)


def test_five_hundred_words(tokenizer: Tokenizer) -> None:
    reading = tokenizer.read("red dog " * 250)

    assert len(reading.words) == MAX_WORDS
    assert reading.truncated
    assert len(reading.ignored) == 500 - MAX_WORDS
    assert reading.vectors.shape == (MAX_WORDS, 5)


def test_few_unknown_words_are_compared_with_the_vocabulary(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given one character that Unicode writes as four words
    compared: list[str] = []
    monkeypatch.setattr(
        tokenizer._corrections, "nearest", lambda word, trained: compared.append(word)
    )

    reading = tokenizer.read("\ufdfa" * 2_000)

    assert len(compared) == 4 * MAX_WORDS
    assert reading.truncated


@pytest.mark.timed
def test_a_pasted_book_costs_no_more_than_its_beginning(tokenizer: Tokenizer) -> None:
    start = time.perf_counter()

    reading = tokenizer.read("qwxzzpp " * 1_000_000)

    assert reading.truncated
    assert len(reading.ignored) <= MAX_CHARACTERS
    assert time.perf_counter() - start < 2.0


def test_vectors_are_those_of_the_words_and_cannot_be_changed(tokenizer: Tokenizer) -> None:
    reading = tokenizer.read("red dogs")

    expected = tokenizer.vectors[[VOCABULARY.index("red"), VOCABULARY.index("dog")]]
    assert np.array_equal(reading.vectors, expected)
    with pytest.raises(ValueError, match="read-only"):
        reading.vectors[0] = 0


def test_case_of_the_vocabulary_does_not_matter() -> None:
    tokenizer = Tokenizer(["Dog", "dog", "USA"], np.eye(3, dtype=np.float32))

    assert np.array_equal(tokenizer.read("dog usa").vectors, np.eye(3, dtype=np.float32)[[0, 2]])


@pytest.mark.parametrize(
    ("phrase", "known"),
    [
        ("dog", True),
        ("Dogs", True),
        ("the dog", True),
        ("a dog of my own", False),  # "own" is unknown
        ("dog #7", True),
        ("Potted_Plant", True),
        ("shrit", False),
        ("defect", False),
        ("the", False),
        ("7", False),
        ("", False),
        ("собака", False),
    ],
)
def test_knows(tokenizer: Tokenizer, phrase: str, known: bool) -> None:
    assert tokenizer.knows(phrase) is known


def test_words_and_vectors_must_fit() -> None:
    with pytest.raises(WordVectorsError, match="fit"):
        Tokenizer(["a", "b"], np.zeros((3, 4), np.float32))
    with pytest.raises(WordVectorsError, match="fit"):
        Tokenizer([], np.zeros((0, 4), np.float32))


@settings(deadline=None, max_examples=200)
@given(phrase=st.one_of(st.text(max_size=80), st.text(string.ascii_letters + " -'", max_size=80)))
def test_any_text_is_read_alike_each_time(phrase: str) -> None:
    vectors = np.eye(len(VOCABULARY), dtype=np.float32)
    tokenizer = Tokenizer(VOCABULARY, vectors)

    first, again = tokenizer.read(phrase), Tokenizer(VOCABULARY, vectors).read(phrase)

    assert first.words == again.words
    assert first.ignored == again.ignored
    assert set(first.words) <= set(VOCABULARY)
    assert len(first.vectors) == len(first.words) <= MAX_WORDS
    assert all(meant in first.words for _, meant in first.corrected)


@pytest.fixture(scope="module")
def large() -> Tokenizer:
    """Words of which few were trained: "couch" is nearly "sofa", "chat" is nearly nothing."""
    words = ["the", "coat", "sofa", "couch", "chat", "horse", "grove", "boulder"]
    vectors = np.eye(8, dtype=np.float32)
    vectors[3] = 0.9 * vectors[2] + 0.3 * vectors[3]
    return Tokenizer(words, vectors, trained=["the", "coat", "sofa", "horse"])


def test_a_word_of_the_vocabulary_is_no_typo_of_a_trained_one(large: Tokenizer) -> None:
    tokens = large.read("the chat")

    assert tokens.words == ("the", "chat")
    assert tokens.corrected == ()
    assert [near.word for near in tokens.near] == ["chat"]


def test_an_untrained_word_names_its_nearest_trained_one(large: Tokenizer) -> None:
    (near,) = large.read("couches").near

    assert (near.word, near.trained) == ("couch", "sofa")
    assert near.cosine == pytest.approx(0.949, abs=0.01)
    assert not large.knows("couch")
    assert large.knows("sofas")
    assert large.read("sofa").near == ()


def test_near_words_and_unfamiliar_ones_are_listed(large: Tokenizer) -> None:
    tokens = large.read("chat on the couch")

    assert tokens.understood_as == (("couch", "sofa"),)
    assert tokens.unfamiliar == ("chat",)


def test_only_what_names_a_thing_is_understood_as_another() -> None:
    # given words of grammar and of doing, whose vectors are near to that of a trained thing
    words = ["dog", "next", "standing", "without", "she", "sheep"]
    vectors = np.ones((6, 4), np.float32)
    plain = Tokenizer(words, vectors, trained=["dog", "sheep"])
    # when / then
    tokens = plain.read("dog standing next without")
    assert tokens.words == ("dog", "standing", "next")
    assert (tokens.understood_as, tokens.unfamiliar) == ((), ("standing",))
    # and a negation is read only after a training with it
    assert tokens.ignored == ("without",)
    assert plain.extended(trained=["without"]).read("dog without").words == ("dog", "without")
    # and a typo is that of a thing
    assert plain.read("shep").words == ("sheep",)


def test_typos_are_of_trained_words_first(large: Tokenizer) -> None:
    # "grove" is nearer than nothing, but it is short and was not trained.
    assert large.read("grov").ignored == ("grov",)
    assert large.read("bouldr").corrected == (("bouldr", "boulder"),)
    assert large.read("hrse").corrected == (("hrse", "horse"),)


@pytest.mark.parametrize(
    ("phrase", "words", "ignored"),
    [
        ("赤い猫", ("赤い", "猫"), ()),
        ("大きな猫と犬", ("猫", "犬"), ("大きな", "と")),
        ("कुत्ता", ("कुत्ता",), ()),
        ("แมว", (), ("แมว",)),
    ],
)
def test_scripts_without_blanks_are_cut_into_known_words(
    phrase: str, words: tuple[str, ...], ignored: tuple[str, ...]
) -> None:
    tokens = Tokenizer(["赤い", "猫", "犬", "कुत्ता"], np.eye(4, dtype=np.float32)).read(phrase)

    assert tokens.words == words
    assert tokens.ignored == ignored


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize(
    ("phrase", "words", "ignored"),
    [
        ("빨간 고양이를", ("빨간", "고양이"), ()),
        ("빨간고양이들이", ("빨간", "고양이"), ()),
        ("개가", ("개",), ()),
        ("개미", (), ("개미",)),
    ],
)
def test_korean_words_are_read_without_their_particles(
    phrase: str, words: tuple[str, ...], ignored: tuple[str, ...], form: Literal["NFC", "NFD"]
) -> None:
    tokenizer = Tokenizer(["빨간", "고양이", "개"], np.eye(3, dtype=np.float32))

    tokens = tokenizer.read(unicodedata.normalize(form, phrase))

    assert (tokens.words, tokens.ignored, tokens.corrected) == (words, ignored, ())


@pytest.mark.parametrize(
    ("stored", "typed"),
    [
        ("\ufeffdog", "dog"),
        ("\uff24\uff2f\uff27", "dog"),
        ("cafe\u0301", "caf\u00e9"),
        (
            "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
            "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        ),
    ],
)
def test_words_of_a_vocabulary_are_found_in_their_normal_form(stored: str, typed: str) -> None:
    tokenizer = Tokenizer([stored], np.eye(1, dtype=np.float32), trained=[stored])
    tokens = tokenizer.read(typed)

    assert len(tokens.words) == 1
    assert not tokens.near


def test_a_word_of_several_is_read_as_one() -> None:
    tokenizer = Tokenizer(["Fire_hydrant", "fire", "New York"], np.eye(3, dtype=np.float32))

    assert tokenizer.read("fire hydrant fire new york").words == (
        "fire hydrant",
        "fire",
        "new york",
    )
