from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from router.messages import prompt_text
from router.textcap import cap_prompt, cap_text


@given(st.text(), st.integers(0, 50))
def test_cap_text_keeps_both_ends(text: str, limit: int) -> None:
    got = cap_text(text, limit)
    if len(text) <= limit:
        assert got == text
    else:
        assert len(got) == limit + 1
        assert text.startswith(got[: limit // 2])
        assert text.endswith(got[limit // 2 + 1 :])


def test_long_question_keeps_its_end_and_a_quarter_goes_to_the_rest() -> None:
    question = "Q" * 500 + "START" + "x" * 5000 + "the question?"
    system = "S" * 5000
    prompt = prompt_text(
        [{"role": "system", "content": system}, {"role": "user", "content": question}]
    )
    capped = cap_prompt(prompt, 1000)
    assert len(capped) <= 1002
    assert "the question?" in capped
    assert 200 <= capped.count("S") <= 250
    assert capped.startswith("QQQ")


def test_room_that_is_not_needed_goes_to_the_other() -> None:
    system = {"role": "system", "content": "S" * 5000}
    short = cap_prompt(prompt_text([system, {"role": "user", "content": "hi"}]), 1000)
    assert short.startswith("hi\n\nSSS")
    assert short.count("S") > 990
    long = cap_prompt(
        prompt_text([{"role": "user", "content": "Q" * 5000}, system | {"content": "be brief"}]),
        1000,
    )
    assert long.endswith("be brief")
    assert long.count("Q") > 980


@given(st.text(max_size=60), st.text(max_size=60), st.integers(16, 40))
def test_cap_prompt_is_bounded(question: str, system: str, limit: int) -> None:
    prompt = prompt_text(
        [{"role": "system", "content": system}, {"role": "user", "content": question}]
    )
    assert len(cap_prompt(prompt, limit)) <= max(limit + 2, 0)
