"""The log where the disk is full."""

from __future__ import annotations

import os

from echomox.log import Log, Sink


def test_a_line_that_the_disk_had_no_room_for_does_not_run_into_the_next(tmp_path, monkeypatch):
    sink = Sink()
    sink.configure(str(tmp_path / "log"), "smtp.0", {})
    log, write = Log("smtpd", sink=sink), os.write

    def half(descriptor, data):
        return write(descriptor, data[: len(data) // 2])

    def full(descriptor, data):
        raise OSError(28, "No space left on device")

    log.info("first")
    for room in (half, full):
        monkeypatch.setattr(os, "write", room)
        log.info("lost")
    monkeypatch.setattr(os, "write", write)
    log.info("second")
    log.info("third")
    lines = (tmp_path / "log").read_text().splitlines()
    assert [line.partition("event=")[2] for line in lines] == ["first", "", "second", "third"]
