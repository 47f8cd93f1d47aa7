"""The page that Prometheus reads."""

from __future__ import annotations

import pytest

from router.serve.metrics import FAMILIES, Metrics
from router.serve.shared_values import SharedValues


def test_counters_and_labels():
    metrics = Metrics(SharedValues(1))
    metrics.count("wattroute_requests_total", endpoint='/a"b\\c\nd', status="200")
    metrics.count("wattroute_requests_total", 2.5, endpoint='/a"b\\c\nd', status="200")
    metrics.set("wattroute_workers", 3)
    page = metrics.render()
    assert 'wattroute_requests_total{endpoint="/a\\"b\\\\c\\nd",status="200"} 3.5\n' in page
    assert "# TYPE wattroute_requests_total counter\n" in page
    assert "wattroute_workers 3\n" in page
    assert page.endswith("\n")


def test_histograms_are_cumulative():
    values = SharedValues(2)
    for worker, seconds in ((0, 0.0001), (0, 0.005), (1, 0.0051), (1, 99.0)):
        Metrics(values, worker).observe("wattroute_routing_seconds", seconds)
    lines = Metrics(values, 0).render().splitlines()
    counts = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines[2:]}
    name = "wattroute_routing_seconds"
    assert counts[f'{name}_bucket{{le="0.0002"}}'] == 1
    assert counts[f'{name}_bucket{{le="0.002"}}'] == 1
    assert counts[f'{name}_bucket{{le="0.005"}}'] == 2  # its end is in the bucket
    assert counts[f'{name}_bucket{{le="0.01"}}'] == 3
    assert counts[f'{name}_bucket{{le="+Inf"}}'] == 4
    assert counts[f"{name}_count"] == 4
    assert counts[f"{name}_sum"] == pytest.approx(99.0102)


def test_every_family_has_a_unit_or_counts_and_a_help():
    for name, family in FAMILIES.items():
        assert name == family.name
        assert family.help.endswith(".")
        assert (family.kind == "histogram") == bool(family.buckets)
        assert list(family.buckets) == sorted(family.buckets)


def test_a_metric_that_there_is_not():
    with pytest.raises(ValueError, match="no metric"):
        Metrics(SharedValues(1)).count("wattroute_typo_total")


def test_nothing_yet():
    assert Metrics(SharedValues(1)).render() == ""
