import errno
import os
import subprocess
import sys
from xml.etree import ElementTree

import matplotlib
import pytest

from holdfast.reports import curves_figure, matrix_figure, save_figure


def test_the_same_run_gives_the_same_bytes(make_record, tmp_path):
    for name in ("a", "b"):
        save_figure(curves_figure(make_record(3)), tmp_path / name)
    for ending in (".png", ".svg"):
        assert (tmp_path / f"a{ending}").read_bytes() == (tmp_path / f"b{ending}").read_bytes()


def test_both_formats_are_whole_files(make_record, tmp_path):
    written = save_figure(matrix_figure(make_record(2)), tmp_path / "new" / "figure")
    assert [path.name for path in written] == ["figure.png", "figure.svg"]
    assert written[0].read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert ElementTree.parse(written[1]).getroot().tag.endswith("svg")
    assert sorted(os.listdir(tmp_path / "new")) == ["figure.png", "figure.svg"]


def test_one_format_by_its_ending(make_record, tmp_path):
    save_figure(matrix_figure(make_record(2)), str(tmp_path / "figure.svg"))
    assert os.listdir(tmp_path) == ["figure.svg"]
    with pytest.raises(ValueError, match=r"must end in .png or .svg, or have no ending.*a\.jpg"):
        save_figure(matrix_figure(make_record(2)), tmp_path / "a.jpg")


def test_a_full_disk_keeps_the_figure_of_before(make_record, tmp_path, monkeypatch):
    (tmp_path / "figure.png").write_bytes(b"old")

    def refuse(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match=r"No space left.*figure\.png"):
        save_figure(matrix_figure(make_record(2)), tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["figure.png"]


def test_the_users_settings_neither_matter_nor_change(make_record, tmp_path):
    save_figure(matrix_figure(make_record(3)), tmp_path / "plain.svg")
    with matplotlib.rc_context({"font.size": 30, "axes.grid": True, "svg.hashsalt": "mine"}):
        before = dict(matplotlib.rcParams)
        save_figure(matrix_figure(make_record(3)), tmp_path / "mine.svg")
        assert dict(matplotlib.rcParams) == before
    assert (tmp_path / "plain.svg").read_bytes() == (tmp_path / "mine.svg").read_bytes()


def test_pyplot_is_left_alone():
    code = "import sys, holdfast.reports; sys.exit('matplotlib.pyplot' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_records_need_no_matplotlib():
    code = "import sys, holdfast.records; sys.exit('matplotlib' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
