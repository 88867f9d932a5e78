"""One plot of several jobs' losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from brandloom import MetricPoint


def draw_losses(
    path: Path, curves: Mapping[str, Sequence[MetricPoint]], colours: Mapping[str, str], title: str
) -> Path:
    """Writes a PNG with each curve's loss, thin, and its moving average, thick; gives the path."""
    figure = Figure(figsize=(9.6, 5.2), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for name, points in curves.items():
        steps = [point.step for point in points]
        axes.plot(steps, [point.loss for point in points], color=colours[name], alpha=0.22, linewidth=0.9)
        axes.plot(
            steps,
            [point.smoothed_loss for point in points],
            color=colours[name],
            linewidth=2.2,
            label=name,
        )
    axes.set_title(title, loc="left")
    axes.set_xlabel("step")
    axes.set_ylabel("loss")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path)
    return path
