"""Word vectors of other people, in each format that gensim knows, friendly or not."""

from __future__ import annotations

import gzip
import pickle
from pathlib import Path

import numpy as np
import pytest
from gensim.models import KeyedVectors, Word2Vec

from model.errors import WordVectorsError
from model.keyed_vectors import load
from model.tokenizer import Tokenizer

WORDS = ["dog", "red", "cat"]
VECTORS = np.arange(12, dtype=np.float32).reshape(3, 4)


@pytest.fixture
def vectors() -> KeyedVectors:
    keyed = KeyedVectors(4)
    keyed.add_vectors(WORDS, VECTORS)
    return keyed


def assert_read(path: Path) -> None:
    tokenizer = Tokenizer.from_keyed_vectors(path)
    assert tokenizer.words == tuple(WORDS)
    assert np.allclose(tokenizer.read("cat").vectors, VECTORS[2:])


def test_word2vec_binary(vectors: KeyedVectors, tmp_path: Path) -> None:
    vectors.save_word2vec_format(str(tmp_path / "v.bin"), binary=True)
    assert_read(tmp_path / "v.bin")


def test_word2vec_text_also_zipped(vectors: KeyedVectors, tmp_path: Path) -> None:
    vectors.save_word2vec_format(str(tmp_path / "v.txt"), binary=False)
    (tmp_path / "v.txt.gz").write_bytes(gzip.compress((tmp_path / "v.txt").read_bytes()))
    assert_read(tmp_path / "v.txt")
    assert_read(tmp_path / "v.txt.gz")


def test_glove_text_has_no_header(vectors: KeyedVectors, tmp_path: Path) -> None:
    vectors.save_word2vec_format(str(tmp_path / "g.txt"), binary=False, write_header=False)
    assert_read(tmp_path / "g.txt")


@pytest.mark.parametrize("limit", [10**9, 0], ids=["arrays inside", "arrays beside"])
def test_saved_by_gensim(vectors: KeyedVectors, tmp_path: Path, limit: int) -> None:
    vectors.save(str(tmp_path / "v.kv"), sep_limit=limit)
    assert_read(tmp_path / "v.kv")


@pytest.mark.parametrize("limit", [10**9, 0], ids=["arrays inside", "arrays beside"])
def test_a_whole_word2vec_model(tmp_path: Path, limit: int) -> None:
    model = Word2Vec([["dog", "cat", "dog"]], vector_size=4, min_count=1)
    model.save(str(tmp_path / "m.model"), sep_limit=limit)

    tokenizer = Tokenizer.from_keyed_vectors(tmp_path / "m.model")

    assert np.allclose(tokenizer.read("dog").vectors[0], model.wv["dog"])


class Bomb:
    def __init__(self, fuse: Path) -> None:
        self.fuse = fuse

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, (f"open({str(self.fuse)!r}, 'w')",)


def test_a_hostile_pickle_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "v.kv").write_bytes(pickle.dumps(Bomb(tmp_path / "exploded")))

    with pytest.raises(WordVectorsError, match="more than word vectors"):
        Tokenizer.from_keyed_vectors(tmp_path / "v.kv")

    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("name", ["v.bin", "v.txt", "v.kv", "v.txt.gz"])
def test_damaged_files_are_an_error_with_a_sentence(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x07\x00 what is this?\nnothing good")

    with pytest.raises(WordVectorsError, match=str(tmp_path / name)):
        Tokenizer.from_keyed_vectors(tmp_path / name)


def test_a_missing_file_is_not_taken_for_a_name(tmp_path: Path) -> None:
    with pytest.raises(WordVectorsError, match="no word vector file"):
        Tokenizer.from_keyed_vectors(tmp_path / "missing.bin")


def test_an_unknown_downloader_name() -> None:
    with pytest.raises(WordVectorsError, match="neither a file nor a gensim-downloader model"):
        Tokenizer.from_keyed_vectors("no-such-vectors-1")


def test_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "v.npz", words=np.array(WORDS), vectors=VECTORS.astype(np.float16))
    assert_read(tmp_path / "v.npz")


def test_text_with_a_byte_order_mark_and_blanks_inside_words(tmp_path: Path) -> None:
    text = "\ufeffdog 1 2 3\nnew york 4 5 6\n. . 7 8 9\n2 0 0 1\nroute 66 1 1 1\n\x85 2 2 2\n"
    (tmp_path / "g.txt").write_text(text, encoding="utf-8")

    words, vectors = load(tmp_path / "g.txt")

    assert words == ["dog", "new york", ". .", "2", "route 66", "\x85"]
    assert vectors[:4].tolist() == [[1, 2, 3], [4, 5, 6], [7, 8, 9], [0, 0, 1]]


def test_text_with_tabs_several_blanks_and_other_line_ends(tmp_path: Path) -> None:
    (tmp_path / "g.txt").write_bytes(b"dog\t1\t2\r\nnew  york 3  4 \r\n\r\n")

    words, vectors = load(tmp_path / "g.txt")

    assert words == ["dog", "new york"]
    assert vectors.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("3 2\ndog 1 2 3\ncat 1 2 3\nred 1 2 3\n", "starts with 2 numbers .* lines have 3"),
        ("3 3\ndog 1 2 3\ncat 1 2 3\n", "ends after 2 of its 3 words"),
        ("dog 1 2 3\n" * 100 + "cat 1 2\n", "word 101 has no 3 numbers: 'cat 1 2"),
        ("dog 1 2 3\ncat 1 2\nred 1 2 3\n", "word 2 has no 3 numbers: 'cat 1 2"),
        ("3.0 3\ndog 1 2 3\ncat 1 2 3\n", "word 1 has no 3 numbers: '3.0 3"),
        ("2 3\n", "no line of a word and its numbers"),
        ("dog 1 2 3\n" * 100 + "cat 1 two 3\n", "could not convert"),
    ],
)
def test_text_that_contradicts_itself_is_an_error_with_a_sentence(
    tmp_path: Path, text: str, sentence: str
) -> None:
    (tmp_path / "g.txt").write_text(text, encoding="utf-8")
    with pytest.raises(WordVectorsError, match=sentence):
        load(tmp_path / "g.txt")


def test_lines_with_more_numbers_are_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "g.txt").write_text("dog 1.5 2.5\ncat 0.5 1.5 2.5\n", encoding="utf-8")

    assert load(tmp_path / "g.txt")[0] == ["dog"]
    assert "1 lines" in caplog.text


def test_of_a_word_that_comes_twice_the_first_counts(tmp_path: Path) -> None:
    (tmp_path / "g.txt").write_text("Dog 1 2\ndog 3 4\n\uff44og 5 6\n", encoding="utf-8")

    tokenizer = Tokenizer.from_keyed_vectors(tmp_path / "g.txt")

    assert tokenizer.read("DOG").vectors.tolist() == [[1, 2]]


def test_vectors_that_are_no_numbers_are_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "g.txt").write_text("dog 1 2\ncat nan 1\nred inf 1\n", encoding="utf-8")

    assert load(tmp_path / "g.txt")[0] == ["dog"]
    assert "2 of 3 words" in caplog.text


def test_nothing_but_such_vectors_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "g.txt").write_text("dog nan 2\n", encoding="utf-8")
    with pytest.raises(WordVectorsError, match="no word with a vector"):
        load(tmp_path / "g.txt")
