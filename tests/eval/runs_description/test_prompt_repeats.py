from __future__ import annotations

import pytest

from router.errors import ConfigError
from router.eval.runs_description.prompt_repeats import PromptKeys, count_repeats, find_leaks

TASK = (
    "A farmer sells eggs at the market every morning and keeps a record of what is left over. "
    "Today he started with {a} eggs in his basket, sold {b} of them before noon to the baker, and "
    "carried the others home to his {who}. How many eggs did he carry home in the end?"
)
PROMPTS = (
    TASK.format(a=30, b=12, who="wife"),
    f"  {TASK.format(a=30, b=12, who='wife').upper()}",  # the same text
    TASK.format(a=30, b=12, who="family"),  # nearly the same, same numbers
    TASK.format(a=41, b=17, who="wife"),  # another question from the template
    "What is the capital of France?",
)
IDS = ("a", "b", "c", "d", "e")


def test_each_prompt_counts_under_the_strictest_notion():
    found = count_repeats(PromptKeys.of(PROMPTS), IDS)
    assert (found.n_prompts, found.n_same, found.n_near, found.n_template) == (5, 2, 1, 1)
    assert found.largest_family == 4
    assert found.examples == (("a", "b", "c"),)


def test_without_repeats():
    found = count_repeats(PromptKeys.of(PROMPTS[3:]), IDS[3:])
    assert (found.n_same, found.n_near, found.n_template, found.examples) == (0, 0, 0, ())


def test_chat_messages_are_read_as_the_router_reads_them():
    prompts = ("Why?", [{"role": "user", "content": "why? "}])
    assert count_repeats(PromptKeys.of(prompts), ("a", "b")).n_same == 2
    with pytest.raises(ConfigError, match="no messages"):
        PromptKeys.of([[]])


def test_leaks_name_each_prompt_once():
    splits = [("train",), ("test",), ("test",), ("test",), ("test",)]
    (leak,) = find_leaks(PromptKeys.of(PROMPTS), IDS, splits)
    assert (leak.first, leak.second, leak.n_first, leak.n_second) == ("train", "test", 1, 4)
    assert (leak.n_same, leak.n_near, leak.n_template) == (1, 1, 1)
    assert leak.examples == ("b", "c")
    assert leak.found


def test_another_question_of_a_template_is_no_leak():
    (leak,) = find_leaks(PromptKeys.of(PROMPTS), IDS, [("train",), (), (), ("test",), ("test",)])
    assert (leak.n_same, leak.n_near, leak.n_template, leak.found) == (0, 0, 1, False)


def test_a_prompt_with_rows_in_two_splits_leaks():
    keys = PromptKeys.of(PROMPTS[4:])
    (leak,) = find_leaks(keys, ("e",), [("dev", "train")])
    assert (leak.first, leak.second, leak.n_same, leak.examples) == ("train", "dev", 1, ("e",))


def test_every_pair_of_splits():
    splits = [("b",), ("Train",), ("a",), (), ()]
    found = find_leaks(PromptKeys.of(PROMPTS), IDS, splits)
    pairs = [(leak.first, leak.second) for leak in found]
    assert pairs == [("Train", "a"), ("Train", "b"), ("a", "b")]
    assert find_leaks(PromptKeys.of(PROMPTS), IDS, [("only",)] * 5) == ()


def test_a_column_that_is_no_split():
    """Thousands of splits would be millions of pairs."""
    prompts = [f"Question {i}?" for i in range(2000)]
    ids = [str(i) for i in range(2000)]
    keys = PromptKeys.of(prompts)
    assert find_leaks(keys, ids, [(f"split {i}",) for i in range(2000)]) == ()
    found = find_leaks(keys, ids, [("train",), *((f"split {i % 30}",) for i in range(1999))])
    assert {leak.first for leak in found} == {"train"}
    assert len(found) == 30
