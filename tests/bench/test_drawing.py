"""Charts are sound SVG, say in text what they show, and are the same each time."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from bench.drawing import Chart, Line, number, svg

NS = "{http://www.w3.org/2000/svg}"


def _chart(**more: object) -> Chart:
    given: dict[str, object] = {
        "title": "A <title> & more",
        "x_label": "flows",
        "y_label": "milliseconds",
        "x": (1000, 10_000, 100_000),
        "lines": (Line("one", (1.5, 20, 300)), Line("two", (2, 2, 2.5))),
    }
    return Chart(**{**given, **more})  # type: ignore[arg-type]


def test_the_same_chart_gives_the_same_bytes() -> None:
    assert svg(_chart()) == svg(_chart())


def test_labels_and_figures_are_text() -> None:
    root = ElementTree.fromstring(svg(_chart(bound=(20_000, "full"), budget=(50, "budget: 50 ms"))))
    texts = [element.text for element in root.iter(f"{NS}text")]
    assert {"A <title> & more", "flows", "milliseconds", "one", "two", "full", "budget: 50 ms"} <= set(texts)
    assert {"1,000", "10,000", "100 k"} <= set(texts)
    desc = root.find(f"{NS}desc")
    assert desc is not None
    assert "one: 1,000: 1.5, 10,000: 20, 100 k: 300" in str(desc.text)


def test_points_lie_inside_and_in_order() -> None:
    root = ElementTree.fromstring(svg(_chart()))
    lines = [element.get("points", "").split() for element in root.iter(f"{NS}polyline")]
    assert [len(points) for points in lines] == [3, 3]
    for points in lines:
        across = [float(point.split(",")[0]) for point in points]
        assert across == sorted(across)
        assert all(0 <= float(value) <= 680 for point in points for value in point.split(","))


@pytest.mark.parametrize("values", [(0, 0, 0), (5, 5, 5), (0, 1, 1e6), (1e-3, 2e-3, 3e-3)])
def test_any_values_make_a_chart(values: tuple[float, ...]) -> None:
    ElementTree.fromstring(svg(_chart(lines=(Line("one", values),))))


def test_light_and_dark_and_no_colour_needed() -> None:
    text = svg(_chart())
    assert "prefers-color-scheme:dark" in text
    assert "#" not in text.replace("&#", "")
    assert "stroke-dasharray" in text


@pytest.mark.parametrize(
    ("value", "shown"), [(0, "0"), (0.05, "0.05"), (1000, "1,000"), (100_000, "100 k"), (1_000_000, "1 M")]
)
def test_numbers_of_an_axis(value: float, shown: str) -> None:
    assert number(value) == shown
