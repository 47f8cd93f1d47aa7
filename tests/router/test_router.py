from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import router
from router.artifact import Artifact, write_artifact
from router.decision import Decision
from router.dial import Dial, PoolMeans, Setting, choose
from router.errors import ArtifactError, ConfigError, FeatureMismatchError
from router.features import FeatureSpec
from router.messages import prompt_text
from router.router import Router

BARS = (0.3, 0.6, 0.8, 0.9, 0.98, 1.0)
UNPROMISED = ("not certified: this router was never calibrated",)


def chosen(decision: Decision) -> Any:
    (found,) = [candidate for candidate in decision.candidates if candidate.chosen]
    return found


def probabilities(decision: Decision) -> dict[str, float]:
    return {candidate.model: candidate.probability for candidate in decision.candidates}


def test_the_pool_marks_the_reference(small_router: Router):
    assert [model.id for model in small_router.models] == ["api/small", "api/medium", "api/large"]
    assert [model.run_name for model in small_router.models] == ["small", "medium", "large"]
    assert [model.reference for model in small_router.models] == [False, False, True]
    assert small_router.reference == "api/large"


@pytest.mark.parametrize("quality", BARS)
def test_one_prompt_is_routed_as_in_a_batch(
    small_router: Router, prompts: list[Any], quality: float
):
    batch = small_router.route_many(prompts, quality=quality)
    assert len(batch) == len(prompts)
    for prompt, together in zip(prompts, batch, strict=True):
        alone = small_router.route(prompt, quality=quality)
        assert alone.model == together.model
        assert (alone.price, alone.shrinkage) == (together.price, together.shrinkage)
        assert probabilities(alone) == pytest.approx(probabilities(together), abs=1e-5)
        for one, other in zip(alone.candidates, together.candidates, strict=True):
            assert one.energy_j.value_j == pytest.approx(other.energy_j.value_j, rel=1e-5)
            assert one.completion_tokens == pytest.approx(other.completion_tokens, rel=1e-5)


@pytest.mark.parametrize("quality", BARS)
@pytest.mark.parametrize("floor", [None, 0.0, 0.7, 0.95, 1.0])
def test_every_decision_holds_together(
    small_router: Router, prompts: list[Any], quality: float, floor: float | None
):
    ids = [model.id for model in small_router.models]
    for decision in small_router.route_many(prompts, quality=quality, min_probability=floor):
        assert [candidate.model for candidate in decision.candidates] == ids
        best = chosen(decision)
        assert (decision.model, decision.probability) == (best.model, best.probability)
        assert (decision.energy_j, decision.reason) == (best.energy_j, best.reason)
        assert decision.quality == quality
        assert decision.reference == "api/large"
        assert decision.prompt_tokens >= 1
        for candidate in decision.candidates:
            energy = candidate.energy_j
            assert 0 < energy.low_j <= energy.value_j <= energy.high_j
            assert 0 <= candidate.probability <= 1
            assert candidate.completion_tokens >= 1
            assert candidate.reason
        assert [c.energy_j.basis for c in decision.candidates] == [
            "estimated",  # the joules are measured, the length is not
            "estimated",
            "assumed",
        ]
        plain = decision.to_dict()
        assert json.loads(json.dumps(plain, allow_nan=False)) == plain


@pytest.mark.parametrize(
    ("quality", "setting"),
    [
        (0.3, Setting(1.0, 1.0)),
        (0.6, Setting(1.0, 0.0)),
        (0.8, Setting(0.003, 0.5)),
        (0.9, Setting(0.001, 0.0)),
        (0.98, Setting(0.0001, 0.0)),
    ],
)
def test_the_choice_is_the_best_bargain_at_the_setting_of_the_bar(
    small_router: Router, artifact: Artifact, prompts: list[Any], quality: float, setting: Setting
):
    decisions = small_router.route_many(prompts, quality=quality)
    energy_j = np.array([[c.energy_j.value_j for c in d.candidates] for d in decisions])
    scores = small_router.score(prompts)
    expected = choose(scores.quality, energy_j, artifact.dial.means, setting)
    ids = [model.id for model in small_router.models]
    assert [decision.model for decision in decisions] == [ids[j] for j in expected]
    for decision in decisions:
        assert (decision.price, decision.shrinkage) == (setting.price, setting.shrinkage)
        assert decision.warnings == UNPROMISED
        fixed = setting.shrinkage == 1.0
        assert decision.reason.startswith("fixed model" if fixed else "best bargain")


