"""Metrics in Prometheus's form, made from the counters of the workers.

Labels are servers, protocols, backends and geomail's own words. They are never
users, and never more backends than a tally counts one by one.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from geomail import __version__
from geomail.console.audience import Audience
from geomail.console.overview import Overview
from geomail.console.pages import Pages
from geomail.console.totals import Counters, Table
from geomail.sinks.meters import BOUNDS

if TYPE_CHECKING:
    from geomail.sinks.log import Log

_TEXT = "text/plain; charset=utf-8"
_HISTOGRAMS = {
    "auth": ("geomail_auth_duration_seconds", "Time that the auth source took", "protocol"),
    "connect": ("geomail_backend_connect_duration_seconds", "Time to connect to a backend", "backend"),
    "login": ("geomail_backend_login_duration_seconds", "Time of the login at a backend", "backend"),
    "session": ("geomail_session_duration_seconds", "Time from accept to close", "protocol"),
}
_COUNTS = {
    "logins": ("geomail_logins", "Logins, and how they ended", ("protocol", "result", "reason")),
    "ended": ("geomail_sessions_ended", "Sessions that ended", ("protocol", "outcome", "side")),
}
_INCIDENTS = {
    "worker_connections": (
        "geomail_worker_connections_reached",
        "Times that clients had to wait because a worker had worker_connections clients",
    ),
    "auth_unasked": (
        "geomail_auth_unasked",
        "Times that an auth service sent something without a request",
    ),
}


class Metrics(Collector):
    """The metrics of a server, collected when a page is asked for."""

    def __init__(self, overview: Overview, audience: Audience, log: Log) -> None:
        self._overview = overview
        self._audience = audience
        self._log = log
        self._health = BackendHealth()
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def make_pages(self) -> Pages:
        """Return the pages that serve the metrics, and the checks whether geomail lives and is ready."""
        return Pages(
            {"/metrics": self._show_metrics, "/livez": _show_liveness, "/readyz": self._show_readiness}
        )

    def _show_metrics(self, accept: str) -> tuple[int, str, bytes]:
        encode, kind = choose_encoder(accept)
        return 200, kind, encode(self._registry)

    def _show_readiness(self, _accept: str) -> tuple[int, str, bytes]:
        problem = _find_obstacle(self._overview)
        return (503 if problem else 200), _TEXT, f"{problem or 'ready'}\n".encode()

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics as they are now."""
        sums = self._overview.add_up()
        yield from self._collect_processes()
        yield from self._collect_servers(sums)
        yield from self._collect_backends(sums)
        yield from _collect_counts(sums)
        for table, (name, text, label) in _HISTOGRAMS.items():
            yield _make_histogram(name, text, label, BOUNDS[table], sums[table])
        yield from _collect_incidents(sums["incidents"])
        yield from self._collect_losses(sums["losses"])

    def _collect_processes(self) -> Iterator[Metric]:
        state = self._overview.state
        build = GaugeMetricFamily("geomail_build_info", "What runs", labels=("version", "python"))
        build.add_metric((__version__, platform.python_version()), 1)
        yield build
        yield _make_gauge("geomail_start_time_seconds", "When the master started", state["started"])
        yield from self._collect_workers()
        loaded = "When the configuration was read"
        yield _make_gauge("geomail_config_loaded_timestamp_seconds", loaded, state["loaded"])
        refused = state["refused"] is not None
        yield _make_gauge("geomail_config_reload_refused", "Whether the last reload was refused", refused)

    def _collect_workers(self) -> Iterator[Metric]:
        overview = self._overview
        workers = GaugeMetricFamily("geomail_workers", "Worker processes", labels=("state",))
        draining = sum(link.draining for link in overview.links)
        workers.add_metric(("serving",), len(overview.links) - draining)
        workers.add_metric(("draining",), draining)
        yield workers
        expected = "Worker processes that there should be"
        yield _make_gauge("geomail_workers_wanted", expected, overview.state["expected"])
        deaths = CounterMetricFamily("geomail_worker_deaths", "Workers that died, since the console started")
        deaths.add_metric((), overview.deaths)
        yield deaths

    def _collect_servers(self, sums: Counters) -> Iterator[Metric]:
        labels = ("protocol", "server")
        active = GaugeMetricFamily("geomail_sessions_active", "Active sessions", labels=labels)
        opened = CounterMetricFamily("geomail_sessions", "Sessions that were accepted", labels=labels)
        for name, row in sorted(self._overview.add_active(sums, "servers").items()):
            values = self._overview.protocols.get(name, ""), name
            active.add_metric(values, row["active"])
            opened.add_metric(values, row["opened"])
        yield active
        yield opened

    def _collect_backends(self, sums: Counters) -> Iterator[Metric]:
        rows = self._overview.add_active(sums, "backends")
        logins = CounterMetricFamily(
            "geomail_backend_logins", "Logins at backends", labels=("backend", "result")
        )
        active = GaugeMetricFamily("geomail_backend_sessions_active", "Sessions relayed", labels=("backend",))
        for name, row in sorted(rows.items()):
            active.add_metric((name,), row["active"])
            for result, counter in (("accepted", "logins"), ("refused", "refused"), ("failed", "failed")):
                logins.add_metric((name, result), row[counter])
        up = GaugeMetricFamily(
            "geomail_backend_up", "Whether the last sessions reached the backend", labels=("backend",)
        )
        for name, is_up in sorted(self._health.update(rows).items()):
            up.add_metric((name,), is_up)
        yield from (active, logins, up, _make_relay_counter(sums["relayed"]))

    def _collect_losses(self, rows: Table) -> Iterator[Metric]:
        lines = CounterMetricFamily("geomail_log_lines_lost", "Lines that the log's target did not accept")
        lines.add_metric((), rows.get("log", {}).get("count", 0) + self._log.lost_lines)
        events = CounterMetricFamily("geomail_watch_events_lost", "Events that viewers did not get")
        events.add_metric((), self._audience.events_lost)
        yield from (lines, events)


