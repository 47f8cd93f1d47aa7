import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from router.errors import ConfigError, DataError
from router.eval.baselines import Cheapest, NearestNeighbours, TaskRules, ZeroRouter
from router.eval.benchmark import run_benchmark
from router.eval.frontier import energy_at_quality, zero_router_points
from router.eval.protocol import Outcome, split_prompts, true_energy
from router.features import FeatureExtractor

QUICK = (Cheapest(), ZeroRouter(), TaskRules(), NearestNeighbours())


def _run(case, router, **options):
    settings = {"features": case.features, "baselines": QUICK, "seeds": (0, 1, 2), **options}
    return run_benchmark(case.matrix, case.pool, router, **settings)


@pytest.fixture(scope="module")
def result(specialists, router_method):
    return _run(specialists, router_method)


def test_a_router_that_knows_the_kind_beats_the_zero_router(result):
    assert result.router.interval("log_energy_ratio").high < -0.8
    assert result.verdict().startswith("WattRoute beats the zero router")
    assert "It beats" in result.verdict()
    assert "oracle" not in result.verdict()


def test_every_method_is_there_and_the_oracle_is_last(result):
    names = [method.name for method in result.methods]
    assert names[0] == "WattRoute"
    assert names[-1] == "oracle"
    assert {"random at the router's shares", *(m.name for m in QUICK)} < set(names)
    headline = [method.interval("log_energy_ratio").mean for method in result.methods[1:-1]]
    assert headline == sorted(headline)
    assert result.methods[-1].interval("log_energy_ratio").mean < min(headline)


def test_the_zero_router_is_the_yardstick(result):
    zero = next(method for method in result.baselines if method.name == "zero router")
    assert zero.per_seed["log_energy_ratio"] == (0.0, 0.0, 0.0)
    assert result.router.difference("log_energy_ratio", zero) == result.router.interval(
        "log_energy_ratio"
    )


def test_random_shares_do_not_beat_the_router(result):
    found = next(m for m in result.baselines if m.name.startswith("random"))
    assert result.router.difference("log_energy_ratio", found).high < 0
    assert found.interval("log_energy_ratio").mean > -0.1


def test_decisions_recompute_the_headline(specialists, result, tmp_path):
    path = tmp_path / "deep" / "decisions.parquet"
    result.write_decisions(path)
    decisions = pd.read_parquet(path)
    assert list(decisions.columns) == [
        "seed",
        "setting",
        "prompt_id",
        "run_name",
        "predicted_quality",
        "predicted_energy_j",
    ]
    matrix, pool = specialists.matrix, specialists.pool
    energy = pd.DataFrame(true_energy(matrix, pool), matrix.prompt_ids, pool.names)
    quality = pd.DataFrame(matrix.quality, matrix.prompt_ids, matrix.models)
    for seed, rows in decisions.groupby("seed"):
        test = rows.prompt_id.astype(str).unique()
        train = [key for key in matrix.prompt_ids if key not in set(test)]
        at = energy.index.get_indexer(rows.prompt_id), energy.columns.get_indexer(rows.run_name)
        rows = rows.assign(energy_j=energy.to_numpy()[at], quality=quality.to_numpy()[at])
        means = rows.groupby("setting")[["energy_j", "quality"]].mean().to_numpy()
        best = quality.loc[train].mean().idxmax()
        reference = np.array([energy.loc[test, best].mean(), quality.loc[test, best].mean()])
        zero = zero_router_points(
            quality.loc[train].to_numpy(),
            energy.loc[train].to_numpy(),
            quality.loc[test].to_numpy(),
            energy.loc[test].to_numpy(),
        )
        ratios = [
            math.log(
                energy_at_quality(np.vstack([means, reference]), bar * reference[1])
                / energy_at_quality(np.vstack([zero, reference]), bar * reference[1])
            )
            for bar in (0.90, 0.95, 0.98, 1.00)
        ]
        published = result.router.per_seed["log_energy_ratio"][result.seeds.index(seed)]
        assert np.mean(ratios) == pytest.approx(published, abs=1e-12)


