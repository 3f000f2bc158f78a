"""Settings of the C library for freed memory."""

import subprocess
import sys

import pytest

#: Three buffers at a time, as with TLS. Prints the number of pages that had to be fetched again.
BUFFERS = """
import resource
from geomail.net import memory
{first}
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def turn():
    return [b"x" * (256 * 1024 + number) for number in range(3)]
for _ in range(10):
    turn()
before = faults()
for _ in range(100):
    turn()
{then}
turn()
print(faults() - before)
"""


@pytest.mark.parametrize(
    ("first", "then", "least", "most"),
    [
        pytest.param("memory.keep_freed_memory()", "", 0, 100, id="kept"),
        pytest.param("memory.keep_freed_memory()", "memory.give_back()", 100, 1000, id="given back once"),
        pytest.param("", "", 1000, 100_000, id="given back all the time: what glibc does by itself"),
    ],
)
def test_buffers_that_come_and_go(first: str, then: str, least: int, most: int) -> None:
    script = BUFFERS.format(first=first, then=then)
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert least <= int(told.stdout) <= most
