from __future__ import annotations

import json
import timeit
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from router.artifact import Artifact, artifact_digest, read_artifact, write_artifact
from router.calibration import Calibration, GroupEvidence
from router.clusters import PromptClusters
from router.dial import Setting, choose
from router.errors import ArtifactError, ConfigError
from router.features import FeatureExtractor
from router.floors import FloorEvidence
from router.promises import Promises
from router.router import Router

CAREFUL, CHEAP = Setting(0.0001, 0.0), Setting(0.003, 0.0)
ESTIMATED = Setting(0.003, 0.5)  # what the dial of the small router says of 0.8
ALL = GroupEvidence(
    name="",
    n=400,
    reference_quality=0.8,
    kept=(0.99, 0.9),
    energy=(0.6, 0.2),
    spread=(0.2, 0.3),
    steps=((2, 1, 0), (1, 1, 0)),
)


def make_calibration(**changes: Any) -> Calibration:
    counts = (((90, 90, 90),) * 3,)
    parts: dict[str, Any] = {
        "path": (CAREFUL, CHEAP),
        "confidences": (0.9, 0.95),
        "bars": (0.8, 0.98, 1.0),
        "groups": (ALL, replace(ALL, name="maths", n=70, steps=((0, 0, 0), (0, 0, 0)))),
        "floors": FloorEvidence(
            400, (0.7,), (CAREFUL, ESTIMATED, None), counts, counts, (((2, 1, 0),) * 3,)
        ),
        "method": "exact",
        "date": "2026-11-23",
        "data_digest": "ab",
    }
    return Calibration(**(parts | changes))


@pytest.fixture(scope="module")
def certified(artifact: Artifact) -> Artifact:
    return replace(artifact, calibration=make_calibration())


@pytest.fixture(scope="module")
def router(certified: Artifact, encoder: Any) -> Router:
    return Router(certified, encoder=encoder)


@pytest.mark.parametrize(("quality", "setting"), [(0.8, CHEAP), (0.9, CAREFUL), (0.98, CAREFUL)])
def test_a_certified_bar_is_served_by_its_setting(
    router: Router, certified: Artifact, prompts: list[Any], quality: float, setting: Setting
) -> None:
    decisions = router.route_many(prompts, quality=quality)
    energy_j = np.array([[c.energy_j.value_j for c in d.candidates] for d in decisions])
    expected = choose(router.score(prompts).quality, energy_j, certified.dial.means, setting)
    ids = [model.id for model in router.models]
    assert [decision.model for decision in decisions] == [ids[j] for j in expected]
    for decision in decisions:
        assert decision.certificate is not None
        assert decision.certificate.holds
        assert decision.certificate.setting == setting
        assert decision.price == setting.price
        assert decision.warnings == ()


def test_a_bar_that_is_not_certified_is_served_by_the_reference_and_says_so(
    router: Router, prompts: list[Any]
) -> None:
    for decision in router.route_many(prompts, quality=1.0):
        assert decision.model == decision.reference
        assert decision.reason == "reference model: nothing else is certified to keep the bar"
        assert decision.certificate is not None
        assert not decision.certificate.holds
        assert decision.warnings == (decision.certificate.reason,)
        assert decision.price is None


def test_the_estimate_serves_where_the_caller_wants_it_to(
    certified: Artifact, router: Router, encoder: Any
) -> None:
    for decision in (
        router.route("Why?", quality=0.98, confidence=0.99, uncertified="estimate"),
        Router(certified, encoder=encoder, uncertified="estimate").route(
            "Why?", quality=0.98, confidence=0.99
        ),
    ):
        assert decision.price == 0.0001  # what the dial says
        assert decision.certificate is not None
        assert not decision.certificate.holds
        assert decision.warnings == (decision.certificate.reason,)
    with_default = router.route("Why?", quality=0.98, confidence=0.99)
    assert with_default.model == with_default.reference


