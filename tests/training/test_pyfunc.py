from __future__ import annotations

import json
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from router import Router
from router.errors import ConfigError
from router.router import router_folder
from router.training.mlflow_model import requirements, save_model
from router.training.pyfunc import OUTPUT_COLUMNS, PyfuncRouter

PROMPTS = [
    "What is 17 * 23? Answer with the number only.",
    '[{"role": "user", "content": "What is 17 * 23? Answer with the number only."}]',
    "Write a haiku about frost.",
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("model") / "model"
    save_model(router_folder(), target)
    return target


@pytest.fixture(scope="module")
def loaded(model: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's own, on import
        import mlflow.pyfunc

        return mlflow.pyfunc.load_model(str(model))


@pytest.fixture(scope="module")
def plain() -> PyfuncRouter:
    return PyfuncRouter(Router.load())


def test_it_decides_as_the_router_does(plain: PyfuncRouter):
    found = plain.predict(pd.DataFrame({"prompt": PROMPTS}, index=[5, 3, 9]), {"quality": 0.9})
    assert list(found.columns) == list(OUTPUT_COLUMNS)
    assert found.index.tolist() == [5, 3, 9]
    assert found["model"].iloc[0] == found["model"].iloc[1]  # the same as text and as messages
    for (_, row), prompt in zip(
        found.iterrows(), (PROMPTS[0], PROMPTS[0], PROMPTS[2]), strict=True
    ):
        decision = Router.load().route(prompt, quality=0.9)
        assert row["model"] == decision.model
        assert row["probability"] == pytest.approx(decision.probability)
        assert (row["energy_low_j"], row["energy_j"], row["energy_high_j"]) == pytest.approx(
            (decision.energy_j.low_j, decision.energy_j.value_j, decision.energy_j.high_j)
        )
        assert row["promised"] == (decision.certificate is not None and decision.certificate.holds)


def test_prompts_may_have_bars_of_their_own(plain: PyfuncRouter):
    prompts = [PROMPTS[0]] * 3
    table = pd.DataFrame({"prompt": prompts, "quality": [0.5, None, 1.0]})
    found = plain.predict(table, {"quality": 0.9, "guard": False})
    alone = [
        plain.predict(pd.DataFrame({"prompt": prompts[:1]}), {"quality": bar, "guard": False})
        for bar in (0.5, 0.9, 1.0)
    ]
    assert found["model"].tolist() == [one["model"].iloc[0] for one in alone]
    assert found["energy_j"].tolist() == pytest.approx([one["energy_j"].iloc[0] for one in alone])


@pytest.mark.parametrize(
    ("table", "params", "said"),
    [
        (pd.DataFrame({"text": ["x"]}), None, "column 'prompt'"),
        (["x"], None, "column 'prompt'"),
        (pd.DataFrame({"prompt": [3]}), None, "prompt 0 is not text"),
        (pd.DataFrame({"prompt": ["x"]}), {"qualty": 0.9}, "parameter 'qualty'"),
        (pd.DataFrame({"prompt": ["x"]}), {"quality": 2.0}, "quality"),
        (pd.DataFrame({"prompt": ["x"], "quality": [0.0]}), None, "quality"),
    ],
)
def test_wrong_input_is_named(plain: PyfuncRouter, table: Any, params: Any, said: str):
    with pytest.raises(ConfigError, match=said):
        plain.predict(table, params)


def test_no_prompts_give_no_rows(plain: PyfuncRouter):
    found = plain.predict(pd.DataFrame({"prompt": []}))
    assert (len(found), list(found.columns)) == (0, list(OUTPUT_COLUMNS))


def test_a_stored_model_is_data_with_a_signature(model: Path, loaded: Any):
    files = {path.relative_to(model).as_posix() for path in model.rglob("*") if path.is_file()}
    assert not [name for name in files if name.endswith((".py", ".pkl", ".pickle", ".joblib"))]
    assert {path.name for path in router_folder().iterdir() if path.is_file()} <= {
        path.name for path in (model / "data" / "router").iterdir()
    }
    signature = loaded.metadata.signature
    assert signature.inputs.required_input_names() == ["prompt"]
    assert signature.outputs.input_names() == list(OUTPUT_COLUMNS)
    assert {param.name for param in signature.params} >= {"quality", "confidence"}
    assert loaded.metadata.saved_input_example_info is not None
    stored = (model / "requirements.txt").read_text(encoding="utf-8").split()
    assert len(stored) == len(requirements())
    assert stored[0] == requirements()[0] == f"wattroute=={version('wattroute')}"
    assert all(">=" in need and "<" in need for need in stored[1:])


def test_mlflow_loads_and_predicts(loaded: Any, plain: PyfuncRouter):
    table = pd.DataFrame({"prompt": PROMPTS})
    found = loaded.predict(table, params={"quality": 0.9})
    pd.testing.assert_frame_equal(found, plain.predict(table, {"quality": 0.9}))


def test_mlflow_evaluates(
    model: Path,
    plain: PyfuncRouter,
    make_store: Callable[[], str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
):
    """As a data scientist would: a metric of one's own over what the router decides."""
    import mlflow
    from mlflow.models import evaluate, make_metric

    monkeypatch.setenv("MLFLOW_TRACKING_URI", make_store())
    monkeypatch.setenv("TQDM_DISABLE", "1")
    monkeypatch.chdir(tmp_path)

    def agreement(predictions: Any, targets: Any, metrics: Any) -> float:
        return float((predictions == targets).mean())

    table = pd.DataFrame({"prompt": PROMPTS})
    table["best"] = [*plain.predict(table)["model"][:2], "another"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's own
        with mlflow.start_run():
            found = evaluate(
                str(model),
                data=table,
                targets="best",
                predictions="model",
                extra_metrics=[make_metric(eval_fn=agreement, greater_is_better=True)],
            )
    assert found.metrics["agreement"] == pytest.approx(2 / 3)


@pytest.fixture
def served(model: Path, mlflow_process: Callable[..., Any], tmp_path: Path) -> Iterator[str]:
    """A real ``mlflow models serve`` on this machine."""
    words = ["models", "serve", "-m", str(model), "--env-manager", "local", "-h", "127.0.0.1"]
    with mlflow_process(words, tmp_path, "/ping") as url:
        yield url


def post(url: str, body: object) -> tuple[int, Any]:
    request = urllib.request.Request(
        f"{url}/invocations", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


@pytest.mark.slow
def test_mlflow_serves(served: str, plain: PyfuncRouter):
    records = [{"prompt": prompt} for prompt in PROMPTS]
    status, found = post(served, {"dataframe_records": records, "params": {"quality": 0.9}})
    assert status == 200
    expected = plain.predict(pd.DataFrame({"prompt": PROMPTS}), {"quality": 0.9})
    assert [row["model"] for row in found["predictions"]] == expected["model"].tolist()
    assert set(found["predictions"][0]) == set(OUTPUT_COLUMNS)
    status, found = post(served, {"dataframe_records": [{"text": "x"}]})
    assert status == 400
    assert "prompt" in found["message"]
