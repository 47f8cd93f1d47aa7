"""Meters by stand-ins of zeus and codecarbon: this machine may have neither."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest

from router.eval.measured_energy import MeteredEnergy, NoMeterError, open_meter


class Monitor:
    def __init__(self, gpus: list[int], cpus: list[int], joules: list[float]) -> None:
        self.gpu_indices, self.cpu_indices = gpus, cpus
        self._joules = iter(joules)
        self.calls: list[tuple[str, bool]] = []

    def begin_window(self, name: str, sync_execution: bool = True) -> None:
        self.calls.append((name, sync_execution))

    def end_window(self, name: str, sync_execution: bool = True) -> Any:
        self.calls.append((name, sync_execution))
        each = {i: next(self._joules) for i in self.gpu_indices}
        package = {i: next(self._joules) for i in self.cpu_indices} or None
        return types.SimpleNamespace(gpu_energy=each, cpu_energy=package)


def install(monkeypatch: pytest.MonkeyPatch, name: str, **members: Any) -> None:
    parts = name.split(".")
    for i in range(len(parts)):
        monkeypatch.setitem(
            sys.modules, ".".join(parts[: i + 1]), types.ModuleType(".".join(parts[: i + 1]))
        )
    for key, member in members.items():
        setattr(sys.modules[name], key, member)


def no_module(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setitem(sys.modules, name, None)


def test_gpus_and_packages_are_added_up(monkeypatch: pytest.MonkeyPatch):
    monitor = Monitor([0, 1], [0], [10.0, 5.0, 2.5])
    install(monkeypatch, "zeus.monitor", ZeusMonitor=lambda **kwargs: monitor)
    meter = open_meter()
    meter.begin()
    assert meter.end() == MeteredEnergy(
        17.5, "measured: 2 GPUs (NVML) and 1 CPU package (RAPL), idle power included, zeus"
    )
    assert monitor.calls == [("request", False)] * 2


def test_counters_that_did_not_move_give_no_figure(monkeypatch: pytest.MonkeyPatch):
    install(monkeypatch, "zeus.monitor", ZeusMonitor=lambda **kwargs: Monitor([0], [], [0.0]))
    meter = open_meter()
    meter.begin()
    assert meter.end() is None


def codecarbon(monkeypatch: pytest.MonkeyPatch, energies_kwh: list[float]) -> None:
    class Tracker:
        def __init__(self, **settings: Any) -> None:
            assert settings["save_to_file"] is False
            self._energies = iter(energies_kwh)

        def start_task(self, name: str) -> None: ...

        def stop_task(self, name: str) -> Any:
            return types.SimpleNamespace(energy_consumed=next(self._energies))

    install(monkeypatch, "codecarbon", OfflineEmissionsTracker=Tracker)


def test_codecarbon_is_an_estimate_and_says_so(monkeypatch: pytest.MonkeyPatch):
    install(monkeypatch, "zeus.monitor", ZeusMonitor=lambda **kwargs: Monitor([], [], []))
    codecarbon(monkeypatch, [1e-6, 0.0])
    meter = open_meter()
    assert meter.basis.startswith("estimated: codecarbon")
    meter.begin()
    found = meter.end()
    assert found is not None
    assert found.energy_j == pytest.approx(3.6)
    meter.begin()
    assert meter.end() is None


def test_no_meter_says_why(monkeypatch: pytest.MonkeyPatch):
    install(monkeypatch, "zeus.monitor", ZeusMonitor=lambda **kwargs: Monitor([], [], []))
    no_module(monkeypatch, "codecarbon")
    with pytest.raises(NoMeterError, match=r"neither a GPU with NVML nor .* codecarbon"):
        open_meter()


def test_a_driver_that_fails_is_no_meter(monkeypatch: pytest.MonkeyPatch):
    def broken(**kwargs: Any) -> Any:
        raise RuntimeError("NVML: driver mismatch")

    install(monkeypatch, "zeus.monitor", ZeusMonitor=broken)
    no_module(monkeypatch, "codecarbon")
    with pytest.raises(NoMeterError, match="driver mismatch"):
        open_meter()


def test_neither_installed(monkeypatch: pytest.MonkeyPatch):
    for name in ("zeus", "zeus.monitor", "codecarbon"):
        no_module(monkeypatch, name)
    with pytest.raises(NoMeterError, match="not installed"):
        open_meter()
