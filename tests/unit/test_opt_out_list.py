"""A file of opt-outs: bare numbers, a table, an export; every fault with its line and column."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import pytest

from broadcaster.intake.faults import EmptyListError, ListRefusedError, RejectsFile
from broadcaster.intake.opt_out_list import read_opt_outs
from broadcaster.ledger.optouts import OptOut
from broadcaster.ledger.people_key import hashed

if TYPE_CHECKING:
    from pathlib import Path

SERVICE = "MG" + "1" * 32
TABLE = "address,sender,purpose,since,source"
FORGOTTEN = hashed(b"key", "+14155550100")
FIRST = "+14155550100,*,,1700000000,reply:SM1"
SECOND = f"whatsapp:+14155550100,{SERVICE},marketing,,"
THIRD = f"{FORGOTTEN},12345,,2023-11-14T22:13:20Z,'=1+1"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("+14155550100\n\n(415) 555-0101\n", [OptOut("+14155550100", "12345#utility", "file"),
                                             OptOut("+14155550101", "12345#utility", "file")]),
        ("phone;note\n+14155550100;x\n", [OptOut("+14155550100", "12345#utility", "file")]),
        ("sep=;\naddress;sender\n'+14155550100;*\n", [OptOut("+14155550100", "*", "file")]),
        (
            f"{TABLE}\n{FIRST}\n{SECOND}\n{THIRD}\n",
            [
                OptOut("+14155550100", "*", "reply:SM1", 1_700_000_000),
                OptOut("whatsapp:+14155550100", f"{SERVICE}#marketing", "file"),
                OptOut(FORGOTTEN, "12345", "=1+1", 1_700_000_000),
            ],
        ),
        ("address,sender\n+14155550100,rcs:brand_7_agent\n",
         [OptOut("+14155550100", "rcs:brand_7_agent", "file")]),  # as a STOP to an RCS agent is exported
        ("Address,Scope\n+14155550100,*#marketing\n", [OptOut("+14155550100", "*#marketing", "file")]),
        (
            '{"address":"+14155550100","sender":"*","purpose":null,"since":1700000000,"source":"api"}\n',
            [OptOut("+14155550100", "*", "api", 1_700_000_000)],
        ),
    ],
    ids=["numbers", "another-table", "excel", "export", "rcs", "scope", "ndjson"],
)  # fmt: skip
def test_what_a_file_says(tmp_path: Path, text: str, expected: list[OptOut]) -> None:
    (tmp_path / "list").write_text(text, encoding="utf-8")
    path = str(tmp_path / "list")
    assert read_opt_outs(path, scope="12345#utility", source="file", region="US") == expected


BAD = (
    "address,sender,purpose,source,since\n+14155550100,,,,\n12,,,,\n+14155550101,+,,,\n"
    f"+14155550102,,spam,,\n+14155550103,,,{'x' * 101},\n+14155550104,,,,4102444800\n+14155550105,,,,soon\n"
)


def test_every_fault_has_its_line_and_column(tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(BAD, encoding="utf-8")
    with pytest.raises(ListRefusedError, match="6 of 7 rows have a fault, so nothing was added") as refused:
        read_opt_outs(str(path))
    assert [(fault.line, fault.column) for fault in refused.value.shown] == [
        (3, "address"), (4, "sender"), (5, "purpose"), (6, "source"), (7, "since"), (8, "since"),
    ]  # fmt: skip
    with RejectsFile(tmp_path / "rejects.csv", list_path=str(path)) as rejects:
        assert read_opt_outs(str(path), rejects=rejects) == [OptOut("+14155550100", "*", "import")]
    rows = list(csv.reader((tmp_path / "rejects.csv").read_text(encoding="utf-8").splitlines()))
    assert rows[0] == ["line", "reason", "address", "sender", "purpose", "source", "since"]
    assert [row[0] for row in rows[1:]] == ["3", "4", "5", "6", "7", "8"]


def test_a_table_without_rows_is_told(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("address\n", encoding="utf-8")
    with pytest.raises(EmptyListError, match="no opt-outs in it"):
        read_opt_outs(str(tmp_path / "list"))
