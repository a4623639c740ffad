"""Reads a table with Python's csv module and writes what its rows mean, one line for each.

The reference for src/adapters/file: it shares nothing with the code that it checks, and it is given
the form of the table, which that code has to find. The test `tables_are_read_as_python_reads_them`
in tests/it/inputs.rs writes tables, runs this and compares. It needs the standard library alone:

    python3 tests/reference/csv_reader.py FILE FORM

FORM is a JSON object with the keys `delimiter`, `encoding`, `gzip`, `header_line` (0: none),
`decimal`, `newest_first`, `time` (columns from 0), `time_format` ("": ISO 8601, "ms":
milliseconds), `symbol`, `close`, `volume`. A row that can be used is written as symbol,
nanoseconds, and the bits of close and volume in hexadecimal, divided by tabs; one that cannot be
as `-`.
"""

import csv
import datetime
import gzip
import json
import re
import struct
import sys

POWERS = {"K": 3, "M": 6, "B": 9}
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def number(text: str, decimal: str) -> float:
    text = text.strip().replace("$", "")
    power = POWERS.get(text[-1:], 0)
    if power:
        text = text[:-1]
    group = "," if decimal == "." else "."
    pattern = rf"-?(\d+|\d{{1,3}}({re.escape(group)}\d{{3}})+)({re.escape(decimal)}\d+)?"
    if not re.fullmatch(pattern, text):
        raise ValueError(text)
    return float(f"{text.replace(group, '').replace(decimal, '.')}e{power}")


def nanoseconds(text: str, form: dict) -> int:
    if form["time_format"] == "ms":
        return int(text) * 1_000_000
    if form["time_format"]:
        time = datetime.datetime.strptime(text, form["time_format"])
    else:
        time = datetime.datetime.fromisoformat(text)
    time = time if time.tzinfo else time.replace(tzinfo=datetime.timezone.utc)
    return round((time - EPOCH) / datetime.timedelta(microseconds=1)) * 1000


def bits(value: float) -> str:
    return struct.pack(">d", value).hex()


def meaning(row: list, width: int, form: dict) -> str:
    if len(row) != width:
        return "-"
    try:
        time = nanoseconds(" ".join(row[column].strip() for column in form["time"]), form)
        close = number(row[form["close"]], form["decimal"])
        volume = number(row[form["volume"]], form["decimal"])
    except ValueError:
        return "-"
    symbol = row[form["symbol"]].strip()
    if not symbol or close <= 0 or volume < 0:
        return "-"
    return f"{symbol}\t{time}\t{bits(close)}\t{bits(volume)}"


def main() -> None:
    path, form = sys.argv[1], json.loads(sys.argv[2])
    opened = gzip.open if form["gzip"] else open
    with opened(path, "rt", encoding=form["encoding"], newline="") as file:
        for _ in range(form["header_line"] - 1):
            file.readline()
        rows = [row for row in csv.reader(file, delimiter=form["delimiter"]) if row]
    width = len(rows[0])
    if form["header_line"]:
        del rows[0]
    if form["newest_first"]:
        rows.reverse()
    sys.stdout.reconfigure(encoding="utf-8")
    sys.stdout.writelines(f"{meaning(row, width, form)}\n" for row in rows)


main()
