from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.artifact import Artifact
from router.dial import Dial, PoolMeans, Setting, choose
from router.errors import ConfigError
from router.request import Request
from router.router import Router

SETTING = Setting(0.001, 0.0)
IDS = ("a", "b", "c", "d")
MEANS = PoolMeans((0.4, 0.5, 0.6, 0.9), (1.0, 2.0, 30.0, 400.0))


def request(
    setting: Setting | None = SETTING,
    floor: float | None = None,
    allowed: Any = None,
    means: PoolMeans = MEANS,
) -> Request:
    return Request.build(0.9, setting, floor, allowed, IDS, 3, means)


def ranked(asked: Request, quality: list[float], energy_j: list[float]) -> list[int]:
    return [
        int(j)
        for j in asked.rank(np.array([quality]), np.array([energy_j]), np.array([quality]))[0]
    ]


def test_others_follow_by_falling_bargain():
    # bargains: 0.49, 0.78, 0.20, 0.30
    assert ranked(request(), [0.5, 0.8, 0.3, 0.9], [10.0, 20.0, 100.0, 600.0]) == [1, 0, 3, 2]


def test_where_only_the_reference_keeps_the_bar_the_best_follow_it():
    order = ranked(request(None), [0.5, 0.8, 0.3, 0.1], [10.0, 20.0, 100.0, 600.0])
    assert order == [3, 1, 0, 2]


def test_a_fixed_model_is_followed_by_what_is_best_on_average():
    order = ranked(request(Setting(0.01, 1.0)), [0.0, 0.1, 1.0, 0.2], [9.0, 9.0, 1.0, 9.0])
    assert order == [1, 0, 2, 3]  # means at that price: 0.39, 0.48, 0.3, -3.1


def test_models_below_the_floor_come_last_the_fallback_first_among_them():
    asked = request(floor=0.6)
    assert ranked(asked, [0.5, 0.8, 0.3, 0.1], [10.0, 20.0, 100.0, 600.0]) == [1, 3, 0, 2]
    assert ranked(asked, [0.5, 0.55, 0.3, 0.1], [10.0, 20.0, 100.0, 600.0]) == [3, 1, 0, 2]


def test_pruned_models_come_last_but_before_those_below_the_floor():
    means = replace(MEANS, pruned=(1,))
    quality, energy_j = [0.5, 0.99, 0.3, 0.9], [10.0, 20.0, 100.0, 600.0]
    assert ranked(request(means=means), quality, energy_j) == [0, 3, 2, 1]
    assert ranked(request(means=means, floor=0.4), quality, energy_j) == [0, 3, 1, 2]


def test_a_pruned_model_is_the_only_one_that_reaches_the_floor():
    means = replace(MEANS, pruned=(1,))
    asked = request(means=means, floor=0.95)
    assert ranked(asked, [0.5, 0.99, 0.3, 0.9], [10.0, 20.0, 100.0, 600.0]) == [1, 3, 0, 2]


def test_a_model_is_not_pruned_for_one_that_is_not_allowed():
    means = PoolMeans((0.4, 0.3, 0.6, 0.9), (1.0, 2.0, 30.0, 400.0), pruned=(1,))
    quality, energy_j = [0.5, 0.99, 0.3, 0.9], [10.0, 20.0, 100.0, 600.0]
    assert ranked(request(means=means, allowed=["a", "b"]), quality, energy_j) == [0, 1]
    assert ranked(request(means=means, allowed=["c", "b"]), quality, energy_j) == [1, 2]


def test_models_that_are_not_allowed_are_not_tried():
    quality, energy_j = [0.5, 0.8, 0.3, 0.9], [10.0, 20.0, 100.0, 600.0]
    assert ranked(request(allowed={"a", "c"}), quality, energy_j) == [0, 2]
    assert ranked(request(allowed=("d",)), quality, energy_j) == [3]
    assert ranked(request(None, allowed=("a", "d")), quality, energy_j) == [3, 0]


def test_without_the_reference_the_best_on_average_stands_in_for_it():
    quality, energy_j = [0.9, 0.8, 0.3, 0.9], [10.0, 20.0, 100.0, 600.0]
    asked = request(None, allowed=["a", "b", "c"])
    assert ranked(asked, quality, energy_j) == [2, 0, 1]
    assert asked.reason(quality, energy_j, quality, 2, 2).startswith(
        "best allowed model on average"
    )
    assert asked.reason(quality, energy_j, quality, 3, 2) == "not among the models allowed"
    assert asked.warnings(quality) == (
        "the reference model is not allowed: a bar of 0.9 may not be kept",
    )
    strict = request(None, floor=0.95, allowed=["a", "b", "c"])
    assert ranked(strict, quality, energy_j) == [2, 0, 1]
    assert strict.warnings(quality)[1:] == ("no candidate reaches a probability of 0.95",)


def test_equal_means_leave_the_one_of_less_energy_as_stand_in():
    means = PoolMeans((0.6, 0.6, 0.6, 0.9), (7.0, 2.0, 30.0, 400.0))
    assert request(allowed=["a", "b", "c"], means=means).fallback == 1