def test_a_request_can_ask_for_the_reference_of_a_router_without_calibration(
    artifact: Artifact, encoder: Any
) -> None:
    plain = Router(artifact, encoder=encoder)
    assert plain.route("Why?", quality=0.6).price == 1.0
    asked = plain.route("Why?", quality=0.6, uncertified="reference")
    assert asked.model == asked.reference
    strict = Router(artifact, encoder=encoder, uncertified="reference")
    assert strict.route("Why?", quality=0.6).model == "api/large"
    assert strict.route("Why?", quality=0.6, uncertified="estimate").price == 1.0


def test_more_confidence_never_takes_a_cheaper_setting(router: Router) -> None:
    assert router.route("Why?", quality=0.8, confidence=0.9).price == CHEAP.price
    assert router.route("Why?", quality=0.8, confidence=0.95).price == CAREFUL.price
    assert router.route("Why?", quality=0.8, confidence=0.96).price is None


def test_a_group_is_promised_by_itself(router: Router) -> None:
    assert router.route("Why?", quality=0.8).price == CHEAP.price
    found = router.route("Why?", quality=0.8, group="maths")
    assert found.certificate is not None
    assert found.certificate.group == "maths"
    assert found.model == found.reference
    unknown = router.route("Why?", quality=0.8, group="poems")
    assert unknown.certificate is not None
    assert "too few calibration prompts of group 'poems'" in unknown.certificate.reason


def test_a_group_where_nothing_takes_less_energy(artifact: Artifact, encoder: Any) -> None:
    dear = replace(ALL, name="maths", energy=(1.5, 1.2))
    calibration = make_calibration(groups=(ALL, dear))
    router = Router(replace(artifact, calibration=calibration), encoder=encoder)
    found = router.route("Why?", quality=0.8, group="maths")
    assert found.certificate is not None
    assert found.certificate.holds
    assert found.model == found.reference
    assert found.reason == "reference model: nothing certified takes less energy"


def test_a_floor_has_a_certificate_and_voids_that_of_the_bar(
    router: Router, prompts: list[Any]
) -> None:
    levels = {"api/small": True, "api/medium": True, "api/large": False}
    for decision in router.route_many(prompts, quality=0.8, min_probability=0.7):
        assert decision.certificate is not None
        assert not decision.certificate.holds
        assert "a floor under the probability changes the choices" in decision.warnings[-1]
        assert (decision.price, decision.shrinkage) == (ESTIMATED.price, ESTIMATED.shrinkage)
        assert decision.floor_certificate is not None
        assert decision.floor_certificate.holds == levels[decision.model]
        assert decision.floor_certificate.floor == 0.7
    other = router.route("Why?", min_probability=0.65)
    assert other.floor_certificate is not None
    assert "floors were calibrated at 0.7" in other.floor_certificate.reason
    assert router.route("Why?").floor_certificate is None


def test_a_floor_that_no_candidate_reaches_is_not_covered(
    artifact: Artifact, encoder: Any, prompts: list[Any]
) -> None:
    floors = replace(make_calibration().floors, levels=(0.9,), passed=(((2, 2, 2),) * 3,))
    calibration = make_calibration(floors=floors)
    router = Router(replace(artifact, calibration=calibration), encoder=encoder)
    seen = set()
    for decision in router.route_many(prompts, quality=0.8, min_probability=0.9):
        certificate = decision.floor_certificate
        assert certificate is not None
        assert certificate.holds == (decision.probability >= 0.9)
        if not certificate.holds:
            assert certificate.reason == (
                "floor not covered: no candidate reaches it on this prompt"
            )
            assert "no candidate reaches a probability of 0.9" in decision.warnings
        seen.add(certificate.holds)
    assert seen == {True, False}


def test_the_floor_looks_at_probabilities_and_bargains_at_quality(
    router: Router, prompts: list[Any]
) -> None:
    scores = router.score(prompts)
    assert np.abs(scores.quality - scores.probability).max() > 0.01
    decisions = router.route_many(prompts, quality=0.8, min_probability=0.7)
    for decision, probability in zip(decisions, scores.probability.tolist(), strict=True):
        assert [c.probability for c in decision.candidates] == pytest.approx(probability)
        if max(probability) >= 0.7:
            assert decision.probability >= 0.7


