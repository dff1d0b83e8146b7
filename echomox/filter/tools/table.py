"""The report of `evaluate` as text for people. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan
from typing import Any

HEAD = (
    "", "1-AUC%", "2nd half", "ham wrong%", "spam wrong%", "logloss", "missed@0.1%", "lost@99%", "ham in/junk/rej %",
    "spam in/junk/rej %",
)  # fmt: skip

LEGEND = (
    "1-AUC %: how often a ham ranks above a spam (0 is perfect, 50 is guessing); 2nd half: of the later half alone",
    "ham wrong, spam wrong %: on the wrong side of P 0.5; logloss: how far the probabilities are off, 0 is perfect",
    "missed@0.1%: % of spam missed if at most 0.1 % of ham may be lost; lost@99%: % of ham lost to catch 99 % of spam",
    "in/junk/rej %: to the Inbox, to Junk and refused, by the thresholds; -: cannot be said of these messages",
)
"""What the columns mean."""


def lines(report: Mapping[str, Any]) -> list[str]:
    """Everything, protocol by protocol."""
    out = [f"{report['messages']} messages, {report['spam']} of them spam"]
    for protocol in ("online", "delayed", "drift"):
        if protocol in report:
            out += ["", *_protocol(protocol, report[protocol])]
    if "cold" in report:
        out += ["", *_cold(report["cold"])]
    if "attack" in report:
        out += ["", *_attack(report["attack"])]
    return [*out, "", *LEGEND]


def _protocol(name: str, found: Mapping[str, Any]) -> list[str]:
    rows = [("all", found["all"])]
    rows += [(f"{part} alone", figures) for part, figures in found.get("alone", {}).items()]
    rows += [(f"without {part}", figures) for part, figures in found.get("without", {}).items()]
    speed = found["speed"]
    later = found["all"]["after"]
    wide = [[title, *_figures(figures)] for title, figures in rows]
    return [
        f"{name}: {found['all']['messages']} messages",
        *_columns([list(HEAD), *wide]),
        f"after the first {found['all']['messages'] - later['messages']}: ham {_bands(later['ham_bands'])}, "
        f"spam {_bands(later['spam_bands'])}, log-loss {later['log_loss']:.4f}",
        "CPU a message: " + ", ".join(_speed(speed, name) for name in ("classify", "train")),
        f"calibration error {found['all']['calibration_error']:.4f}; said/true: "
        + "  ".join(f"{row['said']:.3f}/{row['true']:.3f} ({row['messages']})" for row in found["calibration"]),
    ]


def _speed(speed: Mapping[str, float], name: str) -> str:
    return f"{name} {speed[f'{name}_us']:.0f} us ({speed[f'{name}_per_second']:.0f} messages/s)"


def _figures(found: Mapping[str, Any]) -> list[str]:
    return [
        _figure(found["auc_error"], 3),
        _figure(found["auc_error_second_half"], 3),
        _figure(found["ham_misclassified"], 2),
        _figure(found["spam_misclassified"], 2),
        _figure(found["log_loss"], 4),
        _figure(found["spam_missed_at_0.1_ham"], 1),
        _figure(found["ham_lost_at_99_spam"], 2),
        _bands(found["ham_bands"]),
        _bands(found["spam_bands"]),
    ]


def _figure(value: float, digits: int) -> str:
    """ "-" for what cannot be said, as the error of ranking where one kind is missing."""
    return "-" if isnan(value) else f"{value:.{digits}f}"


def _bands(values: Sequence[float]) -> str:
    return "/".join(_figure(value, 2) for value in values)


def _cold(found: Mapping[str, Any]) -> list[str]:
    totals, untrained = found["totals"], found["untrained"]
    return [
        f"cold: the first messages of {found['starts']} fresh accounts: {totals['ham']} ham, of them "
        f"{totals['ham_junk']} in Junk and {totals['ham_rejected']} refused; {totals['spam']} spam, "
        f"{totals['caught']} caught; 1-AUC {found['figures']['auc_error']:.2f} %",
        f"untrained: 1-AUC {untrained['auc_error']:.2f} %, ham {_bands(untrained['ham_bands'])}, "
        f"spam {_bands(untrained['spam_bands'])}",
    ]


def _attack(found: Mapping[str, Any]) -> list[str]:
    amounts = found["amounts"]
    names = list(next(iter(amounts.values()), {}))
    body = [[name, *(f"{row[name][0]:.1f}" for row in amounts.values())] for name in names]
    head = ["% of the body appended", *amounts]
    return [f"attack: {found['spam']} spam; % not in the Inbox", *_columns([head, *body])]


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
