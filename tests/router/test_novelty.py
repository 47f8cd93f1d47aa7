from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.artifact import Artifact, read_artifact, write_artifact
from router.errors import ArtifactError
from router.features import FeatureExtractor
from router.neighbourhood import Neighbourhood, PromptSpace
from router.novelty import NoveltyGuard, traffic_p_value
from router.router import Router

KNOWN = [f"What is {i} + {3 * i}, less {i % 7}?" for i in range(30)]
SIMILAR = [f"What is {i} + {i + 2}, less {i % 3}?" for i in range(40, 60)]
NOVEL = ["Write a poem about frost", "def f(x):\n    return {x: 1}", "Où est la gare ? " * 9]


@pytest.fixture(scope="module")
def guard(extractor: FeatureExtractor) -> NoveltyGuard:
    """Knows sums; trusts the medium model up to a bar of 0.8."""
    features = extractor.extract(KNOWN)
    n_dense = features.dense.shape[1]
    scale = np.full(n_dense, 1.0, np.float32)
    scale[: features.n_embedding] = 0.0  # the letters of a hash mean nothing
    space = PromptSpace(
        centre=features.dense.mean(axis=0),
        scale=scale,
        limit=np.full(n_dense, 4.0, np.float32),
        sketch_centre=np.zeros(64, np.float32),
    )
    coordinates = space.coordinates(features)
    projection = np.eye(n_dense + 64, dtype=np.float32)
    neighbourhood = Neighbourhood(
        space,
        projection,
        bank=(coordinates @ projection).astype(np.float16).astype(np.float32),
        offset=np.einsum("nd,nd->n", coordinates, coordinates),
        radius=np.full(len(KNOWN), 0.1, np.float32),
        n_neighbours=2,
    )
    usual = neighbourhood.score(extractor.extract(SIMILAR)).max()
    scores = np.linspace(0.1, 1.1, 49) * usual
    return NoveltyGuard(neighbourhood, scores, np.arange(1, 50) / 50, 0.98, (0.0, 0.8, 1.0))


@pytest.fixture(scope="module")
def guarded(artifact: Artifact, encoder: Any, guard: NoveltyGuard) -> Router:
    return Router(replace(artifact, guard=guard), encoder=encoder)


def test_novel_prompts_stand_out(guard: NoveltyGuard, extractor: FeatureExtractor):
    similar, novel = (guard.novelty(extractor.extract(texts)) for texts in (SIMILAR, NOVEL))
    assert (similar < guard.level).all()
    assert (novel >= guard.level).all()
    assert guard.false_alarms == pytest.approx(0.02)


def test_novelty_is_the_share_of_held_out_scores_below(
    guard: NoveltyGuard, extractor: FeatureExtractor
):
    features = extractor.extract([*KNOWN, *SIMILAR, *NOVEL, ""])
    found = guard.novelty(features)
    scores = guard.neighbourhood.score(features)
    below = [(guard.scores < score).sum() / 50 for score in scores]
    assert found.tolist() == pytest.approx(below)
    assert found.max() == 0.98
    assert found.min() == 0.0  # those of the bank itself


def test_equal_scores_are_no_evidence(guard: NoveltyGuard, extractor: FeatureExtractor):
    features = extractor.extract(NOVEL[:1])
    score = guard.neighbourhood.score(features)[0]
    tied = replace(guard, scores=np.full(49, score))
    assert tied.novelty(features)[0] == 0.0
    assert replace(tied, scores=np.full(49, score * 0.99)).novelty(features)[0] == 0.98


@pytest.mark.parametrize(
    ("bar", "allowed", "column"),
    [
        (0.5, (True, True, True), 1),
        (0.8, (True, True, True), 1),
        (0.81, (True, True, True), 2),
        (0.5, (True, False, True), 2),
        (0.5, (True, False, False), None),
        (1.0, (True, True, True), 2),
    ],
)
def test_the_stand_in_is_the_least_model_that_is_trusted(
    guard: NoveltyGuard, bar: float, allowed: tuple[bool, ...], column: int | None
):
    assert guard.stand_in(bar, (1.0, 10.0, 100.0), allowed) == column


