"""Metrics: counters of the service in Prometheus' text format; a scrape reads numbers and computes nothing."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from .. import __version__
from .device import budgets, flash_years
from .service import Service

BUCKETS = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
MOST_CLASSES = 64


class Metrics:
    """What is counted as it happens, and what is read from the service when somebody asks."""

    def __init__(self, service: Service) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        r = self._registry
        self._requests = Counter("edgecl_requests", "Requests.", ("verb", "code"), registry=r)
        self._predictions = Counter("edgecl_predictions", "Samples predicted.", registry=r)
        self._observed = Counter("edgecl_observed", "Labelled samples taken.", ("source",), registry=r)
        self._labels = Counter("edgecl_labels", "Labels that came with samples, or later.", ("when",), registry=r)
        self._rejected = Counter("edgecl_rejected", "Requests refused.", ("reason",), registry=r)
        self._seconds = Histogram("edgecl_predict_seconds", "Seconds of a prediction, from request to answer.",
                                  ("learning",), buckets=BUCKETS, registry=r)  # fmt: skip
        self._steps = Histogram("edgecl_step_seconds", "Seconds from one training step to the next.", buckets=BUCKETS,
                                registry=r)  # fmt: skip
        self._of = functools.cache(lambda verb, status: self._requests.labels(verb, str(status)))
        self._by_learning = {learning: self._seconds.labels(str(int(learning))) for learning in (False, True)}
        service.held.on_step = self._steps.observe
        r.register(_Read(service))

    def answered(self, verb: str, status: int) -> None:
        self._of(verb, status).inc()
        if status >= 400:
            self._rejected.labels(str(status)).inc()

    def predicted(self, samples: int, seconds: float, learning: bool) -> None:
        self._predictions.inc(samples)
        self._by_learning[learning].observe(seconds)

    def observed(self, samples: int, source: str) -> None:
        self._observed.labels(source).inc(samples)
        self._labels.labels("now").inc(samples)

    def labelled(self, samples: int) -> None:
        self._labels.labels("later").inc(samples)

    def text(self) -> bytes:
        """Format 0.0.4."""
        return generate_latest(self._registry)


class _Read:
    """Metrics that are the service's own numbers."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        s = self._service
        facts = s.held.facts()
        config = s.held.learner.plan.config
        build = GaugeMetricFamily("edgecl_build_info", "What runs.", labels=("version", "model", "method"))
        build.add_metric((__version__, str(config.network), str(config.method)), 1)
        yield build
        yield from _counters(s, facts)
        yield from _gauges(s, facts)
        yield from _accuracy(s)
        yield from _budget(s, facts)


def _counter(name: str, about: str, value: float) -> Metric:
    return CounterMetricFamily(name, about, value=value)


def _counters(s: Service, facts: dict[str, Any]) -> Iterator[Metric]:
    yield _counter("edgecl_steps", "Training steps.", facts["steps"])
    yield _counter("edgecl_flops", "Training FLOPs.", facts["flops"])
    yield _counter("edgecl_train_seconds", "Seconds of training.", facts["train_seconds"])
    joules = facts["energy_joules"]
    if joules["value"] is not None:
        found = CounterMetricFamily("edgecl_energy_joules", "Joules of training.", labels=("source",))
        found.add_metric((str(joules["source"]).partition(":")[0],), joules["value"])
        yield found
    swaps = CounterMetricFamily("edgecl_swaps", "Exchanges with flash.", labels=("result",))
    for result in ("requested", "done", "dropped", "skipped"):
        swaps.add_metric((result,), facts["carousel"].get(f"swaps_{result}", 0))
    yield swaps
    if facts["flash"] is not None:
        written = facts["flash"]["bytes_written"]
        yield _counter("edgecl_flash_written_bytes", "Written to flash in the store's life.", written)
    yield _counter("edgecl_rollbacks", "Times that a model was gone back from.", s.watching.rollbacks)
    rounds = CounterMetricFamily("edgecl_fleet_rounds", "Rounds of a fleet; kept: the model was.", labels=("result",))
    results = {"passed": s.fleet.rounds["passed"], "kept": s.fleet.rounds["kept"], "refused": s.fleet.refused.total()}
    for result, count in results.items():
        rounds.add_metric((result,), count)
    yield rounds
    moved = CounterMetricFamily("edgecl_fleet_bytes", "Exchanged with a fleet.", labels=("direction",))
    for direction, count in s.fleet.bytes.items():
        moved.add_metric((direction,), count)
    yield moved
    saves = CounterMetricFamily("edgecl_checkpoints", "States saved, or not.", labels=("result",))
    for result, count in s.saves.items():
        saves.add_metric((result,), count)
    yield saves


def _gauges(s: Service, facts: dict[str, Any]) -> Iterator[Metric]:
    from ..budget import resident

    governor = facts["governor"]
    values = {
        "edgecl_up_seconds": ("Since the start.", time.monotonic() - s.began),
        "edgecl_loss": ("Of the last slice.", s.loss),
        "edgecl_resident_bytes": ("Of the process.", resident()),
        "edgecl_store_samples": ("Samples stored.", facts["stored"]),
        "edgecl_store_full": ("Whether the disk is full.", float(s.full)),
        "edgecl_memory_filled": ("Slots of the memory in use.", facts["remembered"]),
        "edgecl_buffered_samples": ("Samples of the present task.", facts["buffered"]),
        "edgecl_fresh_samples": ("Samples taken since it last learned.", s.held.fresh),
        "edgecl_pool_samples": ("Samples that wait for a label.", len(s.pool)),
        "edgecl_governor_level": ("0 runs, 1 slow, 2 rests.", 0 if governor is None else governor["level"]),
        "edgecl_work_progress_seconds": ("Since the work last moved.", s.idle_seconds),
        "edgecl_safe_mode": ("Whether it only predicts.", float(s.safe is not None)),
        "edgecl_last_checkpoint_seconds": ("Since a state was saved.", s.schedule.since_saved),
    }
    if facts["flash"] is not None:
        values["edgecl_store_bytes"] = ("Of the store's files.", facts["flash"]["bytes"])
        years = flash_years(s.held, facts)
        values["edgecl_flash_years"] = ("Until the flash is worn, at the last day's writes.", years)
    if governor is not None and governor["highest_temperature"] is not None:
        values["edgecl_temperature_celsius"] = ("Highest so far.", governor["highest_temperature"])
    for name, (about, value) in values.items():
        if value is not None:
            yield GaugeMetricFamily(name, about, value=value)


def _accuracy(s: Service) -> Iterator[Metric]:
    found = GaugeMetricFamily("edgecl_accuracy", "Share of right answers.", labels=("kind",))
    for kind, value in (("prequential", s.watching.prequential.accuracy), ("holdout", s.watching.accuracy)):
        if value is not None:
            found.add_metric((kind,), value)
    yield found
    classes = s.watching.by_label
    if 0 < len(classes) <= MOST_CLASSES:
        each = GaugeMetricFamily("edgecl_class_accuracy", "On held-out samples of a class.", labels=("class",))
        for label, value in classes.items():
            each.add_metric((str(label),), value)
        yield each


def _budget(s: Service, facts: dict[str, Any]) -> Iterator[Metric]:
    limit = GaugeMetricFamily("edgecl_budget_limit", "Of the budget.", labels=("kind",))
    spent = GaugeMetricFamily("edgecl_budget_used", "Of the budget.", labels=("kind",))
    for kind, used, most in budgets(s.config.budget, facts):
        limit.add_metric((kind,), most)
        spent.add_metric((kind,), used)
    yield limit
    yield spent
