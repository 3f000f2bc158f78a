"""A chart of the table of workloads in SVG: bars of geomail's cost, with nginx's cost as 1."""

from xml.sax.saxutils import escape, quoteattr

from tests.benchmarks import side_by_side
from tests.benchmarks.results import Line, Report
from tests.benchmarks.screen import number

_WIDTH, _ROW, _BAR = 860, 26, 14
_TOP, _BOTTOM = 92, 62
#: The start and the end of the bars; labels are left of them, figures right.
_LEFT, _RIGHT = 270, 640
_LESS, _MORE, _INK, _FAINT, _GRID = "#1a7f5a", "#c77d0a", "#1f2328", "#59636e", "#d1d9e0"
_SUBTITLE = "CPU or memory of the proxy for a unit of work. nginx = 1; shorter is better."
_FONT = "system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif"


def draw(found: Report) -> str:
    """Draw the chart; empty if there is nothing to compare."""
    lines = [
        line
        for chapter in found.chapters
        if chapter.name == side_by_side.NAME
        for line in chapter.lines
        if line.ratio is not None
    ]
    if not lines:
        return ""
    ratios = [line.ratio or 0.0 for line in lines]
    scale = (_RIGHT - _LEFT) / max(1.5, *ratios, 0.0)
    height = _TOP + _ROW * len(lines) + _BOTTOM
    parts = [_head(height, lines), *_axis(scale, height)]
    for row, line in enumerate(lines):
        parts += _row(_TOP + row * _ROW, line, scale)
    return "\n".join([*parts, *_foot(height, found), "</svg>", ""])


def _head(height: int, lines: list[Line]) -> str:
    ratios = ", ".join(f"{line.label} {line.ratio:.2f}" for line in lines)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}"'
            f' height="{height}" role="img" font-family={quoteattr(_FONT)} font-size="13" fill="{_INK}">',
            f"<title>{escape(f'geomail compared with nginx, where nginx is 1: {ratios}')}</title>",
            f'<rect x="0.5" y="0.5" width="{_WIDTH - 1}" height="{height - 1}" rx="8" fill="#fff"'
            f' stroke="{_GRID}"/>',
            _text(24, 34, "geomail compared with nginx", size=18, weight=600),
            _text(24, 56, _SUBTITLE, _FAINT),
        ]
    )


def _axis(scale: float, height: int) -> list[str]:
    parts = []
    bottom = height - _BOTTOM + 4
    marks = int((_RIGHT - _LEFT) / scale / 0.5 + 1e-9)
    for step in range(marks + 1):
        x, value = _LEFT + step * 0.5 * scale, step * 0.5
        nginx = value == 1
        style = f'stroke="{_FAINT}" stroke-dasharray="4 3"' if nginx else f'stroke="{_GRID}"'
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 6}" y2="{bottom}" {style}/>')
        label = "nginx" if nginx else f"{value:g}"
        parts.append(_text(x, _TOP - 12, label, _FAINT, size=11, anchor="middle"))
    return parts


def _row(top: float, line: Line, scale: float) -> list[str]:
    ratio = line.ratio or 0.0
    colour = _LESS if ratio <= 1 else _MORE
    base = top + _ROW / 2 + 4.5
    figures = f"{number(line.median(line.measured))} / {number(line.median(line.base))} {line.unit}"
    return [
        _text(_LEFT - 12, base, line.label, anchor="end"),
        f'<rect x="{_LEFT}" y="{top + (_ROW - _BAR) / 2:g}" width="{max(1.0, ratio * scale):.1f}"'
        f' height="{_BAR}" rx="2" fill="{colour}"/>',
        _text(_RIGHT + 44, base, f"{ratio:.2f}", colour, weight=600, anchor="end"),
        _text(_RIGHT + 58, base, figures, _FAINT, size=12),
    ]


def _foot(height: int, found: Report) -> list[str]:
    machine, turns = found.machine, found.amounts.turns
    named = ("geomail", "nginx", "Python", "gevent", "OpenSSL")
    versions = ", ".join(f"{name} {machine[name]}" for name in named)
    place = f"{machine['processors']}, Linux {machine['kernel']}, {machine['date']}"
    runs = "One run" if turns == 1 else f"Medians of {turns} alternated runs"
    return [
        _text(_RIGHT + 58, _TOP - 12, "geomail / nginx", _FAINT, size=11),
        _text(24, height - 32, versions, _FAINT, size=11),
        _text(24, height - 15, f"{runs}, one worker each: {place}", _FAINT, size=11),
    ]


def _text(
    x: float, y: float, text: str, fill: str = _INK, *, size: int = 13, weight: int = 400, anchor: str = ""
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{fill}" font-size="{size}" font-weight="{weight}"'
        f' text-anchor="{anchor or "start"}">{escape(text)}</text>'
    )