def test_energy_decides_among_the_trusted(guard: NoveltyGuard):
    equal = replace(guard, reach=(1.0, 1.0, 1.0))
    assert equal.stand_in(0.9, (30.0, 10.0, 20.0), (True, True, True)) == 1


@pytest.mark.parametrize(("quality", "stand_in"), [(0.6, "api/medium"), (0.9, "api/large")])
def test_a_novel_prompt_goes_to_the_stand_in(guarded: Router, quality: float, stand_in: str):
    for prompt in NOVEL:
        decision = guarded.route(prompt, quality=quality)
        assert decision.novelty == 0.98
        assert decision.model == decision.ranking[0] == stand_in
        # the others by their mean quality on the training prompts
        others = [m for m in ("api/large", "api/medium", "api/small") if m != stand_in]
        assert list(decision.ranking[1:]) == others
        assert decision.price is None
        assert decision.shrinkage is None
        assert decision.reason.endswith("the prompt is unlike those of training")
        assert decision.reason.startswith("fixed" if stand_in == "api/medium" else "reference")
        rest = {c.reason for c in decision.candidates if not c.chosen}
        assert rest == {"not the model for prompts unlike those of training"}
        (warning,) = [text for text in decision.warnings if "unlike" in text]
        assert warning == "the prompt is unlike those of training: expectations are guesses"
        assert decision.to_dict()["novelty"] == 0.98


@pytest.mark.parametrize("quality", [0.3, 0.6, 0.9, 1.0])
def test_prompts_like_those_of_training_are_routed_as_ever(
    guarded: Router, small_router: Router, quality: float
):
    for found, plain in zip(
        guarded.route_many(SIMILAR, quality=quality),
        small_router.route_many(SIMILAR, quality=quality),
        strict=True,
    ):
        assert found.novelty is not None
        assert plain.novelty is None
        assert replace(found, novelty=None) == plain


def test_a_mixed_batch_is_routed_prompt_by_prompt(guarded: Router):
    mixed = [SIMILAR[0], NOVEL[0], SIMILAR[1], NOVEL[1], NOVEL[2]]
    for prompt, together in zip(mixed, guarded.route_many(mixed, quality=0.6), strict=True):
        alone = guarded.route(prompt, quality=0.6)
        assert (alone.model, alone.ranking) == (together.model, together.ranking)
        assert alone.novelty == pytest.approx(together.novelty, abs=0.021)
        assert alone.warnings == together.warnings


def test_the_guard_can_be_left_out(guarded: Router, small_router: Router):
    for prompt in NOVEL:
        decision = guarded.route(prompt, quality=0.6, guard=False)
        plain = small_router.route(prompt, quality=0.6)
        assert decision.novelty is None
        assert (decision.model, decision.ranking) == (plain.model, plain.ranking)


def test_where_only_the_reference_keeps_the_bar_it_answers_novel_prompts_too(
    artifact: Artifact, encoder: Any, guard: NoveltyGuard
):
    trusting = Router(
        replace(artifact, guard=replace(guard, reach=(1.0, 1.0, 1.0))), encoder=encoder
    )
    decision = trusting.route(NOVEL[0], quality=1.0)
    assert decision.model == "api/large"
    assert any("unlike" in text for text in decision.warnings)


def test_a_stand_in_that_is_not_allowed_is_not_chosen(guarded: Router):
    found = guarded.route(NOVEL[0], quality=0.6, allowed=["api/small", "api/large"])
    assert found.ranking == ("api/large", "api/small")
    none = guarded.route(NOVEL[0], quality=0.6, allowed=["api/small"])
    assert none.ranking == ("api/small",)
    assert none.reason.startswith("fixed model")


