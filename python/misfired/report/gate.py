"""A gate in words, as a table, as JUnit XML for build servers and as Markdown for a summary page."""

import re
from collections.abc import Iterator, Mapping
from typing import Any
from xml.etree import ElementTree as Xml

from misfired.report.notes import WORDS
from misfired.report.stats import shared_words, slice_name
from misfired.report.table import Table, number, paragraph, text, whole
from misfired.stats.gating import MOST_SCENARIOS, MOST_UNSCORED, POWER, Gate
from misfired.stats.sharing import Shared
from misfired.text import shown

_Row = Mapping[str, Any]

_HEADLINES = {
    "pass": "PASS: the data exclude the harm",
    "fail": "FAIL: the data show the harm",
    "inconclusive": "INCONCLUSIVE: the data neither show nor exclude the harm",
}

_MANY = 4  # Up to this number, all places are named in a headline.

_HEADER = ("rule", "slice", "base", "cand.", "change", "interval", "pairs", "verdict")

#: Reasons of a gate, beside those of all tables.
_REASONS = {
    "reaches_over": "the interval reaches over the line",
    "unscored": f"more than {MOST_UNSCORED:g} % of the pairs are unscored in one of the runs",
    "constant_answers": "a model gives one answer to every prompt, and a constant answer would look the same",
    "does_not_read": "{runs} does not read, so its rates mean nothing",
    "not_shown_to_read": "{runs} is not shown to read, so its rates may mean nothing",
    "little_support": f"too little support: {WORDS['little_support']}",
    "few_scenarios": f"too little support: {WORDS['few_scenarios']}",
    "no_interval": "there is no interval",
}

#: What more scenarios do for a row, by its reason.
_HELPED = {
    "reaches_over": f"settle a row with a chance of {100 * POWER:.0f} %, if its change stays what it is",
    "little_support": "would have enough",
    "few_scenarios": "would have enough",
}

#: What XML 1.0 cannot hold.
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def gate_text(gate: Gate, names: tuple[str, str], shared: Shared) -> str:
    """Return the verdict, the table and what would settle it, for a terminal."""
    head = paragraph(f"{headline(gate)} (exit code {gate.exit_code})")
    runs = "\n".join(
        paragraph(whole(name, f"{side:<11}"))
        for side, name in zip(("base", "candidate"), names, strict=True)
    )
    where = shared_words(shared)
    notes = [f"- {line}" for line in (*_notes(gate), levels_words(gate))]
    rows = [_cells(row) for row in gate.rows.iter_rows(named=True)]
    table = Table(_HEADER, rows, "candidate - base, in points", n_words=2, notes=notes)
    return "\n\n".join([head, f"{runs}\n{where}", text(table)])


def headline(gate: Gate) -> str:
    """Return the verdict in one sentence, with the rules that decided it."""
    deciding = gate.rows.filter(verdict=gate.verdict)
    if gate.verdict == "pass":
        return f"{_HEADLINES['pass']}."
    places = [_place(row) for row in deciding.iter_rows(named=True)]
    more = f" and {len(places) - _MANY} more" if len(places) > _MANY else ""
    return f"{_HEADLINES[gate.verdict]}: {', '.join(places[:_MANY])}{more}."


def gate_markdown(gate: Gate, names: tuple[str, str]) -> str:
    """Return a short summary as Markdown."""
    rows = [_cells(row) for row in gate.rows.iter_rows(named=True)]
    lines = [f"**misfired: {_plain(headline(gate))}**", ""]
    lines += [f"`{_code(names[1])}` against `{_code(names[0])}`, in percentage points.", ""]
    lines.append(f"| {' | '.join(_HEADER)} |")
    lines.append("|---|---" + "|--:" * (len(_HEADER) - 3) + "|---|")
    lines += [f"| {' | '.join(_plain(str(cell)) for cell in row)} |" for row in rows]
    lines += ["", *(f"- {_plain(line)}" for line in (*_notes(gate), levels_words(gate)))]
    return "\n".join(lines) + "\n"