class BackendHealth:
    """The reachability of each backend, judged by the sessions that tried."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, int]] = {}
        self._up: dict[str, bool] = {}

    def update(self, rows: Table) -> dict[str, bool]:
        """Return for each backend whether a session has reached it since the last call (false: all failed).

        A backend that no session has tried since keeps its value; one that no
        session ever tried is missing.
        """
        for name, row in rows.items():
            answered, failed = row["logins"] + row["refused"], row["failed"]
            before = self._seen.get(name, (0, 0))
            if answered > before[0]:
                self._up[name] = True
            elif failed > before[1]:
                self._up[name] = False
            self._seen[name] = answered, failed
        return self._up


def _collect_counts(sums: Counters) -> Iterator[Metric]:
    for table, (name, text, labels) in _COUNTS.items():
        counter = CounterMetricFamily(name, text, labels=labels)
        for key, row in sorted(sums[table].items()):
            counter.add_metric(key.split("\t"), row["count"])
        yield counter


def _collect_incidents(rows: Table) -> Iterator[Metric]:
    for kind, (name, text) in _INCIDENTS.items():
        incidents = CounterMetricFamily(name, text)
        incidents.add_metric((), rows.get(kind, {}).get("count", 0))
        yield incidents


def _make_relay_counter(rows: Table) -> Metric:
    relayed = CounterMetricFamily(
        "geomail_relay_bytes",
        "Bytes of ended sessions that were logged in: sent by clients (in), sent to clients (out)",
        labels=("protocol", "backend", "direction"),
    )
    for key, row in sorted(rows.items()):
        for direction in ("in", "out"):
            relayed.add_metric((*key.split("\t"), direction), row[direction])
    return relayed


def _make_gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=float(value))


def _make_histogram(name: str, text: str, label: str, bounds: tuple[float, ...], rows: Table) -> Metric:
    histogram = HistogramMetricFamily(name, text, labels=(label,))
    for key, row in sorted(rows.items()):
        count, buckets = 0, []
        for number, bound in enumerate((*map(str, bounds), "+Inf")):
            count += row.get(str(number), 0)
            buckets.append((bound, count))
        histogram.add_metric((key,), buckets, row.get("us", 0) / 1e6)
    return histogram


def _show_liveness(_accept: str) -> tuple[int, str, bytes]:
    return 200, _TEXT, b"alive\n"


def _find_obstacle(overview: Overview) -> str | None:
    """Return why no client can be served; None if clients can."""
    if overview.state["ending"]:
        return "ending"
    if not any(overview.serves_configuration_in_force(link) and not link.draining for link in overview.links):
        return "no worker serves the configuration in force"
    return None