def test_the_floor_holds_for_novel_prompts(guarded: Router):
    for prompt in NOVEL:
        plain = guarded.route(prompt, quality=0.6)
        for floor in (0.3, 0.7, 0.9):
            decision = guarded.route(prompt, quality=0.6, min_probability=floor)
            reach = [c.model for c in decision.candidates if c.probability >= floor]
            expected = [model for model in plain.ranking if model in reach]
            assert list(decision.ranking[: len(reach)]) == expected
            if not reach:
                assert decision.model == plain.model
            elif decision.model != plain.model:
                assert decision.reason == (
                    f"best on average of those that reach probability {floor:g}"
                )


def test_stored_with_the_router(
    artifact: Artifact, guard: NoveltyGuard, guarded: Router, encoder: Any, tmp_path: Path
):
    write_artifact(replace(artifact, guard=guard), tmp_path / "guarded", "")
    loaded = Router.load(tmp_path / "guarded", encoder=encoder)
    prompts = [*SIMILAR, *NOVEL]
    assert loaded.route_many(prompts) == guarded.route_many(prompts)
    write_artifact(artifact, tmp_path / "plain", "")
    assert read_artifact(tmp_path / "plain").guard is None


def test_a_guard_for_another_pool_is_refused(
    artifact: Artifact, guard: NoveltyGuard, tmp_path: Path
):
    other = replace(artifact, guard=replace(guard, reach=(0.5, 1.0)))
    write_artifact(other, tmp_path / "other", "")
    with pytest.raises(ArtifactError, match="not all for 3 models"):
        read_artifact(tmp_path / "other")


def test_a_guard_for_other_features_is_refused(
    artifact: Artifact, guard: NoveltyGuard, tmp_path: Path
):
    space = guard.neighbourhood.space
    longer = replace(
        space, **{name: np.append(getattr(space, name), 1) for name in ("centre", "scale", "limit")}
    )
    projection = np.eye(len(longer.centre) + 64, dtype=np.float32)[
        :, : guard.neighbourhood.bank.shape[1]
    ]
    other = replace(
        guard, neighbourhood=replace(guard.neighbourhood, space=longer, projection=projection)
    )
    write_artifact(replace(artifact, guard=other), tmp_path / "other", "")
    with pytest.raises(ArtifactError, match="its guard is for other features"):
        read_artifact(tmp_path / "other")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"levels": np.arange(3) / 4}, "one length"),
        ({"scores": np.empty(0), "levels": np.empty(0)}, "at least 1"),
        ({"level": 1.0}, "must be shares"),
        ({"level": 0.0}, "must be shares"),
        ({"reach": (0.0, 1.1, 1.0)}, "must be shares"),
        ({"reach": (0.0, float("nan"), 1.0)}, "must be shares"),
    ],
)
def test_guards_that_cannot_be(guard: NoveltyGuard, change: dict[str, Any], error: str):
    with pytest.raises(ValueError, match=error):
        replace(guard, **change)


def test_prompts_like_those_of_training_are_no_news():
    rng = np.random.default_rng(5)
    p_values = np.array([traffic_p_value(rng.uniform(size=40)) for _ in range(2000)])
    for level in (0.01, 0.05, 0.2):
        assert (p_values <= level).mean() == pytest.approx(level, abs=0.02)


def test_many_prompts_that_are_a_little_novel_are_news():
    rng = np.random.default_rng(6)
    little = rng.uniform(0.3, 0.97, 100)  # no prompt stands out on its own
    assert traffic_p_value(little) < 1e-4
    assert traffic_p_value(little[:3]) > 0.01
    assert traffic_p_value([]) == 1.0
    assert traffic_p_value(iter([0.0] * 9)) > 0.99


@given(st.lists(st.floats(0.0, 1.0), max_size=50))
def test_any_novelty_gives_a_p_value(novelty: list[float]):
    assert 0.0 <= traffic_p_value(novelty) <= 1.0
