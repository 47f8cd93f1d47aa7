from __future__ import annotations

from typing import Any

import pytest

from router.dispatch import parse_routing_name
from router.dispatch.options import RoutingOptions, read_options
from router.errors import ConfigError


@pytest.mark.parametrize(
    "name", ["llama-3.3-70b", "automatic", "Auto", "", "auto-1", None, 5, ["auto"]]
)
def test_real_ids_are_no_routing_names(name: object):
    assert parse_routing_name(name) is None


def test_routing_names():
    plain, barred = parse_routing_name("auto"), parse_routing_name("auto:1")
    assert plain is not None
    assert barred is not None
    assert (plain.quality, barred.quality) == (None, 1.0)


@pytest.mark.parametrize(
    "name",
    ["auto:", "auto:high", "auto:0", "auto:-1", "auto:1.01", "auto:nan", "auto:inf", "auto:0.9:1"],
)
def test_bad_bars_are_named(name: str):
    with pytest.raises(ConfigError, match=name):
        parse_routing_name(name)


def body(model: Any = "auto", **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "Hi"}], **fields}


def test_which_quality_counts():
    extension = {"quality": 0.7, "min_probability": 0.2, "session": "s", "task": "code"}
    promise = {"confidence": 0.95, "group": "maths", "uncertified": "estimate"}
    options = read_options(body(wattroute=extension | promise))
    assert options.given() == extension | promise
    assert (options.quality, options.min_probability) == (0.7, 0.2)
    assert (options.session, options.task) == ("s", "code")
    given = RoutingOptions(quality=0.8, min_probability=0, session="t")
    options = read_options(body(wattroute=extension), given)
    assert (options.quality, options.min_probability, options.session) == (0.8, 0.0, "t")
    assert read_options(body("auto:0.9", wattroute=extension), given).quality == 0.9
    assert read_options(body()).quality is None


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": "llama"}, "only 'auto'"),
        ({"wattroute": 5}, "must be an object"),
        ({"wattroute": {"qualty": 0.9}}, "did you mean 'quality'"),
        ({"wattroute": {"zzz": 0.9}}, "known keys"),
        ({"wattroute": {"quality": "0.9"}}, "quality is '0.9'"),
        ({"wattroute": {"quality": True}}, "quality is True"),
        ({"wattroute": {"quality": float("nan")}}, "quality is nan"),
        ({"wattroute": {"min_probability": 1.5}}, "min_probability is 1.5"),
        ({"wattroute": {"confidence": 1}}, "confidence is 1: use"),
        ({"wattroute": {"confidence": 0.0}}, "confidence is 0.0: use"),
        ({"wattroute": {"confidence": "high"}}, "confidence is 'high': use"),
        ({"wattroute": {"uncertified": "maybe"}}, "uncertified is 'maybe': use 'reference' or"),
        ({"wattroute": {"uncertified": []}}, "uncertified is "),
        ({"wattroute": {"group": 5}}, "group must be text"),
        ({"wattroute": {"session": 5}}, "session must be text"),
        ({"wattroute": {"task": []}}, "task must be text"),
    ],
)
def test_bad_options_are_named(fields: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        read_options(body(**fields))
