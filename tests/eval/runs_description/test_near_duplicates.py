from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.eval.runs_description.near_duplicates import near_duplicate_clusters

STORY = (
    "The old keeper of the lighthouse climbed the stairs every evening, lit the lamp, wrote the "
    "weather into his book and waited for the ships that had stopped coming years ago."
)


def test_texts_that_share_most_triples_are_one_cluster():
    texts = [STORY, STORY.replace("years ago", "long ago"), STORY.upper(), "Something else."]
    assert near_duplicate_clusters(texts).tolist() == [0, 0, 0, 1]


def test_the_same_words_in_another_order_are_another_text():
    words = STORY.split()
    assert near_duplicate_clusters([STORY, " ".join(reversed(words))]).tolist() == [0, 1]


@pytest.mark.parametrize(("n_shared", "together"), [(54, True), (53, False)])
def test_similarity_is_checked_on_the_triples_themselves(n_shared: int, together: bool):
    """Of 60 words 54 are shared: 52 of 64 triples, 0.81; with 53 it is 51 of 65, 0.78."""
    common = [f"shared{i}" for i in range(n_shared)]
    texts = [" ".join([*common, *(f"{side}{i}" for i in range(60 - n_shared))]) for side in "ab"]
    assert near_duplicate_clusters(texts).tolist() == [0, 0 if together else 1]


def test_every_copy_with_one_changed_word_is_found():
    """One word of 100 changes 3 of 98 triples: far above the threshold, so none may be missed."""
    rng = np.random.default_rng(0)
    texts = []
    for number in range(200):
        words = [f"w{i}" for i in rng.integers(0, 5000, 100)]
        texts.append(" ".join(words))
        words[50] = f"changed{number}"
        texts.append(" ".join(words))
    assert near_duplicate_clusters(texts).tolist() == np.repeat(np.arange(200), 2).tolist()


def test_languages_without_spaces():
    first = "今天天气很好我们去公园散步然后在湖边的小店里喝茶晚上再回家做饭给孩子们吃"
    found = near_duplicate_clusters([first, first[:-1], "明天会下雨吗"])
    assert found.tolist() == [0, 0, 1]


@pytest.mark.parametrize("texts", [[], ["", " ", ""], ["?"], ["\ud83d", "a\x00b"], ["a b", "a b"]])
def test_odd_texts(texts: list[str]):
    found = near_duplicate_clusters(texts)
    assert found.shape == (len(texts),)
    assert found.tolist() == sorted(found.tolist())


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(max_size=40), max_size=12))
def test_equal_texts_are_one_cluster_and_numbers_ascend(texts: list[str]):
    found = near_duplicate_clusters([*texts, *texts]).tolist()
    assert found[: len(texts)] == found[len(texts) :]
    seen = list(dict.fromkeys(found))
    assert seen == list(range(len(seen)))


def test_a_text_of_a_megabyte():
    text = "word " * 200_000
    assert near_duplicate_clusters([text, f"{text} end"]).tolist() in ([0, 0], [0, 1])
