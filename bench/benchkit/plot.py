"""Lines over logarithmic axes as SVG. Standard library only."""

import math
from html import escape

WIDTH, HEIGHT = 860, 400
LEFT, RIGHT, TOP, BOTTOM = 64, 220, 36, 46
SHAPES = {
    "circle": '<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{c}"/>',
    "square": '<rect x="{x1:.1f}" y="{y1:.1f}" width="8" height="8" fill="{c}"/>',
    "dot": '<circle cx="{x:.1f}" cy="{y:.1f}" r="2" fill="{c}"/>',
    "ring": '<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="white" stroke="{c}" stroke-width="2"/>',
}


class Scale:
    """Powers of two across, powers of ten up."""

    def __init__(self, xs, ys):
        self.xs = sorted(set(xs))
        self.x0, self.x1 = math.log(self.xs[0]), math.log(self.xs[-1])
        self.y0, self.y1 = math.floor(math.log10(min(ys))), math.ceil(math.log10(max(ys)) + 1e-9)
        if self.y0 == self.y1:
            self.y1 += 1

    def x(self, v):
        span = self.x1 - self.x0
        part = (math.log(v) - self.x0) / span if span else 0.5
        return LEFT + 20 + part * (WIDTH - LEFT - RIGHT - 40)

    def y(self, v):
        return HEIGHT - BOTTOM - (math.log10(v) - self.y0) / (self.y1 - self.y0) * (HEIGHT - TOP - BOTTOM)


def _axes(scale, title, across):
    yield f'<text x="{LEFT}" y="22" font-weight="bold">{escape(title)}</text>'
    for power in range(scale.y0, scale.y1 + 1):
        y = scale.y(10 ** power)
        yield f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#dddddd"/>'
        yield f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{10.0 ** power:g}</text>'
    for x in scale.xs:
        yield f'<text x="{scale.x(x):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{x}</text>'
    yield f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">{escape(across)}</text>'


def _curve(scale, points, colour, shape, dashed):
    at = [(scale.x(x), scale.y(y)) for x, y in points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
    dash = ' stroke-dasharray="6 4"' if dashed else ""
    yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>'
    for x, y in at:
        yield SHAPES[shape].format(x=x, y=y, x1=x - 4, y1=y - 4, c=colour)


def _names(scale, curves):
    """Beside the last points, in their order; each far enough from the one above."""
    above = 0
    for points, label, colour, shape, _dashed in sorted(curves, key=lambda c: -c[0][-1][1]):
        y = above = max(scale.y(points[-1][1]), above + 16)
        x = WIDTH - RIGHT + 16
        yield SHAPES[shape].format(x=x, y=y, x1=x - 4, y1=y - 4, c=colour)
        yield f'<text x="{x + 10}" y="{y + 4:.1f}" fill="{colour}">{escape(label)}</text>'


def svg(title, across, curves):
    """curves: (points, label, colour, shape, dashed); no zero can be drawn. None: nothing to draw."""
    curves = [([(x, y) for x, y in points if y > 0], *rest) for points, *rest in curves]
    curves = [c for c in curves if c[0]]
    if not curves:
        return None
    every = [p for points, *_ in curves for p in points]
    scale = Scale([x for x, _ in every], [y for _, y in every])
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>', *_axes(scale, title, across)]
    for points, _label, colour, shape, dashed in curves:
        out += _curve(scale, points, colour, shape, dashed)
    out += _names(scale, curves)
    return "\n".join([*out, "</svg>"]) + "\n"
