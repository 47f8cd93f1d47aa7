from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import ConfigError
from router.messages import prompt_text


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def test_last_user_turn_comes_first_then_system_then_earlier_turns() -> None:
    got = prompt_text(
        [
            {"role": "system", "content": "Be brief."},
            user("First question"),
            {"role": "assistant", "content": "First answer"},
            user("Second question"),
        ]
    )
    assert got.text == "Second question\n\nBe brief.\n\nFirst question\n\nFirst answer"
    assert got.text[: got.n_question] == "Second question"
    assert (got.n_turns, got.has_system, got.has_tools, got.n_images) == (3, True, False, 0)


@given(st.text())
def test_text_equals_one_user_message(text: str) -> None:
    assert prompt_text(text) == prompt_text([user(text)])
    assert prompt_text(text) == prompt_text([user([{"type": "text", "text": text}])])


def test_developer_counts_as_system() -> None:
    messages = [{"role": "system", "content": "x"}, user("y")]
    assert prompt_text(messages) == prompt_text([messages[0] | {"role": "developer"}, user("y")])


def test_parts_become_text_and_notes() -> None:
    got = prompt_text(
        [
            user(
                [
                    {"type": "text", "text": "What is on both?"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                    {"type": "input_image", "image_url": "https://example.org/x.png"},
                    {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
                    {"type": "file", "file": {"file_data": "AAAA"}},
                    {"type": "hologram"},
                ]
            )
        ]
    )
    assert got.text == "What is on both?\n[image]\n[image]\n[audio]\n[file]\n[hologram]"
    assert got.n_images == 2
    assert "AAAA" not in got.text


def test_tools_become_notes() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "look_up", "arguments": "{...}"}}
    got = prompt_text(
        [
            user("Weather?"),
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "1", "content": "ten thousand lines"},
        ]
    )
    assert got.text == "Weather?\n\n[tool call look_up]\n\n[tool result]"
    assert got.has_tools
    assert got.n_turns == 3


@pytest.mark.parametrize(
    "message",
    [
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": ""}},
        {"role": "function", "name": "f", "content": "42"},
        {"role": "assistant", "content": [{"type": "tool_use", "name": "f"}]},
        {"role": "assistant", "content": "", "tool_calls": [{"type": "strange"}]},
    ],
)
def test_other_shapes_of_tools(message: dict[str, Any]) -> None:
    assert prompt_text([user("q"), message]).has_tools


def test_a_user_can_write_the_name_of_a_note() -> None:
    got = prompt_text(user_text := "[image] and [tool call]")
    assert (got.n_images, got.has_tools, got.text) == (0, False, user_text)
    assert prompt_text([user([{"type": "text", "text": "[image]"}])]).n_images == 0


def test_turns_without_text_are_passed_over() -> None:
    got = prompt_text([user("Real question"), user(""), user(None), user([])])
    assert got.text == "Real question"
    assert prompt_text([user("")]).text == ""
    assert prompt_text([{"role": "system", "content": "only"}]).text == "only"


@pytest.mark.parametrize(
    ("wrapped", "plain"),
    [
        ("<system-reminder>Today is Monday.</system-reminder>\nFix it", "Fix it"),
        ("Fix it\n<environment_details>\n# Files\na.py\n</environment_details>", "Fix it"),
        ('<attached_files path="x">\ncode\n</attached_files>Fix it', "Fix it"),
        (
            "<system-reminder>a</system-reminder>Fix it<system-reminder>b</system-reminder>",
            "Fix it",
        ),
        ("<user_info>\nOS: linux\n</user_info>\n<user_query>\nFix it\n</user_query>", "Fix it"),
        ("context <user_query>Fix it</user_query>", "Fix it\ncontext"),
        # Nothing else in the turn, not closed, not opened, another tag, or only mentioned.
        ("<system-reminder>alone</system-reminder>", "<system-reminder>alone</system-reminder>"),
        ("<system-reminder>Fix it", "<system-reminder>Fix it"),
        ("Fix it</system-reminder>", "Fix it</system-reminder>"),
        (" <b>Fix</b> it ", " <b>Fix</b> it "),
        ("<user_infos>x</user_info> y", "<user_infos>x</user_info> y"),
        ("</user_query>x<user_query>", "</user_query>x<user_query>"),
    ],
)
def test_harness_wrappers(wrapped: str, plain: str) -> None:
    assert prompt_text(wrapped).text == plain


def test_wrappers_stay_outside_user_turns() -> None:
    system = "Mind <system-reminder>these</system-reminder> blocks."
    assert system in prompt_text([{"role": "system", "content": system}, user("q")]).text


def test_unfinished_wrappers_take_linear_time() -> None:
    text = "<user_infos" * 100_000 + "<user_info>" * 100_000 + "</user_info> q"
    assert prompt_text(text).text.endswith(" q")


@given(
    st.lists(
        st.sampled_from(
            ["<system-reminder>", "</system-reminder>", "<user_query>", "</user_query>", "x", " "]
        )
    )
)
def test_wrappers_never_take_everything(pieces: list[str]) -> None:
    text = "".join(pieces)
    assert bool(prompt_text(text).text.strip()) == bool(text.strip())


def test_lone_surrogates_are_replaced() -> None:
    assert prompt_text("a\ud800b").text == "a\ufffdb"
    assert prompt_text([user("a\udfffé")]).text == "a\ufffdé"
    assert prompt_text("\U0001f600").text == "\U0001f600"


@pytest.mark.parametrize(
    ("prompt", "named"),
    [
        (None, "prompt must be a string"),
        (42, "not int"),
        (b"bytes", "not bytes"),
        ({"role": "user", "content": "x"}, "not dict"),
        ([], "no messages"),
        (["text"], r"prompt\[0\] must be a mapping"),
        ([user("x"), object()], r"prompt\[1\].*model_dump"),
        ([{"content": "x"}], r"prompt\[0\]\['role'\] is None"),
        ([{"role": "robot", "content": "x"}], "'robot': use one of assistant"),
        ([{"role": ["user"], "content": "x"}], "role"),
        ([user(42)], r"prompt\[0\]\['content'\].*not int"),
        ([user({"type": "text", "text": "x"})], "not dict"),
        ([user(b"x")], "not bytes"),
        ([user([{"text": "x"}])], r"prompt\[0\]\['content'\]\[0\].*'type'"),
        ([user([{"type": "text"}])], r"\['content'\]\[0\]\['text'\].*NoneType"),
        ([user([7])], r"\['content'\]\[0\]"),
        ([user("x") | {"tool_calls": 7}], "tool_calls"),
    ],
)
def test_invalid_shapes_are_named(prompt: Any, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        prompt_text(prompt)
