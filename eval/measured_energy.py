"""Energy of requests to servers on this machine, from its meters.

A meter sees the whole device, idle power included, so requests must run one at a time while they
are metered. Where no meter exists nothing is stored: energy is never made up.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

__all__ = ["EnergyMeter", "MeteredEnergy", "NoMeterError", "open_meter"]


@dataclass(frozen=True, slots=True)
class MeteredEnergy:
    """Energy between two moments.

    Attributes
    ----------
    energy_j : float
        Joules, above 0.
    basis : str
        What it rests on, beginning with ``measured`` or ``estimated``.
    """

    energy_j: float
    basis: str


class NoMeterError(Exception):
    """Raised where a machine has no energy meter that can be read; the message says why."""


class EnergyMeter(Protocol):
    """Meters what this machine uses, one window at a time."""

    @property
    def basis(self) -> str:
        """What the figures rest on."""

    def begin(self) -> None:
        """Begin a window."""

    def end(self) -> MeteredEnergy | None:
        """End the window; None where the meter gave no figure."""


class ZeusMeter:
    """Meters NVIDIA GPUs through NVML and processors through RAPL, by zeus.

    Parameters
    ----------
    monitor : zeus.monitor.ZeusMonitor
        The monitor of the devices.

    References
    ----------
    You et al., "Zeus: Understanding and Optimizing GPU Energy Consumption of DNN Training",
    NSDI 2023.
    """

    def __init__(self, monitor: Any) -> None:
        self._monitor = monitor
        parts = []
        if n_gpus := len(monitor.gpu_indices):
            parts.append(f"{n_gpus} GPU{'s' if n_gpus > 1 else ''} (NVML)")
        if n_cpus := len(monitor.cpu_indices):
            parts.append(f"{n_cpus} CPU package{'s' if n_cpus > 1 else ''} (RAPL)")
        if not parts:
            raise NoMeterError("zeus finds neither a GPU with NVML nor a CPU with RAPL")
        self.basis = f"measured: {' and '.join(parts)}, idle power included, zeus"

    def begin(self) -> None:
        """Begin a window."""
        self._monitor.begin_window("request", sync_execution=False)

    def end(self) -> MeteredEnergy | None:
        """End the window; None where the counters did not move."""
        found = self._monitor.end_window("request", sync_execution=False)
        joules = sum((found.gpu_energy or {}).values()) + sum((found.cpu_energy or {}).values())
        return MeteredEnergy(float(joules), self.basis) if joules > 0 else None


class CodecarbonMeter:
    """Estimates from the rated power of the processor, by codecarbon.

    Parameters
    ----------
    tracker : codecarbon.EmissionsTracker
        A tracker that writes and sends nothing.
    """

    def __init__(self, tracker: Any) -> None:
        self._tracker = tracker
        self.basis = "estimated: codecarbon, from the processor's rated power"

    def begin(self) -> None:
        """Begin a window."""
        self._tracker.start_task("request")

    def end(self) -> MeteredEnergy | None:
        """End the window; None where codecarbon gives no figure."""
        found = self._tracker.stop_task("request")
        joules = float(getattr(found, "energy_consumed", 0.0) or 0.0) * 3.6e6
        return MeteredEnergy(joules, self.basis) if joules > 0 else None


def open_meter() -> EnergyMeter:
    """Open the best meter of this machine: NVML and RAPL through zeus, else codecarbon.

    Returns
    -------
    EnergyMeter
        Its ``basis`` says what the figures rest on.

    Raises
    ------
    NoMeterError
        If there is none; the message says what was tried.
    """
    reasons = []
    for name, make in (("zeus", _zeus), ("codecarbon", _codecarbon)):
        try:
            return make()
        except ModuleNotFoundError as error:
            reasons.append(f"{error.name or name} is not installed")
        except NoMeterError as error:
            reasons.append(str(error))
        except Exception as error:  # whatever a driver raises: there is no meter then
            reasons.append(f"{name}: {type(error).__name__}: {error}")
    raise NoMeterError("; ".join(reasons))


def _zeus() -> EnergyMeter:
    monitor = importlib.import_module("zeus.monitor").ZeusMonitor
    return ZeusMeter(_quiet(lambda: monitor(approx_instant_energy=True)))


def _codecarbon() -> EnergyMeter:
    tracker = importlib.import_module("codecarbon").OfflineEmissionsTracker
    return CodecarbonMeter(
        _quiet(
            lambda: tracker(
                country_iso_code="USA",  # of the carbon figure alone, which is not used
                save_to_file=False,
                log_level="error",
                allow_multiple_runs=True,
            )
        )
    )


def _quiet(make: Callable[[], Any]) -> Any:
    """Make something without what it prints and logs on the way."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return make()
    finally:
        logging.disable(before)
