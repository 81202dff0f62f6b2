import subprocess
import sys

import numpy as np
import pytest

from holdfast.studies.table import measured_names, metric_names, read_table, table_of, write_table


def test_a_table_comes_back_as_it_was_written(tmp_path) -> None:
    rows = [
        {"cell": "a", "lr": 1, "seed": 0, "acc": float("nan"), "error": "line 1\nline 2"},
        {"cell": "äb", "lr": 0.5, "seed": 1, "acc": 0.1 + 0.2, "error": ""},
    ]
    table = table_of(rows)
    write_table(tmp_path / "t.parquet", table)
    back = read_table(tmp_path / "t.parquet")
    assert {name: column.dtype for name, column in back.items()} == {
        "cell": object, "lr": np.float64, "seed": np.int64, "acc": np.float64, "error": object,
    }  # fmt: skip
    for name, column in table.items():
        assert back[name].dtype == column.dtype
        np.testing.assert_array_equal(back[name], column)
    assert [path.name for path in tmp_path.iterdir()] == ["t.parquet"]
    assert table_of([]) == {}


def test_what_only_some_runs_have_is_unknown_of_the_others(tmp_path) -> None:
    rows = [
        {"cell": "a", "net.width": 2, "seed": 0, "error": ""},
        {"cell": "a", "net.width": 2, "seed": 1, "error": "", "P.moved": 0.5, "P.note": 1},
    ]
    table = table_of(rows)
    assert list(table) == ["cell", "net.width", "seed", "error", "P.moved", "P.note"]
    np.testing.assert_array_equal(table["P.moved"], [np.nan, 0.5])
    write_table(tmp_path / "t.parquet", table)
    np.testing.assert_array_equal(read_table(tmp_path / "t.parquet")["P.moved"], [np.nan, 0.5])
    names = measured_names(table, ("net.width",))
    assert names == (*metric_names(), "seconds", "cpu_seconds", "P.moved", "P.note")


def test_what_cannot_be_read_is_named(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="no table at"):
        read_table(tmp_path / "t.parquet")
    (tmp_path / "t.parquet").write_bytes(b"PAR1 cut short")
    with pytest.raises(ValueError, match=r"t.parquet is truncated or no parquet file"):
        read_table(tmp_path / "t.parquet")


def test_a_program_may_end_as_soon_as_it_has_read(tmp_path) -> None:
    write_table(tmp_path / "t.parquet", table_of([{"cell": "a", "seed": 0, "acc": 0.5}]))
    code = (
        "import sys, torch; from pathlib import Path\n"
        "from holdfast.studies.table import read_table\n"
        "print(len(read_table(Path(sys.argv[1]))))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "t.parquet")], capture_output=True, text=True
    )
    assert (ended.returncode, ended.stdout) == (0, "3\n"), ended.stderr
