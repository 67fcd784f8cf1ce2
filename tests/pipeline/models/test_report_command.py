"""`swar report`: which page it opens, and what it says where there is none."""

import errno
import json
import shutil
import sys
import webbrowser
from pathlib import Path

import pytest

from pipeline import cli
from pipeline.models.report_command import find_report


def _page(output, execution):
    page = output / "artifacts" / "VerificationReport" / "report" / execution / "index.html"
    page.parent.mkdir(parents=True)
    page.write_text("<!doctype html>")
    return page


def _summarise(output, page):
    (output / "summary.json").write_text(json.dumps({"report": str(page)}))


@pytest.fixture
def opened(monkeypatch):
    urls: list[str] = []
    monkeypatch.setattr(webbrowser, "open", urls.append)
    return urls


def _swar(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["swar", "report", *map(str, arguments)])
    try:
        cli.main()
    except SystemExit as ended:
        return ended.code
    return 0


def test_the_last_runs_page_is_opened_and_named(tmp_path, monkeypatch, opened, capsys):
    older, newer = _page(tmp_path, "9"), _page(tmp_path, "10")
    _summarise(tmp_path, older)  # a cached report may be older than the newest
    assert _swar(monkeypatch, tmp_path) == 0
    assert opened == [older.as_uri()]
    assert capsys.readouterr().out == f"{older}\n"
    assert newer.exists()


def test_no_open_only_names_it(tmp_path, monkeypatch, opened, capsys):
    page = _page(tmp_path, "3")
    assert _swar(monkeypatch, tmp_path, "--no-open") == 0
    assert opened == []
    assert capsys.readouterr().out == f"{page}\n"


def test_without_a_record_the_highest_execution_is_the_newest(tmp_path):
    _page(tmp_path, "9")
    newer = _page(tmp_path, "10")
    assert find_report(tmp_path) == newer
    for broken in ("", "[]", '{"report": 3}', '{"report": "/gone/index.html"}'):
        (tmp_path / "summary.json").write_text(broken)
        assert find_report(tmp_path) == newer


def test_a_copy_has_its_own_page(tmp_path):
    output, copy = tmp_path / "output", tmp_path / "copy"
    _summarise(output, _page(output, "9"))
    _page(output, "10")
    shutil.copytree(output, copy)
    assert find_report(copy) == copy / "artifacts/VerificationReport/report/9/index.html"


def test_a_moved_folder_has_its_own_page_not_that_of_the_new_run_in_its_place(tmp_path):
    output, old = tmp_path / "output", tmp_path / "output.old"
    _summarise(output, _page(output, "9"))
    output.rename(old)
    _page(output, "9")
    assert find_report(old) == old / "artifacts/VerificationReport/report/9/index.html"


def test_a_folder_that_may_not_be_read_is_told(tmp_path, monkeypatch, capsys, opened):
    def refuse(path, **_):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_dir", refuse)
    assert _swar(monkeypatch, tmp_path) == 2
    assert capsys.readouterr().err == f"swar: error: {tmp_path}: Permission denied\n"


def test_a_report_without_its_page_is_none(tmp_path, monkeypatch, capsys, opened):
    _page(tmp_path, "9").unlink()
    assert _swar(monkeypatch, tmp_path) == 2
    message = capsys.readouterr().err
    assert message.startswith("swar: error: ")
    assert "holds no report" in message
    assert message.count("\n") == 1
    assert opened == []


def test_a_missing_folder_is_told(tmp_path, monkeypatch, capsys, opened):
    assert _swar(monkeypatch, tmp_path / "nope") == 2
    assert "is no folder" in capsys.readouterr().err