def test_decisions_hold_the_predictions_for_the_chosen_model(specialists, result):
    decisions = result.decisions()
    part = result.seed_decisions[1]
    n_settings, n_test = part.choices.shape
    assert len(decisions) == 3 * n_settings * n_test
    row = decisions[(decisions.seed == 1) & (decisions.setting == 4)].iloc[7]
    assert row.prompt_id == part.prompt_ids[7]
    assert row.run_name == specialists.pool.names[part.choices[4, 7]]
    assert row.predicted_quality == part.quality[7, part.choices[4, 7]]
    assert row.predicted_energy_j == part.energy_j[7, part.choices[4, 7]]


def _without_times(result):
    found = result.to_dict()
    del found["peak_rss_mb"]
    for part in ("figures", "router_minus_method"):
        for figures in found[part].values():
            figures.pop("train_s", None)
    return found


def test_same_seeds_same_result(specialists, router_method, result):
    again = _run(specialists, router_method)
    assert _without_times(again) == _without_times(result)
    pd.testing.assert_frame_equal(again.decisions(), result.decisions())
    other = _run(specialists, router_method, seeds=(7, 8, 9))
    assert _without_times(other) != _without_times(result)


def test_a_seed_gives_the_same_figures_in_other_company(specialists, router_method, result):
    alone = _run(specialists, router_method, seeds=[1])
    for name, values in alone.router.per_seed.items():
        np.testing.assert_array_equal(values[0], result.router.per_seed[name][1])
    assert alone.verdict().startswith("No verdict")


def test_to_dict_is_json_without_nan(result):
    text = json.dumps(result.to_dict(), allow_nan=False)
    found = json.loads(text)
    assert found["figures"]["cheapest"]["auc"]["mean"] is None
    assert found["router_minus_method"]["zero router"]["log_energy_ratio"]["high"] < 0
    assert found["comparisons"]["zero router"] == "beats"
    assert found["data"]["n_prompts"] == 300
    assert len(found["frontiers"]["WattRoute"][0]) == 2


def test_description_of_data_and_models(specialists, result):
    data = result.data
    assert (data.n_prompts, data.n_left_out, data.n_groups, data.n_tasks) == (300, 0, 300, 2)
    assert (data.n_train, data.n_test, data.n_extra_models) == (210, 90, 0)
    large = result.models[2]
    assert large.n_reference == 3
    assert large.relative_energy == pytest.approx(1)
    assert large.relative_quality == pytest.approx(1)
    assert large.mean_quality == pytest.approx(specialists.matrix.quality[:, 2].mean())
    assert (large.measured_share, large.unknown_length_share) == (0, 0)
    assert result.peak_rss_mb > 10


class _Spy:
    """Records the splits that it sees."""

    def __init__(self, router):
        self.name = router.name
        self.router = router
        self.splits = []

    def run(self, split):
        self.splits.append(split)
        return self.router.run(split)


def test_router_sees_no_test_outcome_and_extra_models_on_training_prompts_alone(
    make_matrix, pool, make_features, router_method
):
    rng = np.random.default_rng(0)
    quality = (rng.random((60, 5)) < 0.5).astype(float)
    quality[::7, 1] = np.nan
    quality[::2, 3] = np.nan
    quality[:, 4] = np.nan
    names = ("small", "middle", "large", "outside", "silent")
    matrix = make_matrix(quality, models=names)
    router, baseline = _Spy(router_method), _Spy(NearestNeighbours())
    features = make_features(rng.integers(0, 3, 60))
    result = run_benchmark(matrix, pool, router, seeds=[4], features=features, baselines=[baseline])
    (split,) = router.splits
    assert split.extra.models == ("outside",)
    assert split.extra.prompt_ids == split.train.prompt_ids
    assert split.test_energy_j is None
    assert split.train.models == pool.names
    assert not np.isnan(split.train.quality).any()
    kept = np.flatnonzero(~np.isnan(quality[:, 1]))
    train, test = split_prompts(np.arange(len(kept)), 4)
    assert split.test_ids == tuple(f"p{i}" for i in kept[test])
    np.testing.assert_array_equal(split.train_features.dense, features.dense[kept[train]])
    np.testing.assert_array_equal(
        baseline.splits[0].test_energy_j, result.seed_decisions[0].energy_j
    )
    assert result.data.n_left_out == len(matrix) - len(kept)
    assert result.data.n_extra_models == 1