def test_a_fixed_model_is_the_same_for_every_prompt(small_router: Router, prompts: list[Any]):
    for decision in small_router.route_many(prompts, quality=0.3):
        assert decision.model == "api/small"
        others = [c.reason for c in decision.candidates if not c.chosen]
        assert others == ["not the fixed model of this bar"] * 2


def test_a_higher_bar_never_costs_less(small_router: Router, prompts: list[Any]):
    spent = [
        sum(d.energy_j.value_j for d in small_router.route_many(prompts, quality=quality))
        for quality in BARS
    ]
    assert spent == sorted(spent)
    assert spent[0] < spent[-1]


def test_the_energy_of_a_request(small_router: Router):
    decision = small_router.route("What is 12 + 34?")
    small = decision.candidates[0]
    prompt_j = decision.prompt_tokens * 0.1 / 4
    answer_j = small.completion_tokens * 0.1
    assert small.energy_j.value_j == pytest.approx(prompt_j + answer_j)
    assert small.energy_j.low_j == pytest.approx((prompt_j + answer_j * 0.5) * 0.5)
    assert small.energy_j.high_j == pytest.approx((prompt_j + answer_j * 1.5) * 2.0)


def test_quantiles_on_one_side_still_give_an_interval(artifact: Artifact, encoder: Any):
    models = tuple(replace(m, low_factor=1.0, high_factor=1.0) for m in artifact.pool.models)
    narrow = replace(
        artifact,
        pool=replace(artifact.pool, models=models),
        token_low=(1.2, 1.2, 1.2),
        token_high=(0.8, 0.8, 0.8),
    )
    energy = Router(narrow, encoder=encoder).route("Why?").energy_j
    assert energy.low_j == energy.value_j == energy.high_j


def test_a_bar_that_only_the_reference_keeps(small_router: Router, prompts: list[Any]):
    for decision in small_router.route_many(prompts, quality=1.0):
        assert decision.model == "api/large"
        assert decision.price is None
        assert decision.shrinkage is None
        assert decision.reason == "reference model: nothing else keeps the bar"
        assert decision.warnings == UNPROMISED
        others = [c.reason for c in decision.candidates if not c.chosen]
        assert others == ["does not keep the bar"] * 2


@pytest.mark.parametrize("quality", BARS)
def test_a_floor_of_zero_changes_nothing(small_router: Router, prompts: list[Any], quality: float):
    plain = small_router.route_many(prompts, quality=quality)
    assert small_router.route_many(prompts, quality=quality, min_probability=0) == plain


@pytest.mark.parametrize("quality", BARS)
@pytest.mark.parametrize("floor", [0.3, 0.5, 0.7, 0.8, 0.9])
def test_the_floor_is_strict_for_each_prompt(
    small_router: Router, prompts: list[Any], quality: float, floor: float
):
    for decision in small_router.route_many(prompts, quality=quality, min_probability=floor):
        reach = {m for m, p in probabilities(decision).items() if p >= floor}
        if reach:
            assert decision.model in reach
            assert decision.probability >= floor
            assert not any("no candidate" in warning for warning in decision.warnings)
        else:
            assert decision.model == decision.reference
        for candidate in decision.candidates:
            if not candidate.chosen and candidate.model not in reach:
                assert candidate.reason == f"probability below {floor:g}"


def test_where_none_reaches_the_floor_the_reference_answers(
    small_router: Router, prompts: list[Any]
):
    for decision in small_router.route_many(prompts, quality=0.3, min_probability=1.0):
        assert decision.model == "api/large"
        assert decision.reason == "reference model: no candidate reaches probability 1"
        assert decision.warnings == ("no candidate reaches a probability of 1", *UNPROMISED)


def test_a_floor_that_the_reference_misses(artifact: Artifact, encoder: Any, prompts: list[Any]):
    weak = Router(replace(artifact, reference=0), encoder=encoder)
    seen = set()
    for decision in weak.route_many(prompts, quality=1.0, min_probability=0.7):
        reach = {m: p for m, p in probabilities(decision).items() if p >= 0.7}
        if "api/small" in reach or not reach:
            assert decision.model == "api/small"
        else:
            assert decision.probability == max(reach.values())
            assert decision.reason == "highest probability: the reference model's is below 0.7"
            assert "no higher probability" in {c.reason for c in decision.candidates} or (
                len(reach) == 1
            )
        seen.add(decision.reason.partition(":")[0])
    assert seen >= {"reference model", "highest probability"}


