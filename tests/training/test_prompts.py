import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.training.prompts import decode_prompt, encode_prompt, normalised_text

_USER = {"role": "user", "content": "Why?"}


@pytest.mark.parametrize("text", ["Why?", "[1, 2]", "[]", '[{"role": 1', '{"role": "user"}', " a "])
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert encode_prompt(text) == text
    assert decode_prompt(text) == text


@pytest.mark.parametrize(
    "messages",
    [
        [_USER],
        [{"role": "system", "content": "Be brief."}, _USER],
        [{"role": "user", "content": [{"type": "text", "text": "Why?"}]}],
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}],
        [_USER, {"role": "assistant", "tool_calls": [{"id": "1", "type": "function"}]}],
        [_USER, {"role": "assistant", "content": ""}],
    ],
)
def test_chat_messages_there_and_back(messages: list[dict[str, Any]]) -> None:
    text = encode_prompt(messages)
    assert decode_prompt(text) == messages
    assert encode_prompt(text) == text
    assert encode_prompt(json.dumps(messages, indent=1)) == text


def test_nulls_of_parquet_structs_do_not_count() -> None:
    padded = [{"role": "user", "content": "Why?", "name": None, "tool_calls": None}]
    assert encode_prompt(padded) == encode_prompt([_USER])


def test_order_of_keys_does_not_count() -> None:
    assert encode_prompt([{"content": "Why?", "role": "user"}]) == encode_prompt([_USER])


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("", "empty"),
        (" \n\t ", "empty"),
        ([], "empty"),
        ([{"role": "user", "content": "  "}], "empty"),
        ([{"role": "user", "content": []}], "empty"),
        (3, "a number"),
        (True, "a boolean"),
        ({"role": "user", "content": "Why?"}, "an object"),
        (["Why?"], "message 1 is text"),
        ([_USER, {"content": "Why?"}], "message 2 has the role None"),
        ([{"role": "robot", "content": "Why?"}], "must be one of system"),
        ([{"role": ["user"], "content": "Why?"}], "must be one of system"),
        ([{"role": "user"}], "no content"),
        ([{"role": "user", "content": None}], "no content"),
        ([{"role": "user", "content": 5}], "a number as content"),
        ([{"role": "user", "content": ["Why?"]}], "part without a type"),
        ([{"role": "user", "content": [{"type": "text"}]}], "text part without text"),
        ('[{"role": "user"}]', "no content"),
        ("half a \ud83d pair", "Unicode"),
        ([{"role": "user", "content": "\ud83d"}], "Unicode"),
    ],
)
def test_wrong_prompts(value: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        encode_prompt(value)


def test_deep_nesting_is_text() -> None:
    text = '["role"' + "[" * 100_000
    assert encode_prompt(text) == text


def test_normalised_text() -> None:
    assert normalised_text("  Why\n\tNOT? ") == "why not?"
    assert normalised_text(encode_prompt([_USER])) == normalised_text("WHY?")
    assert normalised_text(encode_prompt([_USER, _USER])) == "why? why?"


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_any_text_is_kept_or_refused(text: str) -> None:
    if not text or text.isspace():
        with pytest.raises(ValueError, match="empty"):
            encode_prompt(text)
    else:
        assert decode_prompt(encode_prompt(text)) == text
        assert normalised_text(f"\n{text}  ") == normalised_text(text)


@given(st.lists(st.tuples(st.sampled_from(["user", "system"]), st.text('aß"[{ ', min_size=1))))
def test_any_messages_are_kept_or_refused(turns: list[tuple[str, str]]) -> None:
    messages = [{"role": role, "content": content} for role, content in turns]
    if any(content.strip() for _, content in turns):
        assert decode_prompt(encode_prompt(messages)) == messages
    else:
        with pytest.raises(ValueError, match="empty"):
            encode_prompt(messages)