@pytest.mark.parametrize(
    ("allowed", "message"),
    [
        ([], "allowed is empty: name at least one of a, b, c, d"),
        (["a", "z", 7], "allowed has 'z', 7, which the pool lacks: use a, b, c, d"),
        ("a", "allowed is 'a': put the one id in a list"),
        (b"a", "put the one id in a list"),
        (7, "allowed is 7: use a list of ids"),
        ([["a"]], r"allowed has \['a'\], which the pool lacks"),
        ([None], "allowed has None, which the pool lacks"),
    ],
)
def test_lists_of_models_that_cannot_be(allowed: Any, message: str):
    with pytest.raises(ConfigError, match=message):
        request(allowed=allowed)


def test_any_collection_of_ids_will_do():
    for allowed in (["a", "a"], {"a": 1}, frozenset("a"), iter("a"), np.array(["a"])):
        assert request(allowed=allowed).allowed == (True, False, False, False)


numbers = st.floats(0.0, 1.0)


@given(
    quality=st.lists(numbers, min_size=4, max_size=4),
    joules=st.lists(st.floats(0.01, 1e5), min_size=4, max_size=4),
    setting=st.none() | st.builds(Setting, st.floats(0.0, 10.0), st.sampled_from([0.0, 0.5, 1.0])),
    floor=st.none() | numbers,
    allowed=st.none() | st.sets(st.sampled_from(IDS), min_size=1),
    pruned=st.sets(st.sampled_from([0, 1, 2])),
)
def test_every_ranking_holds_together(
    quality: list[float],
    joules: list[float],
    setting: Setting | None,
    floor: float | None,
    allowed: set[str] | None,
    pruned: set[int],
):
    means = replace(MEANS, pruned=tuple(sorted(pruned)))
    asked = request(setting, floor, allowed, means)
    order = ranked(asked, quality, joules)
    names = [IDS[j] for j in order]
    assert sorted(names) == sorted(allowed or IDS)
    reach = [quality[j] >= (floor or 0.0) for j in order]
    assert reach == sorted(reach, reverse=True)
    if floor is not None and not any(reach):
        assert order[0] == asked.fallback
    if allowed is None and floor is None:
        if setting is None:
            assert order[0] == 3
        else:
            expected = choose(np.array([quality]), np.array([joules]), means, setting)
            assert order[0] == expected[0]


@pytest.mark.parametrize("floor", [None, 0.5])
@pytest.mark.parametrize("allowed", [None, ["a", "b", "d"], ["b"]])
@pytest.mark.parametrize(
    "setting", [None, SETTING, Setting(0.0005, 0.25), Setting(0.01, 1.0), Setting(0.0, 0.0)]
)
@pytest.mark.parametrize("novel", [False, True])
def test_a_batch_is_ranked_row_by_row(setting, allowed, floor, novel):
    rng = np.random.default_rng(3)
    # round numbers, so that there are ties
    quality, energy_j = rng.integers(0, 5, (50, 4)) / 4, rng.integers(1, 4, (50, 4)) * 100.0
    means = replace(MEANS, pruned=(1,))
    asked = replace(request(setting, floor, allowed, means), novel=novel)
    together = asked.rank(quality, energy_j, quality)
    alone = [
        asked.rank(quality[i : i + 1], energy_j[i : i + 1], quality[i : i + 1])[0]
        for i in range(50)
    ]
    assert np.array_equal(together, alone)
    assert asked.rank(quality[:0], energy_j[:0], quality[:0]).shape == (0, len(alone[0]))


def test_the_router_passes_the_list_on(small_router: Router, prompts: list[Any]):
    ids = [model.id for model in small_router.models]
    for decision in small_router.route_many(prompts, quality=0.9):
        assert decision.ranking[0] == decision.model
        assert sorted(decision.ranking) == sorted(ids)
    for decision in small_router.route_many(prompts, quality=0.9, allowed=["api/small"]):
        assert decision.ranking == ("api/small",)
        assert decision.to_dict()["ranking"] == ["api/small"]
        assert [candidate.model for candidate in decision.candidates] == ids
        assert decision.candidates[2].reason == "not among the models allowed"
        assert "the reference model is not allowed" in decision.warnings[0]
    with pytest.raises(ConfigError, match="allowed has 'small'"):
        small_router.route("Why?", allowed=["small"])


def test_trying_the_ranking_is_routing_without_the_models_that_failed(
    artifact: Artifact, encoder: Any, prompts: list[Any]
):
    dial = Dial((Setting(0.001, 0.0),), (1.0,), (0.5,), artifact.dial.means, 9)
    router = Router(replace(artifact, dial=dial), encoder=encoder)
    for prompt in prompts[:8]:
        ranking = router.route(prompt, quality=0.9).ranking
        for failed in (1, 2):
            again = router.route(prompt, quality=0.9, allowed=ranking[failed:])
            assert again.ranking == ranking[failed:]
