"""A new router while serving: no request is dropped, a broken one changes nothing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from router.dispatch import load_router
from router.errors import ArtifactError, ConfigError
from router.rules import TaskRules
from router.serve import live_router
from router.serve.live_router import LiveRouter, signature_of
from router.serve.service import Service
from router.serve.settings import Settings

RULES = 'default = "{model}"\n'
MODELS = ("mistral-24b", "llama-3.3-70b", "qwen-3-32b", "gemma-3-27b")


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    file = tmp_path / "rules.toml"
    file.write_text(RULES.format(model="mistral-24b"))
    return file


def service_of(rules: Path) -> Service:
    settings = Settings(upstream="http://127.0.0.1:9/v1", router=rules)
    return Service(settings, load_router(rules))


def model_of(service: Service) -> str | None:
    plan = service.dispatcher.plan(
        {"model": "auto", "messages": [{"role": "user", "content": "Hi"}]}
    )
    step = plan.next()
    plan.cancelled()
    return None if step is None else step.model


def look(live: LiveRouter, times: int = 1) -> None:
    for _ in range(times):
        asyncio.run(live.look())


def test_changed_files_are_loaded_once_they_have_settled(rules: Path):
    service = service_of(rules)
    live = LiveRouter(service, rules)
    look(live, 3)
    assert model_of(service) == "mistral-24b"
    rules.write_text(RULES.format(model="llama-3.3-70b"))
    look(live)
    assert model_of(service) == "mistral-24b"  # it may still be being written
    look(live)
    assert model_of(service) == "llama-3.3-70b"
    counted = service.metrics.render()
    assert 'wattroute_reloads_total{result="loaded"} 1' in counted
    look(live, 3)
    assert 'wattroute_reloads_total{result="loaded"} 1' in service.metrics.render()


def test_a_call_under_way_keeps_its_router(rules: Path):
    service = service_of(rules)
    plan = service.dispatcher.plan(
        {"model": "auto", "messages": [{"role": "user", "content": "Hi"}]}
    )
    rules.write_text(RULES.format(model="llama-3.3-70b"))
    live = LiveRouter(service, rules)
    live.ask()
    look(live)
    assert model_of(service) == "llama-3.3-70b"
    step = plan.next()
    assert step is not None
    assert step.model == "mistral-24b"


def test_a_signal_loads_it_again_without_a_change(rules: Path):
    service = service_of(rules)
    before = service.dispatcher.router
    live = LiveRouter(service, rules)
    live.ask()
    look(live)
    assert service.dispatcher.router is not before


def test_a_broken_router_changes_nothing(rules: Path, caplog: pytest.LogCaptureFixture):
    service = service_of(rules)
    live = LiveRouter(service, rules)
    rules.write_text("default = [broken\n")
    look(live, 2)
    assert model_of(service) == "mistral-24b"
    assert 'wattroute_reloads_total{result="failed"} 1' in service.metrics.render()
    assert "the old one stays" in caplog.text
    rules.write_text(RULES.format(model="qwen-3-32b"))
    look(live, 2)
    assert model_of(service) == "qwen-3-32b"


def test_files_that_are_away_for_a_moment_change_nothing(rules: Path):
    service = service_of(rules)
    live = LiveRouter(service, rules)
    away = rules.rename(rules.with_suffix(".away"))
    look(live, 3)
    assert model_of(service) == "mistral-24b"
    away.rename(rules)
    look(live, 3)
    assert model_of(service) == "mistral-24b"


def test_a_folder_is_watched_by_manifest_and_arrays(stored: Path, small_router: Any):
    settings = Settings(upstream="http://127.0.0.1:9/v1", router=stored)
    service = Service(settings, small_router)
    live = LiveRouter(service, stored)
    # it names an encoder that only the tests have, so that loading it fails
    (stored / "model.npz").write_bytes(b"half")
    look(live, 2)
    assert 'wattroute_reloads_total{result="failed"} 1' in service.metrics.render()
    assert service.dispatcher.router is small_router


def test_an_alias_that_moves_is_followed(rules: Path, monkeypatch: pytest.MonkeyPatch):
    """The store is asked now and then; while it is away what is loaded stays."""
    answers: list[str | Exception] = ["one"]
    asked: list[str] = []

    def find(uri: str) -> SimpleNamespace:
        asked.append(uri)
        if isinstance(answers[-1], Exception):
            raise answers[-1]
        return SimpleNamespace(location=answers[-1])

    monkeypatch.setattr(live_router, "find_router", find)
    monkeypatch.setattr(live_router, "load_router", lambda uri: load_router(rules))
    service = service_of(rules)
    live = LiveRouter(service, "models:/wattroute@champion")
    before = service.dispatcher.router
    look(live, 3)
    assert asked == ["models:/wattroute@champion"]  # not at each look
    monkeypatch.setattr(live_router, "_ASK_STORE_EVERY_S", 0.0)
    live._ask_store_at = 0.0
    look(live)
    assert service.dispatcher.router is before
    answers.append(ConfigError("the store is away"))
    look(live)
    assert service.dispatcher.router is before
    answers.append("two")
    look(live)
    moved = service.dispatcher.router
    assert moved is not before
    look(live, 3)
    assert service.dispatcher.router is moved
    live.ask()
    look(live)
    assert service.dispatcher.router is not moved


def test_what_changed_since_it_was_loaded_is_found(rules: Path):
    """A worker that is forked later has the router of the start."""
    loaded = signature_of(rules)
    service = service_of(rules)
    rules.write_text(RULES.format(model="llama-3.3-70b"))
    look(LiveRouter(service, rules, loaded))
    assert model_of(service) == "llama-3.3-70b"


def test_an_alias_that_moved_since_it_was_loaded_is_found(
    rules: Path, monkeypatch: pytest.MonkeyPatch
):
    location = "one"
    monkeypatch.setattr(live_router, "find_router", lambda uri: SimpleNamespace(location=location))
    monkeypatch.setattr(live_router, "load_router", lambda uri: load_router(rules))
    uri = "models:/wattroute@champion"
    loaded = signature_of(uri)
    service = service_of(rules)
    before = service.dispatcher.router
    look(LiveRouter(service, uri, loaded))
    assert service.dispatcher.router is before
    location = "two"
    look(LiveRouter(service, uri, loaded))
    assert service.dispatcher.router is not before


def test_a_router_that_was_away_at_the_start_is_loaded_when_it_comes(rules: Path):
    away = rules.rename(rules.with_suffix(".away"))
    loaded = signature_of(rules)
    settings = Settings(upstream="http://127.0.0.1:9/v1", router=rules, default_model="only")
    service = Service(settings, None)
    away.rename(rules)
    look(LiveRouter(service, rules, loaded))
    assert model_of(service) == "mistral-24b"


def test_rules_and_folders_are_told_apart(rules: Path, tmp_path: Path):
    assert isinstance(load_router(rules), TaskRules)
    with pytest.raises(ArtifactError, match="no router at"):
        load_router(tmp_path)


def test_no_request_is_dropped_while_the_router_changes(
    make_proxy: Callable[..., Any], rules: Path
):
    proxy = make_proxy(router=rules, use=load_router(rules))
    stop = threading.Event()
    failures: list[str] = []
    seen: set[str] = set()
    n_answers = 0

    def ask() -> None:
        nonlocal n_answers
        body = {"model": "auto", "messages": [{"role": "user", "content": "Hi"}]}
        with httpx.Client(timeout=20.0) as http:
            while not stop.is_set():
                response = http.post(f"{proxy.url}/chat/completions", json=body)
                if response.status_code != 200:
                    failures.append(response.text)
                seen.add(response.headers.get("x-wattroute-model", ""))
                n_answers += 1

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for model in MODELS:
            rules.write_text(RULES.format(model=model))
            # as the watcher does, while calls are under way
            proxy.service.reload(load_router(rules))
            until = n_answers + 20
            while n_answers < until:
                stop.wait(0.01)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failures == []
    assert seen == set(MODELS)