def test_a_promise_does_not_cover_a_choice_among_some_models(router: Router) -> None:
    found = router.route("Why?", quality=0.8, allowed=["api/small", "api/large"])
    assert found.certificate is not None
    assert not found.certificate.holds
    assert found.warnings == ("bar not covered: not every model of the pool is allowed",)
    floor = router.route("Why?", min_probability=0.7, allowed=["api/small", "api/large"])
    assert floor.floor_certificate is not None
    assert floor.floor_certificate.reason == (
        "floor not covered: not every model of the pool is allowed"
    )
    everything = [model.id for model in router.models]
    assert router.route("Why?", quality=0.8, allowed=everything).certificate == (
        router.route("Why?", quality=0.8).certificate
    )


def test_a_decision_with_certificates_is_json(router: Router) -> None:
    plain = router.route("Why?", quality=0.8, min_probability=0.7).to_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["certificate"]["setting"] == {"price": CHEAP.price, "shrinkage": 0.0}
    assert plain["floor_certificate"]["n"] == 90


@pytest.mark.parametrize("wrong", ["", "cheapest", "Reference", 1, True])
def test_unknown_ways_to_serve_what_is_not_certified(
    router: Router, certified: Artifact, encoder: Any, wrong: Any
) -> None:
    with pytest.raises(ConfigError, match="uncertified is"):
        router.route("Why?", uncertified=wrong)
    with pytest.raises(ConfigError, match="uncertified is"):
        Router(certified, encoder=encoder, uncertified=wrong)


@pytest.mark.parametrize("wrong", [0.0, 1.0, 90, float("nan"), "0.9", None, True])
def test_confidences_out_of_range_or_of_another_type(router: Router, wrong: Any) -> None:
    with pytest.raises(ConfigError, match=r"^confidence is "):
        router.route("Why?", confidence=wrong)
    with pytest.raises(ConfigError, match=r"^confidence is "):
        router.route_many([], confidence=wrong)


@pytest.mark.parametrize("wrong", [1, [], b"maths", {"a": 1}])
def test_groups_of_another_type(router: Router, wrong: Any) -> None:
    with pytest.raises(ConfigError, match=r"^group is "):
        router.route("Why?", group=wrong)


def test_discovered_kinds_are_found_for_each_prompt(
    artifact: Artifact, extractor: FeatureExtractor, encoder: Any, prompts: list[Any]
) -> None:
    scaled = artifact.model.scaler.dense(extractor.extract(prompts))
    scaled = scaled[:, : artifact.model.scaler.mean.size]
    clusters = PromptClusters(scaled[[3, 9]])
    groups = (ALL, replace(ALL, name="cluster 2", n=70, steps=((0, 0, 0), (0, 0, 0))))
    calibration = make_calibration(groups=groups, clusters=clusters)
    router = Router(replace(artifact, calibration=calibration), encoder=encoder)
    nearest = np.array([((scaled - centre) ** 2).sum(axis=1) for centre in scaled[[3, 9]]])
    decisions = router.route_many(prompts, quality=0.8, group="auto")
    assert len(decisions) == len(prompts)
    seen = set()
    for i, decision in enumerate(decisions):
        name = f"cluster {nearest[:, i].argmin() + 1}"
        assert decision.certificate is not None
        assert decision.certificate.group == name
        assert decision == router.route_many([prompts[i]], quality=0.8, group="auto")[0]
        seen.add(name)
    assert seen == {"cluster 1", "cluster 2"}
    assert router.route_many([], group="auto") == []


def test_kinds_that_were_not_discovered_cannot_be_found(
    router: Router, artifact: Artifact, encoder: Any
) -> None:
    with pytest.raises(ConfigError, match="name one of maths"):
        router.route("Why?", group="auto")
    with pytest.raises(ConfigError, match="leave it out"):
        Router(artifact, encoder=encoder).route("Why?", group="auto")


