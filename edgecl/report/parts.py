"""What our pages are made of: a frame without foreign requests, tiles, tables, heat maps, charts by uPlot."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

FINE = 24  # rows or columns above which a heat map has no figures in its cells

Cells = Sequence[Sequence[float | None]]


def asset(name: str) -> str:
    """The text of a file in ``assets``."""
    return Path(__file__).with_name("assets").joinpath(name).read_text(encoding="utf-8")


def escape(text: Any) -> str:
    return html.escape(str(text))


class Charts:
    """The specifications of a page's charts; `charts.js` draws them."""

    def __init__(self) -> None:
        self.specs: list[dict[str, Any]] = []

    def figure(
        self, title: str, about: str, x: Sequence[float], xlabel: str, series: Sequence[Mapping[str, Any]], **look: Any
    ) -> str:
        """The place of a chart. series : label, values, and at will dash, points, color
        look : range [low, high], format (share, number, megabytes, count), whole (x are a few whole numbers)
        """
        self.specs.append({"x": list(x), "xlabel": xlabel, "series": [dict(s) for s in series], **look})
        place = f"data-chart='{len(self.specs) - 1}' role='img' aria-label='{escape(title)}'"
        caption = f"<figcaption>{escape(title)}<small>{escape(about)}</small></figcaption>"
        return f"<figure>{caption}<div class='chart' {place}></div></figure>"


def page(title: str, body: Sequence[str], charts: Charts, data: Mapping[str, Any] | None = None) -> str:
    """One self-contained page. data : by the id of the script element that holds it as JSON"""
    held = {**(data or {}), "charts": charts.specs}
    scripts = "\n".join(
        f"<script type='application/json' id='{name}'>{script_json(value)}</script>" for name, value in held.items()
    )
    return "\n".join([
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>",
        "<meta name='viewport' content='width=device-width,initial-scale=1'>",
        "<meta name='color-scheme' content='light dark'>",
        f"<title>{escape(title)}</title><style>{asset('uPlot.min.css')}\n{asset('page.css')}</style></head><body><main>",
        *body,
        f"</main>{scripts}<script>{asset('uPlot.iife.min.js')}</script>",
        f"<script>{asset('charts.js')}</script></body></html>\n",
    ])  # fmt: skip


def script_json(value: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def tiles(found: Sequence[tuple[str, str]]) -> str:
    """(figure, what it is) as cards."""
    return "<div class='tiles'>" + "".join(
        f"<div class='tile'><b>{escape(value)}</b><span>{escape(name)}</span></div>" for value, name in found
    ) + "</div>"  # fmt: skip


def table(head: Sequence[str], rows: Sequence[Sequence[Any]], look: str = "plain") -> str:
    """A table that scrolls within itself. look : plain, or wrap for text in the second column"""
    first = "".join(f"<th scope='col'>{escape(h)}</th>" for h in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(c)}</td>" for c in row) + "</tr>" for row in rows)
    thead = f"<thead><tr>{first}</tr></thead>" if any(head) else ""
    return f"<div class='scroll'><table class='plain {look}'>{thead}<tbody>{body}</tbody></table></div>"


def heat(corner: str, columns: Sequence[Any], rows: Sequence[Any], cells: Cells) -> str:
    """Shares 0..1 as a coloured table; without figures in the cells where it is large."""
    fine = max(len(columns), len(rows)) > FINE

    def named(i: int, name: Any, count: int) -> str:
        return "" if fine and i % max(1, count // 10) else escape(name)

    head = "".join(f"<th scope='col' title='{escape(c)}'>{'' if fine else escape(c)}</th>" for c in columns)
    lines = []
    for i, (name, row) in enumerate(zip(rows, cells)):
        line = "".join(_cell(a, fine) for a in row)
        lines.append(f"<tr><th scope='row' title='{escape(name)}'>{named(i, name, len(rows))}</th>{line}</tr>")
    look = "heat fine" if fine else "heat"
    first = f"<thead><tr><th scope='col'>{escape(corner)}</th>{head}</tr></thead>"
    return f"<div class='scroll'><table class='{look}'>{first}<tbody>{''.join(lines)}</tbody></table></div>"


def _cell(a: float | None, fine: bool) -> str:
    if a is None:
        return "<td class='none'></td>"
    text = "" if fine else f"{a:.2f}"
    return f"<td{' class=hi' if a > 0.55 else ''} style='--a:{a:.3f}'>{text}</td>"


def bars(rows: Sequence[tuple[Any, float]]) -> str:
    """(name, share) as figures with bars."""
    body = "".join(
        f"<tr><td>{escape(name)}</td><td>{a:.3f}</td><td><span class='bar' style='--a:{a:.3f}'></span></td></tr>"
        for name, a in rows
    )
    return f"<div class='scroll'><table class='plain bars'><tbody>{body}</tbody></table></div>"
