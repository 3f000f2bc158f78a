"""The table of mutations is valid: the lines that it breaks and the tests that it runs exist."""

import re

import pytest

from tests.mutations import ROOT, Mutation, mutations

ROWS = [pytest.param(row, id=f"{row.file}: {' '.join(row.old.split())[:50]}") for row in mutations()]


@pytest.mark.parametrize("row", ROWS)
def test_a_row_breaks_existing_source_and_runs_existing_tests(row: Mutation) -> None:
    text = (ROOT / row.file).read_text()

    assert row.apply(text) != text
    for test in row.tests:
        file, _, name = test.partition("::")
        assert (ROOT / file).exists(), test
        assert not name or re.search(rf"^def {name}\(", (ROOT / file).read_text(), re.MULTILINE), test


def test_a_row_without_its_text_is_an_error() -> None:
    row = Mutation("geomail/errors.py", "no such text", "", ("tests",))

    with pytest.raises(ValueError, match="holds 'no such text' 0 times"):
        row.apply((ROOT / row.file).read_text())
