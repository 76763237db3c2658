"""The table of a whole city: 190 cameras, 7 rows with a fault each, as Polish Excel saves it."""

from __future__ import annotations

import csv
import io

COLUMNS = (
    "numer", "nazwa", "ulica", "lat", "lon", "adres", "port", "profil_main", "profil_sub", "login", "hasło_ref", "grupa",
    "retencja",
)  # fmt: skip
FAULTS = {
    10: ("numer", "5"), 25: ("nazwa", ""), 60: ("lat", "95"), 90: ("port", "70000"), 120: ("adres", "10.1.1.999"),
    150: ("retencja", "45"), 188: ("hasło_ref", "tajne123"),
}  # fmt: skip


def city_table() -> tuple[bytes, dict[int, str]]:
    """The file, and its faults: line → column."""
    rows = [
        {"numer": str(i), "nazwa": f"Kamera {i}", "ulica": "Długa", "lat": "50,06", "lon": "19,94",
         "adres": f"10.1.{i // 250}.{i % 250}", "profil_main": "/main", "profil_sub": "/sub", "grupa": f"G{i % 7}"}
        for i in range(1, 191)
    ]  # fmt: skip
    for number, (column, cell) in FAULTS.items():
        rows[number - 1][column] = cell
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, COLUMNS, delimiter=";", lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    return b"\xef\xbb\xbf" + out.getvalue().encode(), {number + 1: column for number, (column, _) in FAULTS.items()}
