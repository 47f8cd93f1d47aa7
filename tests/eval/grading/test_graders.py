"""Graders against truth made by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import ConfigError, DataError
from router.eval.grading import GRADERS, Grade, GradingItem, make_grader
from router.eval.grading.custom import FunctionGrader
from router.eval.grading.final_answer import final_answer, find_json, without_reasoning
from router.eval.grading.number import read_number


def quality(grader: str, answer: str, reference: object, **metadata: object) -> float:
    return make_grader(grader).grade(GradingItem("?", answer, reference, metadata)).quality


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Paris", "Paris"),
        ("<think>Rome? <answer>Rome</answer></think><answer> Paris </answer>", "Paris"),
        (r"First \boxed{1}, no: \boxed{\frac{a}{b}}", r"\frac{a}{b}"),
        ('{"reasoning": "...", "answer": "B"}', "B"),
        ('```json\n{"answer": 12}\n```', "12"),
        ("It is long.\nThe final answer is **42**.", "42"),
        ("**Answer:** C", "C"),
        ("Answer: x\nOn reflection.\nAnswer: y", "y"),
        ("<think>never ends", ""),
        ("", ""),
    ],
)
def test_the_final_answer_is_found(text, found):
    assert final_answer(text) == found


@given(st.text(max_size=300))
def test_any_text_has_a_final_answer_and_can_be_graded(text):
    assert isinstance(final_answer(text), str)
    assert isinstance(without_reasoning(text), str)
    find_json(text)
    for grader, reference in (("exact", "x"), ("f1", "x"), ("choice", "A"), ("number", 1)):
        assert 0 <= quality(grader, text, reference) <= 1


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1,234.5", 1234.5),
        ("$1,234,567", 1234567),
        ("x = -3/4", -0.75),
        (r"-\frac{3}{4}", -0.75),
        ("\u22125", -5),
        ("6.02e23", 6.02e23),
        ("about 50%", 50),
        (".5", 0.5),
        ("3 apples and 4 pears", 4),
        ("1/0", None),
        ("no digits", None),
        ("9" * 500, None),
        ("v1.2.3b", None),
    ],
)
def test_numbers_are_read(text, value):
    if value is None:
        assert read_number(text) is None or text == "v1.2.3b"
    else:
        assert read_number(text) == pytest.approx(value)


@pytest.mark.parametrize(
    ("grader", "answer", "reference", "expected"),
    [
        ("exact", "The answer is Paris.", "Paris", 1),
        ("exact", "paris", "Paris", 0),
        ("exact", "7", ["six", 7], 1),
        ("text", "the  Eiffel Tower!", "Eiffel tower", 1),
        ("text", "Louvre", "Eiffel tower", 0),
        ("f1", "the cat sat", "cat sat down", 0.8),
        ("f1", "", "cat", 0),
        ("f1", "dog", ["cat", "dog"], 1),
        ("number", "So 42 in all", 42, 1),
        ("number", "42.1", 42, 0),
        ("number:relative=0.01", "42.1", 42, 1),
        ("number:absolute=0.5", "42.4", "42", 1),
        ("number", "none", 42, 0),
        ("regex", "code AB-12 it is", r"\b[A-Z]{2}-\d\d\b", 1),
        ("regex", "<think>AB-12</think>no", r"AB", 0),
        ("json_schema", 'Sure: {"a": 1}', {"type": "object", "required": ["a"]}, 1),
        ("json_schema", '{"b": 1}', {"type": "object", "required": ["a"]}, 0),
        ("json_schema", "no json", {"type": "object"}, 0),
        ("json_fields", '{"a": 1.0, "b": {"c": "x "}}', {"a": 1, "b": {"c": "x"}}, 1),
        ("json_fields", '{"a": 1, "b": {"c": "y"}}', {"a": 1, "b": {"c": "x"}}, 0.5),
        ("json_fields", '{"a": true}', {"a": 1}, 0),
        ("json_fields", "[1]", {"a": 1}, 0),
    ],
)
def test_answers_get_the_grade_that_they_deserve(grader, answer, reference, expected):
    assert quality(grader, answer, reference) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("B", "B"),
        ("(b)", "B"),
        ("B. Because it is", "B"),
        ("The answer is (C).", "C"),
        ("The correct answer is C", "C"),
        (r"\boxed{D}", "D"),
        ("**Answer: A**", "A"),
        ("Between (A) and (B)...\n\nAnswer: B) the second", "B"),
        ("I compared A and B and C.\nC", "C"),
        ('{"answer": "E"}', "E"),
        ("<think>Answer: A</think>Answer: B", "B"),
    ],
)
def test_the_letter_that_was_settled_on_counts(answer, letter):
    assert quality("choice", answer, letter) == 1
    assert quality("choice", answer, "J") == 0


@pytest.mark.parametrize(
    "answer", ["", "I would say a cat.", "A and B are both fine", "I am not sure", "(A) or (B)?"]
)
def test_no_letter_is_made_up(answer):
    assert [quality("choice", answer, letter) for letter in "BCDEFGHIJ"] == [0] * 9


def test_choices_count_by_number_and_by_their_text():
    assert quality("choice", "(C)", 2) == 1
    choices = ["red wine", "white wine"]
    assert quality("choice", "White wine.", "B", choices=choices) == 1
    assert quality("choice", "White wine.", "A", choices=choices) == 0


@pytest.mark.parametrize(
    ("grader", "reference"),
    [
        ("exact", None),
        ("exact", []),
        ("exact", [{"a": 1}]),
        ("choice", "maybe"),
        ("choice", 99),
        ("choice", True),
        ("number", "x"),
        ("number", None),
        ("regex", "("),
        ("regex", ""),
        ("json_schema", "x"),
        ("json_schema", {"type": "strange"}),
        ("json_fields", {}),
        ("code", None),
        ("code", []),
    ],
)
def test_a_reference_that_cannot_be_used_is_an_error_of_the_data(grader, reference):
    with pytest.raises(DataError, match="reference"):
        quality(grader, "x = 1", reference)


def test_schemas_do_not_lead_anywhere():
    schema = {"$ref": "http://127.0.0.1:9/schema.json"}
    with pytest.raises(DataError, match="another document"):
        quality("json_schema", "{}", schema)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("exakt", "did you mean 'exact'"),
        ("???", "use choice"),
        ("exact:fuzzy=1", "it has none"),
        ("number:relativ=1", "use relative, absolute"),
        ("number:relative=x", "not a number"),
        ("number:relative=-1", "negative"),
        ("code:time_s=0", "positive"),
    ],
)
def test_wrong_names_and_settings_are_named(text, hint):
    with pytest.raises(ConfigError, match=hint.replace("?", r"\?")):
        make_grader(text)


def test_every_grader_says_its_name():
    for name in GRADERS:
        assert make_grader(name).name.startswith(name)


def test_functions_grade_and_their_failures_are_named():
    item = GradingItem("?", "long answer", None)
    assert FunctionGrader("length", lambda i: len(i.answer) > 3).grade(item) == Grade(1, "length")
    with pytest.raises(DataError, match="'broken' failed"):
        FunctionGrader("broken", lambda i: 1 / 0).grade(item)
    with pytest.raises(DataError, match="'wild' failed"):
        FunctionGrader("wild", lambda i: 7).grade(item)


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), float("inf")])
def test_grades_lie_between_0_and_1(value):
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        Grade(value, "")
