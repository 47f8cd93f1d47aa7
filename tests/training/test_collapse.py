"""The arrays that serving scores predict what the stacks over the candidates predict."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from router.blocks import BlockScaler
from router.eval.protocol import feature_rows
from router.features import FeatureExtractor, Features, FeatureSpec
from router.messages import prompt_text
from router.model import RouterModel
from router.recalibration import Recalibration
from router.training import heads
from router.training.blocks import fit_scaler
from router.training.collapse import collapse
from router.training.heads import FittedHead, HeadBank, NeighbourTable, TrainingBlocks
from router.training.lengths import FittedLengths
from router.training.stacking import FittedStack, Stack

TRAIN, NEW = np.arange(180), np.arange(180, 240)
N_MODELS = 3


@dataclass
class Case:
    """Candidates fitted on some prompts, what they predict for others, and stacks over them."""

    features: Features
    bank: HeadBank
    heads: list[FittedHead]
    scaler: BlockScaler
    targets: np.ndarray
    names: tuple[str, ...]
    candidates: np.ndarray
    stacks: list[FittedStack]
    lengths: FittedLengths
    characters: np.ndarray

    def collapse(self, shares: dict[str, float]) -> RouterModel:
        return collapse(
            self.heads,
            self.stacks,
            shares,
            self.lengths,
            self.scaler,
            self.bank.scaled,
            Recalibration.identity(N_MODELS),
        )

    def without(self, kind: str) -> Case:
        """Return the case with no weight on the candidates whose names begin with `kind`."""
        off = np.array([name.startswith(kind) for name in self.names])[:, None]
        return replace(
            self,
            stacks=[replace(s, weights=np.where(off, 0.0, s.weights)) for s in self.stacks],
            lengths=replace(self.lengths, weights=np.where(off, 0.0, self.lengths.weights)),
        )

    def expected_quality(self, shares: dict[str, float]) -> np.ndarray:
        n_quality = self.targets.shape[1] - N_MODELS - 1
        candidates = self.candidates[:, :, :n_quality]
        parts = [
            shares[s.stack.name] * s.quality(s.latent(candidates))
            for s in self.stacks
            if shares[s.stack.name] >= 1e-3
        ]
        return np.sum(parts, axis=0) / sum(v for v in shares.values() if v >= 1e-3)

    def expected_logs(self) -> np.ndarray:
        return self.lengths.log_lengths(self.candidates[:, :, -N_MODELS - 1 :])


def make_stack(
    stack: Stack, n_all: int, n_candidates: int, rng: np.random.Generator
) -> FittedStack:
    width = n_all if stack.extra else N_MODELS
    return FittedStack(
        stack=stack,
        mean=rng.random(width),
        directions=np.linalg.qr(rng.standard_normal((width, stack.rank)))[0],
        weights=rng.random((n_candidates, stack.rank)) / n_candidates * 2,
        coefficients=rng.standard_normal((stack.rank, N_MODELS)),
        intercept=rng.random(N_MODELS),
    )


@pytest.fixture(scope="module")
def case(problem_with_extra) -> Case:
    spec = FeatureSpec(n_buckets=2**10)
    features = FeatureExtractor(spec).extract(problem_with_extra.matrix.prompts)
    train, new = feature_rows(features, TRAIN), feature_rows(features, NEW)
    scaler = fit_scaler(train, n_waves=64)
    targets = problem_with_extra.targets.stacked()
    # the bank of all prompts predicts the new ones; the bank of the training prompts is exported
    everything = HeadBank(TrainingBlocks.build(scaler, features))
    (candidates,) = everything.fit_predict(TRAIN, targets, [NEW])
    bank = HeadBank(TrainingBlocks.build(scaler, train))
    rng = np.random.default_rng(0)
    n_all = targets.shape[1] - N_MODELS - 1
    stacks = [
        make_stack(stack, n_all, len(bank.names), rng)
        for stack in (Stack(False, 3, "linear"), Stack(True, 4, "logistic"))
    ]
    weights = rng.random((len(bank.names), N_MODELS + 1))
    lengths = FittedLengths(
        mean=targets[TRAIN, n_all:].mean(axis=0).astype(float),
        weights=weights / weights.sum(axis=0),
        factor=np.array([1.0, 1.3, 0.8]),
        limit=np.array([1e3, 1e4, 1e5]),
        low=np.full(N_MODELS, 0.5),
        high=np.full(N_MODELS, 2.0),
    )
    prompts = [problem_with_extra.matrix.prompts[i] for i in NEW]
    characters = np.array([float(len(prompt_text(p).text)) for p in prompts])
    return Case(
        features=new,
        bank=bank,
        heads=bank.fit_final(targets[TRAIN]),
        scaler=scaler,
        targets=targets[TRAIN],
        names=bank.names,
        candidates=candidates,
        stacks=stacks,
        lengths=lengths,
        characters=characters,
    )


SHARES = {"pool-3-linear": 0.7, "extra-4-logistic": 0.3}


def check(case: Case, shares: dict[str, float]) -> RouterModel:
    model = case.collapse(shares)
    scores = model.score(case.features, case.characters)
    quality = case.expected_quality(shares)
    assert quality.std() > 0.02
    np.testing.assert_allclose(scores.quality, quality, atol=1e-3)
    logs = case.expected_logs()
    np.testing.assert_allclose(scores.completion_tokens, case.lengths.tokens(logs), rtol=5e-3)
    prompt_tokens = np.maximum(case.characters * np.exp(logs[:, -1]), 1)
    np.testing.assert_allclose(scores.prompt_tokens, prompt_tokens, rtol=5e-3)
    return model


def test_the_model_scores_what_the_stacks_predict(case: Case):
    check(case, SHARES)


@pytest.mark.parametrize("kind", ["neighbours", "clusters", "trees", "ridge", "ridge_ngrams"])
def test_candidates_without_weight_are_left_out(case: Case, kind: str):
    rest = case.without(kind)
    assert not np.allclose(rest.expected_quality(SHARES), case.expected_quality(SHARES), atol=1e-3)
    check(rest, SHARES)


def test_what_is_not_used_is_not_stored(case: Case):
    full = case.collapse(SHARES).to_arrays()
    plain = case.without("neighbours").without("clusters").collapse(SHARES).to_arrays()

    def size(arrays: dict[str, np.ndarray]) -> int:
        return sum(array.nbytes for array in arrays.values())

    bank = case.bank.scaled.nbytes
    assert size(plain) < size(full) - bank / 2


def test_one_of_several_neighbour_heads(case: Case):
    first = next(name for name in case.names if name.startswith("neighbours"))
    check(case.without(first), SHARES)


def test_no_candidate_has_any_weight(case: Case):
    nothing = case.without("")
    model = nothing.collapse(SHARES)
    scores = model.score(case.features, case.characters)
    np.testing.assert_allclose(scores.quality, nothing.expected_quality(SHARES), atol=1e-6)
    assert np.ptp(scores.quality, axis=0).max() < 1e-6


@pytest.mark.parametrize("share", [0.0, 1e-4])
def test_stacks_of_hardly_any_share_are_left_out(case: Case, share: float):
    shares = {"pool-3-linear": 1 - share, "extra-4-logistic": share}
    narrow = check(case, shares)
    n_latents = {len(model.intercept) for model in (narrow, case.collapse(SHARES))}
    assert n_latents == {3 + N_MODELS + 1, 3 + 4 + N_MODELS + 1}


def test_heads_in_the_primal(case: Case, problem_with_extra, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(heads, "_DUAL_LIMIT", 10)
    monkeypatch.setattr(heads, "_SKETCH_COLUMNS", 256)
    spec = FeatureSpec(n_buckets=2**10)
    features = FeatureExtractor(spec).extract(problem_with_extra.matrix.prompts)
    targets = problem_with_extra.targets.stacked()
    everything = HeadBank(TrainingBlocks.build(case.scaler, features))
    (candidates,) = everything.fit_predict(TRAIN, targets, [NEW])
    bank = HeadBank(TrainingBlocks.build(case.scaler, feature_rows(features, TRAIN)))
    primal = replace(case, heads=bank.fit_final(case.targets), candidates=candidates)
    check(primal, SHARES)


def test_a_stored_model_scores_the_same(case: Case):
    model = case.collapse(SHARES)
    again = RouterModel.from_arrays(model.to_arrays())
    first, second = (m.score(case.features, case.characters) for m in (model, again))
    np.testing.assert_array_equal(first.quality, second.quality)
    np.testing.assert_array_equal(first.completion_tokens, second.completion_tokens)


def test_neighbours_share_one_bank(case: Case):
    tables = [head for head in case.heads if isinstance(head, NeighbourTable)]
    assert len(tables) > 1
    assert len({table.rows.tobytes() for table in tables}) == 1