def test_reasons_say_what_the_others_lack(artifact: Artifact, encoder: Any, prompts: list[Any]):
    patterns = {
        "more energy, no better": lambda gain, cost: gain <= 0 and cost >= 0,
        "is not worth": lambda gain, cost: gain > 0 and cost > 0,
        "does not make up for": lambda gain, cost: gain <= 0 and cost < 0,
        "worse on average": lambda gain, cost: gain > 0 and cost <= 0,
    }
    seen = set()
    means = PoolMeans((0.1, 0.9, 0.5), artifact.dial.means.energy_j)
    average = replace(artifact, dial=Dial((Setting(0.0, 0.5),), (1.0,), (0.5,), means, 9))
    for decision in (
        *Router(artifact, encoder=encoder).route_many(prompts, quality=0.98),
        *Router(average, encoder=encoder).route_many(prompts, quality=0.98),
    ):
        best = chosen(decision)
        for candidate in decision.candidates:
            if candidate.chosen:
                continue
            gain = candidate.probability - best.probability
            cost = candidate.energy_j.value_j - best.energy_j.value_j
            (pattern,) = [text for text in patterns if text in candidate.reason]
            assert patterns[pattern](gain, cost), candidate
            seen.add(pattern)
    assert seen == set(patterns)


@pytest.mark.parametrize(
    "quality", [0, -0.5, 1.01, 98, float("nan"), float("inf"), True, "0.9", b"1", None, [0.9], {}]
)
def test_quality_out_of_range_or_of_another_type(small_router: Router, quality: Any):
    with pytest.raises(ConfigError, match=r"^quality is "):
        small_router.route("Why?", quality=quality)
    with pytest.raises(ConfigError, match=r"^quality is "):
        small_router.route_many([], quality=quality)


@pytest.mark.parametrize("floor", [-0.01, 1.01, 70, float("nan"), False, "0.7", [], 10**400])
def test_min_probability_out_of_range_or_of_another_type(small_router: Router, floor: Any):
    with pytest.raises(ConfigError, match=r"^min_probability is "):
        small_router.route("Why?", min_probability=floor)


@pytest.mark.parametrize(
    "quality", [np.float32(0.5), np.float64(0.5), np.array(0.5), Decimal(".5")]
)
def test_numbers_of_other_libraries(small_router: Router, quality: Any):
    decision = small_router.route("Why?", quality=quality)
    assert type(decision.quality) is float
    assert decision == small_router.route("Why?", quality=0.5)


@pytest.mark.parametrize(
    ("prompt", "reason"),
    [
        (None, "must be a string or a list of chat messages"),
        (7, "must be a string or a list of chat messages"),
        (b"bytes", "must be a string or a list of chat messages"),
        ({"role": "user", "content": "Hi"}, "must be a string or a list of chat messages"),
        ([], "no messages"),
        (["Hi"], "must be a mapping"),
        ([{"content": "Hi"}], "'role'"),
        ([{"role": "wizard", "content": "Hi"}], "'wizard'"),
        ([{"role": "user", "content": 7}], "'content'"),
        ([{"role": "user", "content": [{"type": "text"}]}], "'text'"),
        ([{"role": "user", "content": "Hi", "tool_calls": 3}], "tool_calls"),
    ],
)
def test_malformed_prompts(small_router: Router, prompt: Any, reason: str):
    with pytest.raises(ConfigError, match=reason) as caught:
        small_router.route(prompt)
    assert not str(caught.value).startswith("prompts")
    with pytest.raises(ConfigError, match=r"prompts\[1\]"):
        small_router.route_many(["Hi", prompt])


@pytest.mark.parametrize("prompts", ["", "Why?", b"", b"Why?", None, 7, {}, {"role": "user"}])
def test_one_prompt_in_the_place_of_many(small_router: Router, prompts: Any):
    with pytest.raises(ConfigError, match="put the one prompt in a list"):
        small_router.route_many(prompts)


