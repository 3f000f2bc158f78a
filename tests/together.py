"""Waiting for several rows of a table at the same time, each in its own greenlet."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import pytest
from gevent.pool import Pool

Found = TypeVar("Found")


def together(function: Callable[..., Found], rows: Iterable[Any], most: int = 24) -> list[Found]:
    """Call ``function`` with each row, at most ``most`` at once; return the results in the rows' order.

    A tuple is several arguments. Raises all failures after all rows have ended; each
    failure has a note that names its row.
    """
    failures: list[BaseException] = []

    def call(row: Any) -> Found | None:
        try:
            return function(*row) if isinstance(row, tuple) else function(row)
        except (Exception, pytest.fail.Exception, pytest.skip.Exception) as failure:  # noqa: BLE001  told below
            failure.add_note(f"in the row {row!r}")
            failures.append(failure)
            return None

    found: list[Any] = Pool(most).map(call, rows)
    if failures:
        raise BaseExceptionGroup(f"{len(failures)} of {len(found)} rows failed", failures)
    return found
