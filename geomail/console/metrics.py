"""Metrics in Prometheus's form, made of what the workers have counted.

Labels are servers, protocols, backends and words of geomail's own: never a
user, and never more backends than a tally counts apart.
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
from geomail.console.pages import Pages
from geomail.console.totals import Counters, Table
from geomail.sinks.meters import BOUNDS

if TYPE_CHECKING:
    from geomail.console.process import Console

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
        "Times that clients had to wait as a worker had worker_connections clients",
    ),
    "auth_unasked": (
        "geomail_auth_unasked",
        "Times that an auth service was heard to say what it was not asked",
    ),
}


class Metrics(Collector):
    """Collects what a console knows, when it is asked to."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._health = BackendHealth()
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def pages(self) -> Pages:
        """What is to be served."""
        return Pages({"/metrics": self._page, "/livez": _alive, "/readyz": self._readiness})

    def _page(self, accept: str) -> tuple[int, str, bytes]:
        encode, kind = choose_encoder(accept)
        return 200, kind, encode(self._registry)

    def _readiness(self, _accept: str) -> tuple[int, str, bytes]:
        problem = _unreadiness(self._console)
        return (503 if problem else 200), _TEXT, f"{problem or 'ready'}\n".encode()

    def collect(self) -> Iterator[Metric]:
        """All metrics as they are now."""
        sums = self._console.sums()
        yield from self._processes()
        yield from self._servers(sums)
        yield from self._backends(sums)
        for table, (name, text, labels) in _COUNTS.items():
            counter = CounterMetricFamily(name, text, labels=labels)
            for key, row in sorted(sums[table].items()):
                counter.add_metric(key.split("\t"), row["count"])
            yield counter
        for table, (name, text, label) in _HISTOGRAMS.items():
            yield _histogram(name, text, label, BOUNDS[table], sums[table])
        for kind, (name, text) in _INCIDENTS.items():
            incidents = CounterMetricFamily(name, text)
            incidents.add_metric((), sums["incidents"].get(kind, {}).get("count", 0))
            yield incidents
        yield from self._losses(sums["losses"])

    def _processes(self) -> Iterator[Metric]:
        state, links = self._console.state, self._console.links
        build = GaugeMetricFamily("geomail_build_info", "What runs", labels=("version", "python"))
        build.add_metric((__version__, platform.python_version()), 1)
        yield build
        yield _gauge("geomail_start_time_seconds", "When the master started", state["started"])
        workers = GaugeMetricFamily("geomail_workers", "Worker processes", labels=("state",))
        draining = sum(link.draining for link in links)
        workers.add_metric(("serving",), len(links) - draining)
        workers.add_metric(("draining",), draining)
        yield workers
        yield _gauge("geomail_workers_wanted", "Worker processes that there should be", state["expected"])
        deaths = CounterMetricFamily("geomail_worker_deaths", "Workers that died, since the console started")
        deaths.add_metric((), self._console.deaths)
        yield deaths
        loaded = "When the configuration was read"
        yield _gauge("geomail_config_loaded_timestamp_seconds", loaded, state["loaded"])
        refused = state["refused"] is not None
        yield _gauge("geomail_config_reload_refused", "Whether the last reload was refused", refused)

    def _servers(self, sums: Counters) -> Iterator[Metric]:
        labels = ("protocol", "server")
        active = GaugeMetricFamily("geomail_sessions_active", "Sessions that there are", labels=labels)
        opened = CounterMetricFamily("geomail_sessions", "Sessions that were accepted", labels=labels)
        for name, row in sorted(self._console.with_active(sums, "servers").items()):
            values = self._console.protocols.get(name, ""), name
            active.add_metric(values, row["active"])
            opened.add_metric(values, row["opened"])
        yield active
        yield opened

    def _backends(self, sums: Counters) -> Iterator[Metric]:
        rows = self._console.with_active(sums, "backends")
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
        for name, is_up in sorted(self._health.observed(rows).items()):
            up.add_metric((name,), is_up)
        relayed = CounterMetricFamily(
            "geomail_relay_bytes",
            "Bytes of ended sessions that were logged in, as clients sent (in) and got them (out)",
            labels=("protocol", "backend", "direction"),
        )
        for key, row in sorted(sums["relayed"].items()):
            for direction in ("in", "out"):
                relayed.add_metric((*key.split("\t"), direction), row[direction])
        yield from (active, logins, up, relayed)

    def _losses(self, rows: Table) -> Iterator[Metric]:
        lines = CounterMetricFamily("geomail_log_lines_lost", "Lines that the log's target did not take")
        lines.add_metric((), rows.get("log", {}).get("count", 0) + self._console.log_lines_lost)
        events = CounterMetricFamily("geomail_watch_events_lost", "Events that somebody watching did not get")
        events.add_metric((), self._console.events_lost)
        yield from (lines, events)


class BackendHealth:
    """Whether backends are reached, by what sessions have seen of them."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, int]] = {}
        self._up: dict[str, bool] = {}

    def observed(self, rows: Table) -> dict[str, bool]:
        """Backend by backend: since the last call some answered (true), or all failed (false).

        Where nothing has happened since, it is as it was; who was never tried is missing.
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


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=float(value))


def _histogram(name: str, text: str, label: str, bounds: tuple[float, ...], rows: Table) -> Metric:
    histogram = HistogramMetricFamily(name, text, labels=(label,))
    for key, row in sorted(rows.items()):
        count, buckets = 0, []
        for number, bound in enumerate((*map(str, bounds), "+Inf")):
            count += row.get(str(number), 0)
            buckets.append((bound, count))
        histogram.add_metric((key,), buckets, row.get("us", 0) / 1e6)
    return histogram


def _alive(_accept: str) -> tuple[int, str, bytes]:
    return 200, _TEXT, b"alive\n"


def _unreadiness(console: Console) -> str | None:
    """Why no client can be served; None if one can."""
    if console.state["ending"]:
        return "ending"
    if not any(
        link.generation == console.state["generation"] and not link.draining for link in console.links
    ):
        return "no worker serves the configuration in force"
    return None