def test_messages_in_the_place_of_many_prompts(small_router: Router):
    with pytest.raises(ConfigError, match="put the one prompt in a list"):
        small_router.route_many([{"role": "user", "content": "Hi"}])


def test_many_prompts_come_as_any_iterable(small_router: Router):
    texts = ["Why?", "What is 12 + 34?"]
    expected = small_router.route_many(texts)
    assert small_router.route_many(tuple(texts)) == expected
    assert small_router.route_many(np.array(texts)) == expected  # type: ignore[arg-type]
    assert small_router.route_many(text for text in texts) == expected  # type: ignore[arg-type]


def test_no_prompts(small_router: Router):
    assert small_router.route_many([]) == []
    assert small_router.route_many([], min_probability=0.5) == []


def test_an_empty_prompt(small_router: Router):
    assert small_router.route("").prompt_tokens == 1.0
    assert small_router.route([{"role": "user", "content": None}]) == small_router.route("")


def test_a_prompt_of_ten_megabytes(small_router: Router):
    text = "All work and no play makes Jack a dull boy.\n" * 233_000
    decision = small_router.route(text)
    assert decision.prompt_tokens > 1e5
    assert small_router.route([{"role": "user", "content": text}]) == decision


@given(st.text(max_size=200), st.sampled_from(BARS))
def test_any_text_is_routed(small_router: Router, text: str, quality: float):
    decision = small_router.route(text, quality=quality)
    assert sum(candidate.chosen for candidate in decision.candidates) == 1
    assert decision.to_dict() == small_router.route(text, quality=quality).to_dict()


def test_embeddings_take_the_place_of_the_encoder(small_router: Router, encoder: Any):
    texts = ["Why?", "What is 12 + 34?"]
    rows = encoder.encode([prompt_text(text).text for text in texts])
    expected = small_router.route_many(texts)
    assert small_router.route_many(texts, embeddings=rows) == expected
    assert small_router.route("Why?", embedding=rows[0].tolist()) == small_router.route("Why?")
    other = small_router.route("Why?", embedding=-rows[0])
    assert probabilities(other) != probabilities(small_router.route("Why?"))


@pytest.mark.parametrize(
    "embedding",
    [[1.0], [[1.0, 0.0, 0.0, 0.0]], 1.0, "abcd", ["a", "b", "c", "d"], [1.0, 0.0, np.nan, 0.0]],
)
def test_embeddings_that_do_not_fit(small_router: Router, embedding: Any):
    with pytest.raises(ConfigError, match="embeddings"):
        small_router.route("Why?", embedding=embedding)
    with pytest.raises(ConfigError, match="embeddings"):
        small_router.route_many(["Why?", "How?"], embeddings=[embedding])


def test_a_router_of_precomputed_embeddings(make_artifact: Any, model: Any):
    from router.features import FeatureExtractor

    spec = FeatureSpec(encoder="precomputed:4", max_chars=400, n_buckets=64)
    extractor = FeatureExtractor(spec)
    golden = extractor.extract(["Why?"], np.zeros((1, 4), np.float32))
    quality = model.score(golden, np.array([4.0])).quality[0]
    artifact = make_artifact(
        features=spec,
        fingerprint=extractor.fingerprint(),
        golden=(("Why?", tuple(quality.tolist())),),
    )
    small = Router(artifact)
    assert small.route("Why?", embedding=[0.0] * 4).model
    with pytest.raises(ConfigError, match="embeddings"):
        small.route("Why?")


def test_features_that_are_not_those_of_training(artifact: Artifact, encoder: Any, stored: Path):
    changed = replace(artifact, fingerprint="0" * 64)
    with pytest.raises(FeatureMismatchError, match="train it again with this release"):
        Router(changed, encoder=encoder)

    class Other(type(encoder)):  # type: ignore[misc]
        name = "other"

    with pytest.raises(FeatureMismatchError):
        Router.load(stored, encoder=Other())


def test_arrays_for_other_features(artifact: Artifact, encoder: Any):
    from router.features import FeatureExtractor

    spec = FeatureSpec(encoder="letters", max_chars=400, n_buckets=128)
    changed = replace(
        artifact, features=spec, fingerprint=FeatureExtractor(spec, encoder).fingerprint()
    )
    with pytest.raises(ArtifactError, match=r"128 features.*256: train it again"):
        Router(changed, encoder=encoder)