def test_a_calibration_is_stored_with_the_router(
    certified: Artifact, router: Router, encoder: Any, prompts: list[Any], tmp_path: Path
) -> None:
    write_artifact(certified, tmp_path / "router", "card")
    assert read_artifact(tmp_path / "router").calibration == certified.calibration
    loaded = Router.load(tmp_path / "router", encoder=encoder)
    assert loaded.route_many(prompts, quality=0.8) == router.route_many(prompts, quality=0.8)
    digest = artifact_digest(tmp_path / "router")
    assert len(digest) == 64
    write_artifact(replace(certified, calibration=None), tmp_path / "other", "card")
    assert artifact_digest(tmp_path / "other") != digest


def test_a_calibration_of_another_pool_is_refused(certified: Artifact, tmp_path: Path) -> None:
    counts = (((90, 90),) * 3,)
    floors = FloorEvidence(
        400, (0.7,), (CAREFUL, ESTIMATED, None), counts, counts, (((2, 1),) * 3,)
    )
    other = replace(certified, calibration=make_calibration(floors=floors))
    write_artifact(other, tmp_path / "router", "card")
    with pytest.raises(ArtifactError, match="not all for 3 models"):
        read_artifact(tmp_path / "router")


def test_a_digest_needs_a_router(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no router"):
        artifact_digest(tmp_path)


def test_promises_are_looked_up_in_microseconds(
    certified: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    promises = Promises(certified.calibration, certified.dial)
    calls: list[Any] = []
    original: Callable[..., Any] = Calibration.certificate

    def counting(self: Calibration, *arguments: Any) -> Any:
        calls.append(arguments)
        return original(self, *arguments)

    monkeypatch.setattr(Calibration, "certificate", counting)
    first = promises.promise(0.98, 0.9, None)
    spent_s = min(timeit.repeat(lambda: promises.promise(0.98, 0.9, None), number=1000, repeat=5))
    assert promises.promise(0.98, 0.9, None) is first
    assert len(calls) == 1
    assert spent_s < 0.02  # 20 microseconds each, on any machine


def test_no_flood_of_bars_fills_the_memory(certified: Artifact) -> None:
    promises = Promises(certified.calibration, certified.dial)
    for i in range(3000):
        promises.promise((i + 1) / 3001, 0.9, None)
    assert len(promises._found) <= 1024


@pytest.mark.parametrize("uncertified", ["Reference", "", 1, True, ["estimate"], {}])
def test_what_serves_otherwise_is_one_of_two(router: Router, uncertified: Any) -> None:
    with pytest.raises(ConfigError, match="use 'reference' or 'estimate'"):
        router.route("Add 1 to 2.", uncertified=uncertified)


@pytest.mark.parametrize("group", [" ", "MATHS", "maths ", "\x00", "a" * 5_000])
def test_a_name_that_is_none_of_a_kind_promises_nothing(router: Router, group: str) -> None:
    decision = router.route("Add 1 to 2.", quality=0.8, group=group)
    assert decision.certificate is not None
    assert not decision.certificate.holds
    assert decision.model == decision.reference
    assert "there are enough of 'maths'" in decision.certificate.reason


def test_no_name_of_a_kind_is_all_traffic(router: Router) -> None:
    named, plain = (router.route("Add 1 to 2.", quality=0.8, group=g) for g in ("", None))
    assert named == plain


@pytest.mark.parametrize("floor", [0.0, 0.69, 0.7000001, 1.0])
def test_floors_in_between_are_kept_and_not_certified(router: Router, floor: float) -> None:
    decision = router.route("Add 1 to 2.", quality=0.8, min_probability=floor)
    assert decision.probability >= floor or decision.model == decision.reference
    assert decision.floor_certificate is not None
    assert not decision.floor_certificate.holds
    assert "floors were calibrated at 0.7" in decision.floor_certificate.reason
    assert not decision.certificate.holds
