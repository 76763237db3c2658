"""Tables as Polish spreadsheets write them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vms.cameras.csv_table import MAX_BYTES, CsvTable, read_csv, write_csv
from vms.errors import UserError

TEXT = "numer;nazwa\r\n1;Łąkowa róg Źródlanej\r\n"


@pytest.mark.parametrize(
    "content",
    [
        TEXT.encode(),
        b"\xef\xbb\xbf" + TEXT.encode(),
        TEXT.encode("cp1250"),
        TEXT.replace(";", ",").encode(),
        ("sep=;\r\n" + TEXT).encode(),
        TEXT.replace("\r\n", "\n").encode(),
        ("\n".join(TEXT.splitlines()) + "\n;;\n\n").encode(),
        TEXT.replace("numer", " NUMER ").encode(),
    ],
)
def test_encodings_and_separators_are_found(content: bytes) -> None:
    table = read_csv(content, "k.csv")
    assert table.columns == ("numer", "nazwa")
    assert [row.cells for row in table.rows] == [{"numer": "1", "nazwa": "Łąkowa róg Źródlanej"}]


def test_quoted_cells_lines_and_surplus() -> None:
    table = read_csv(b'sep=,\na,b\n"x, ""y""",2\n1\n1,2,3\n1,2,\n', "k.csv")
    assert [(r.line, r.cells, r.surplus) for r in table.rows] == [
        (3, {"a": 'x, "y"', "b": "2"}, False),
        (4, {"a": "1"}, False),
        (5, {"a": "1", "b": "2"}, True),
        (6, {"a": "1", "b": "2"}, False),
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"\n\n", "empty"),
        ("numer;nazwa\n".encode("utf-16"), "CSV UTF-8"),
        (b"a;b\0\n", "CSV UTF-8"),
        (b"numer\n\x81\x83\x88", "neither UTF-8 nor cp1250"),
        (b'a;b\n1;"x\n', "line 2"),
        (b'a;b\n1;"x"y\n', "line 2"),
        (b"x" * (MAX_BYTES + 1), "larger than"),
        (b"a\n" + b"x" * 200_000, "line longer"),
        (b"a\n" + b"1\n" * 20_001, "more than 20000 rows"),
    ],
)
def test_what_is_no_table_is_refused(content: bytes, words: str) -> None:
    with pytest.raises(UserError, match=words):
        read_csv(content, "k.csv")


@given(
    st.lists(
        st.lists(
            st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zs", "Zl", "Zp"]), max_size=20),
            min_size=2,
            max_size=2,
        ),
        max_size=5,
    )
)
def test_what_is_written_is_read_back(rows: list[list[str]]) -> None:
    table = read_csv(write_csv(("a", "b"), rows), "k.csv")
    assert [[r.cells["a"], r.cells["b"]] for r in table.rows] == [r for r in rows if any(r)]


@given(st.binary(max_size=300))
def test_any_bytes_are_a_table_or_refused(content: bytes) -> None:
    with contextlib.suppress(UserError):
        assert isinstance(read_csv(content, "k.csv"), CsvTable)


@pytest.mark.parametrize("cell", ["=1+1", "@x", "+cmd|' /C calc'!A0", "-x", "'x"])
def test_no_cell_is_a_formula(cell: str) -> None:
    written = write_csv(("a",), [[cell]])
    assert written.splitlines()[1].lstrip(b'"').startswith(b"'")
    assert read_csv(written, "k").rows[0].cells["a"] == cell


def test_numbers_stay_numbers() -> None:
    assert b"\r\n-52.2\r\n" in write_csv(("a",), [["-52.2"]])