def test_features_are_computed_from_the_prompts_where_none_are_given(
    make_matrix, pool, router_method
):
    prompts = [f"{'Add' if i % 2 else 'Translate'} {i}" for i in range(40)]
    matrix = make_matrix(np.tile([[0.0, 1.0, 1.0]], (40, 1)), prompts=prompts)

    class Letters:
        def encode(self, texts):
            found = np.zeros((len(texts), 6), np.float32)
            found[np.arange(len(texts)), [int(text.startswith("Add")) for text in texts]] = 1
            return found

        def fingerprint(self):
            return "letters"

    result = run_benchmark(
        matrix,
        pool,
        router_method,
        seeds=[0],
        extractor=FeatureExtractor(encoder=Letters()),
        baselines=[],
    )
    assert result.data.n_test == 12


def test_equal_models_cost_the_energy_of_the_cheapest(make_case, make_matrix, router_method):
    result = _run(make_case(make_matrix(np.ones((40, 3)))), router_method)
    for method in result.methods:
        assert method.interval("log_energy_ratio").mean == 0
    assert result.models[0].n_reference == 3
    assert "does not clearly differ from the zero router" in result.verdict()


def test_models_that_are_never_right(make_case, make_matrix, router_method):
    result = _run(make_case(make_matrix(np.zeros((40, 3)))), router_method)
    assert result.router.interval("log_energy_ratio").mean == 0
    assert math.isnan(result.router.interval("peak_quality").mean)
    json.dumps(result.to_dict(), allow_nan=False)


def test_one_model_that_dominates_leaves_nothing_to_gain(make_case, make_matrix, router_method):
    rng = np.random.default_rng(0)
    kinds = rng.integers(0, 2, 200)
    quality = np.stack([np.ones(200), rng.random(200) < 0.5, rng.random(200) < 0.5], axis=1)
    result = _run(make_case(make_matrix(quality), kinds), router_method)
    assert result.router.interval("log_energy_ratio").mean == 0
    assert result.router.interval("peak_quality").mean == 1


def test_progress_tells_of_seeds_and_methods(specialists, router_method):
    lines = []
    _run(specialists, router_method, progress=lines.append, seeds=[3])
    assert lines[0] == "seed 3 (1 of 1): 210 training, 90 test"
    assert any(line.startswith("  kNN: log_energy_ratio ") for line in lines)


@pytest.mark.parametrize("seeds", [[], [1, 1]])
def test_seeds_must_be_there_and_differ(specialists, router_method, seeds):
    with pytest.raises(ConfigError, match="seeds"):
        _run(specialists, router_method, seeds=seeds)


def test_two_methods_of_one_name(specialists, router_method):
    with pytest.raises(ConfigError, match="two methods are called 'cheapest'"):
        _run(specialists, router_method, baselines=[Cheapest(), Cheapest()])
    with pytest.raises(ConfigError, match="oracle"):
        _run(specialists, router_method, baselines=[Cheapest(name="oracle")])


def test_features_must_fit(specialists, router_method, make_features):
    with pytest.raises(ConfigError, match="features has 3 rows"):
        _run(specialists, router_method, features=make_features([0, 1, 2]))


def test_runs_without_a_model_of_the_pool(make_matrix, pool, router_method):
    with pytest.raises(DataError, match="no model 'large'"):
        run_benchmark(make_matrix(np.ones((9, 2))), pool, router_method)


def test_too_few_complete_prompts(make_matrix, pool, router_method):
    quality = np.ones((9, 3))
    quality[1:, 0] = np.nan
    with pytest.raises(DataError, match="1 of 9 prompts"):
        run_benchmark(make_matrix(quality), pool, router_method)


class _Broken:
    name = "broken"

    def __init__(self, outcome):
        self.outcome = outcome

    def run(self, split):
        n, m = len(split.test_ids), len(split.train.models)
        good = Outcome(
            choices=np.zeros((2, n), int), quality=np.zeros((n, m)), energy_j=np.ones((n, m))
        )
        return replace(good, **self.outcome)


@pytest.mark.parametrize(
    ("outcome", "message"),
    [
        ({"energy_j": None}, "must return choices, quality and energy_j"),
        ({"choices": None}, "must return choices, quality and energy_j"),
        ({"choices": np.zeros((2, 5), int)}, "broken: choices must have shape"),
        ({"energy_j": np.ones((3, 3))}, "broken: energy_j must have shape"),
    ],
)
def test_a_router_that_returns_nonsense_is_named(specialists, outcome, message):
    with pytest.raises(ConfigError, match=message):
        _run(specialists, _Broken(outcome))
