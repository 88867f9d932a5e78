"""A picture of how the loss fell."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

LossPoint = tuple[int, float, float]
"""(step, loss, smoothed loss)"""
ValidationPoint = tuple[int, float]
"""(step, loss)"""


def draw_loss_plot(
    path: Path, title: str, points: Sequence[LossPoint], evaluated: Sequence[ValidationPoint] = ()
) -> None:
    """Writes a PNG of 800 x 450 pixels at `path`; an empty job gives empty axes. Raises OSError."""
    # Figure and canvas by hand: pyplot keeps state for the whole process and is not safe in threads.
    figure = Figure(figsize=(8, 4.5), dpi=100, layout="constrained")
    axes = FigureCanvasAgg(figure).figure.add_subplot()
    steps = [step for step, _, _ in points]
    axes.plot(steps, [loss for _, loss, _ in points], color="#b9c6d8", linewidth=0.8, label="loss")
    axes.plot(
        steps, [smoothed for _, _, smoothed in points], color="#1f4e8c", linewidth=1.8, label="smoothed"
    )
    if evaluated:
        where, losses = zip(*evaluated, strict=True)
        axes.plot(where, losses, "o-", color="#c0561f", linewidth=1.4, markersize=4, label="validation")
    # Dollar signs in a job's name are no mathematics.
    axes.set_title(title.replace("$", r"\$"))
    axes.set_xlabel("step")
    axes.set_ylabel("loss")
    axes.grid(visible=True, alpha=0.3)
    axes.legend(loc="upper right")
    figure.savefig(path, format="png", metadata={"Software": "Brandloom"})