@pytest.mark.parametrize("value", [0.01, -0.01, float("nan")])
def test_altered_golden_scores(artifact: Artifact, encoder: Any, value: float):
    prompt, scores = artifact.golden[1]
    altered = (artifact.golden[0], (prompt, (scores[0] + value, *scores[1:])))
    with pytest.raises(ArtifactError, match=r"golden prompts.*train it again"):
        Router(replace(artifact, golden=altered), encoder=encoder)


def test_altered_weights_do_not_score_the_golden_prompts(artifact: Artifact, encoder: Any):
    model = replace(artifact.model, intercept=artifact.model.intercept + np.float32(0.1))
    with pytest.raises(ArtifactError, match="golden"):
        Router(replace(artifact, model=model), encoder=encoder)


def test_a_router_without_golden_prompts(artifact: Artifact, encoder: Any):
    assert Router(replace(artifact, golden=()), encoder=encoder).route("Why?").model


def test_a_stored_router_decides_as_the_one_in_memory(
    stored: Path, small_router: Router, encoder: Any, prompts: list[Any]
):
    loaded = Router.load(stored, encoder=encoder)
    assert loaded.route_many(prompts) == small_router.route_many(prompts)
    assert loaded.models == small_router.models


def test_a_price_of_zero_is_a_price(artifact: Artifact, encoder: Any):
    free = replace(
        artifact, dial=Dial((Setting(0.0, 0.0),), (1.0,), (0.9,), artifact.dial.means, 9)
    )
    decision = Router(free, encoder=encoder).route("Why?", quality=1.0)
    assert decision.price == 0.0
    assert decision.warnings == UNPROMISED
    assert decision.probability == max(probabilities(decision).values())


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a folder for the one that the package is in."""
    package = tmp_path / "site" / "router"
    package.mkdir(parents=True)
    monkeypatch.setattr("router.router.files", lambda name: package)
    empty = tmp_path / "elsewhere"
    empty.mkdir()
    monkeypatch.chdir(empty)
    return package


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("path", [None, "models/default", Path("./models/default/")])
def test_the_bundled_router_is_found(
    package: Path, artifact: Artifact, encoder: Any, inside: bool, path: Any
):
    root = package if inside else package.parent
    write_artifact(artifact, root / "models" / "default", "")
    assert Router.load(path, encoder=encoder).reference == "api/large"


def test_a_folder_in_the_place_of_the_bundled_router_comes_first(
    package: Path, artifact: Artifact, encoder: Any
):
    write_artifact(artifact, package / "models" / "default", "")
    write_artifact(replace(artifact, reference=1), Path("models/default"), "")
    assert Router.load("models/default", encoder=encoder).reference == "api/medium"
    assert Router.load(encoder=encoder).reference == "api/large"


@pytest.mark.parametrize("path", [None, "models/default"])
def test_a_package_without_a_bundled_router(package: Path, path: Any):
    (package.parent / "models" / "default").mkdir(parents=True)
    with pytest.raises(ArtifactError, match="no bundled router: reinstall wattroute, or train"):
        Router.load(path)


@pytest.mark.parametrize("path", ["", "nowhere", "models/other", Path("default")])
def test_a_router_that_is_not_there(package: Path, artifact: Artifact, path: Any):
    write_artifact(artifact, package / "models" / "default", "")
    with pytest.raises(ArtifactError, match=r"manifest\.json is missing: give the folder"):
        Router.load(path)


def test_the_package_loads_nothing_until_it_is_used():
    code = (
        "import sys, router\nprint('numpy' in sys.modules, dir(router))\n"
        "from router import Router\nprint('numpy' in sys.modules, Router.__module__)"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert shown[0].startswith("False [")
    assert "'Router'" in shown[0]
    assert shown[1] == "True router.router"


def test_the_public_names():
    assert len(router.__all__) < 10
    assert set(router.__all__) == set(router._MODULES)
    for name in router.__all__:
        assert getattr(router, name).__name__ == name
    assert set(router.__all__) <= set(dir(router))
    with pytest.raises(AttributeError, match="no attribute 'Rooter'"):
        router.Rooter  # noqa: B018
    with pytest.raises(ImportError):
        from router import Rooter  # noqa: F401