def gate_junit(gate: Gate, names: tuple[str, str]) -> bytes:
    """Return JUnit XML: a test case per row; a harm is a failure, an inconclusive row an error.

    An error says that a test could not tell. A skipped test would look as if nothing were amiss.
    """
    counts = {name: len(gate.rows.filter(verdict=name)) for name in ("fail", "inconclusive")}
    sizes = {
        "tests": str(len(gate.rows)),
        "failures": str(counts["fail"]),
        "errors": str(counts["inconclusive"]),
        "skipped": "0",
    }
    root = Xml.Element("testsuites", {"name": "misfired", **sizes})
    title = _xml(f"misfired compare {names[0]} {names[1]}")
    suite = Xml.SubElement(root, "testsuite", {"name": title, **sizes})
    properties = Xml.SubElement(suite, "properties")
    for name, value in (("verdict", gate.verdict), ("exit_code", str(gate.exit_code))):
        Xml.SubElement(properties, "property", {"name": name, "value": value})
    for row in gate.rows.iter_rows(named=True):
        name = _xml(f"{row['rule']}, {slice_name(row)}")
        case = Xml.SubElement(suite, "testcase", {"classname": "misfired.gate", "name": name})
        if row["verdict"] == "pass":
            Xml.SubElement(case, "system-out").text = _xml(_numbers(row))
            continue
        kind = "failure" if row["verdict"] == "fail" else "error"
        message = _numbers(row) + (f": {_why(row, gate)}" if row["reason"] else "")
        Xml.SubElement(case, kind, {"message": _xml(message), "type": row["verdict"]})
    Xml.indent(root)
    return bytes(Xml.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def levels_words(gate: Gate) -> str:
    """Return the levels of the ends of the intervals."""
    level, n = gate.confidence_level, len(gate.rows)
    if n == 1:
        return f"intervals have the level {100 * level:g} %"
    adjusted = 100 * (1 - (1 - level) / n)
    return (
        f"the end of an interval that must lie beyond the line is adjusted for {n} rows (level "
        f"{adjusted:.4g} %), the other has the level {100 * level:g} %: all rows must pass"
    )


def _notes(gate: Gate) -> Iterator[str]:
    """Yield why rows are inconclusive, rows of one reason without a number together, and what would help."""
    for run, reads in gate.reads.items():
        if reads is None:
            yield f"it cannot be known if the {run} reads"
    alike: dict[str, list[_Row]] = {}
    for row in gate.rows.filter(verdict="inconclusive").iter_rows(named=True):
        alike.setdefault(row["reason"], []).append(row)
    for reason, rows in alike.items():
        if len(rows) > 1 and reason in _HELPED:
            places = (f"{_place(row)} {_scenarios(row['n_needed'])}" for row in rows)
            yield f"{_reason(reason, gate)}; scenarios that {_HELPED[reason]}: {', '.join(places)}"
        else:
            yield f"{', '.join(map(_place, rows))}: {_why(rows[0], gate)}"


def _reason(reason: str, gate: Gate) -> str:
    unread = " and the ".join(run for run, reads in gate.reads.items() if reads is False)
    return _REASONS.get(reason, WORDS.get(reason, reason)).format(runs=f"the {unread}")


def _scenarios(needed: int | None) -> str:
    return f"none up to {MOST_SCENARIOS:,}" if needed is None else f"about {needed:,}"


def _why(row: _Row, gate: Gate) -> str:
    reason, needed = row["reason"], row["n_needed"]
    if reason == "reaches_over" and needed is None:
        more = f"; not even {MOST_SCENARIOS:,} scenarios would settle it: the change lies near the line"
    elif reason == "reaches_over":
        stays = f"if the change stays {row['value']:+.1f}"
        more = f"; {_scenarios(needed)} scenarios settle it with a chance of {100 * POWER:.0f} %, {stays}"
    elif reason in _HELPED:
        more = f"; {_scenarios(needed)} scenarios like these would have enough" if needed else ""
    else:
        helps = reason not in _REASONS or reason == "not_shown_to_read"
        more = "" if helps else "; more scenarios do not help"
    return _reason(reason, gate) + more


def _place(row: _Row) -> str:
    return f"{row['rule']} ({slice_name(row)})"


def _numbers(row: _Row) -> str:
    """Return base, candidate, change and interval in a line."""
    base, candidate, change, ends = _cells(row)[2:6]
    return f"{row['measure']} {base} to {candidate}, change {change} {ends}"


def _cells(row: _Row) -> tuple[str, ...]:
    ends = "-"
    if row["low"] is not None and row["high"] is not None:
        ends = f"[{row['low']:+.1f}, {row['high']:+.1f}]"
    rates = (number(row["base"]), number(row["candidate"]), number(row["value"], "+"))
    return (row["rule"], slice_name(row), *rates, ends, f"{row['n_pairs']:,}", row["verdict"])


def _xml(content: str) -> str:
    return _NO_XML.sub("\ufffd", shown(content, None))


def _plain(content: str) -> str:
    """Return a text that Markdown shows as it is, on one line."""
    return re.sub(r"([\\`*_\[\]<>|#~&])", r"\\\1", shown(" ".join(content.split()), None))


def _code(content: str) -> str:
    return shown(content.replace("`", "'"), None)
