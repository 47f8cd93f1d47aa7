from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from router import Router
from router.errors import ConfigError, DataError
from router.explanation import explain
from router.explanation.nearest import GradedPrompts, nearest_prompts, nearest_remembered

PROMPTS = ("Why is the sky blue?", "What is 12 + 34?", "x" * 300)


def graded(**parts: Any) -> GradedPrompts:
    nan = np.nan
    given = GradedPrompts(
        prompts=PROMPTS,
        prompt_ids=("a", "b", "c"),
        tasks=("sky", "", "odd"),
        models=("large", "other", "small"),
        quality=np.array([[1.0, 0.5, 0.25], [nan, 0.5, 0.0], [nan, 1.0, nan]]),
        hashes=np.array([10, 11, 12]),
    )
    return replace(given, **parts)


def nearest(artifact: Any, extractor: Any, prompt: str, given: GradedPrompts, n: int = 5) -> Any:
    return nearest_prompts(artifact, extractor.extract([prompt]), given, extractor, n)


def test_the_prompt_itself_is_nearest(artifact, extractor):
    found = nearest(artifact, extractor, PROMPTS[1], graded())
    assert [near.prompt_id for near in found] == ["b", "a"]  # nobody of the pool answered c
    assert found[0].distance == 0 < found[1].distance
    assert found[0].quality == {"api/small": 0.0}
    assert found[1].quality == {"api/small": 0.25, "api/large": 1.0}
    assert (found[1].task, found[1].excerpt) == ("sky", PROMPTS[0])
    assert found[0].text_hash == "00000000000b"


def test_what_the_router_learned_from_is_marked(make_artifact, extractor):
    found = nearest(make_artifact(), extractor, PROMPTS[1], graded())
    assert [near.trained_on for near in found] == [None, None]
    knowing = make_artifact(lineage={"prompt_hashes": [10, 99]})
    found = nearest(knowing, extractor, PROMPTS[1], graded())
    assert {near.prompt_id: near.trained_on for near in found} == {"a": True, "b": False}


def test_models_may_be_named_by_their_api_id(artifact, extractor):
    found = nearest(artifact, extractor, PROMPTS[0], graded(models=("api/large", "x", "small")))
    assert found[0].quality == {"api/small": 0.25, "api/large": 1.0}


def test_long_texts_are_cut(artifact, extractor):
    quality = np.ones((3, 3))
    found = nearest(artifact, extractor, PROMPTS[2], graded(quality=quality), 1)
    assert len(found) == 1
    assert found[0].excerpt == "x" * 159 + "…"


def test_how_many(artifact, extractor):
    assert nearest(artifact, extractor, "Why?", graded(), 0) == ()
    assert len(nearest(artifact, extractor, "Why?", graded(), 1)) == 1
    with pytest.raises(ConfigError, match="n_nearest is -1"):
        nearest(artifact, extractor, "Why?", graded(), -1)


def test_runs_of_other_models(artifact, extractor):
    with pytest.raises(DataError, match=r"none of the router's models small, medium, large"):
        nearest(artifact, extractor, "Why?", graded(models=("x", "y", "z")))


def test_runs_without_the_embeddings_that_are_needed(make_artifact, spec, extractor):
    given = make_artifact(features=replace(spec, encoder="precomputed:4"))
    with pytest.raises(DataError, match="no embeddings"):
        nearest(given, extractor, "Why?", graded())
    found = nearest(given, extractor, "Why?", graded(embeddings=np.zeros((3, 4), np.float32)))
    assert len(found) == 2


@pytest.mark.parametrize(
    "parts",
    [{"tasks": ("a",)}, {"hashes": np.array([1])}, {"quality": np.ones((3, 2))}],
)
def test_sizes_must_fit(parts: dict[str, Any]):
    with pytest.raises(ValueError, match="must have"):
        graded(**parts)


def test_without_runs_the_router_names_hashes():
    router = Router.load()
    prompt = "Sort these words alphabetically: pear, apple, fig."
    found = explain(router, prompt, n_nearest=3).nearest
    learned = router.artifact.lineage["prompt_hashes"]
    assert len(found) == 3
    assert [near.distance for near in found] == sorted(near.distance for near in found)
    for near in found:
        assert near.trained_on
        assert int(near.text_hash, 16) in learned
        assert set(near.quality) <= {model.id for model in router.models}
        assert near.quality
        assert (near.prompt_id, near.excerpt) == ("", "")


def test_a_router_that_remembers_nothing_names_none(artifact, extractor):
    features = extractor.extract([PROMPTS[0]])
    assert nearest_remembered(artifact, features, 5) == ()
    with pytest.raises(ConfigError, match="n_nearest"):
        nearest_remembered(artifact, features, -1)
