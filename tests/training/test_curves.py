"""The picture of a run's curves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from ghostlab.training.history import History
from ghostlab.training.results import draw_curves


@pytest.mark.parametrize("epochs", [1, 2, 3, 7, 12, 300])
def test_ticks_of_epochs_are_whole_and_each_is_there_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, epochs: int
) -> None:
    drawn: list[Figure] = []
    save = Figure.savefig

    def keep(figure: Figure, *arguments: Any, **options: Any) -> None:
        drawn.append(figure)
        save(figure, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    history = History(tmp_path / "metrics.csv")
    history.rows = [
        {"epoch": one, "loss": 1 / one, "val_loss": 2 / one, "top1_raw": 50.0} for one in range(1, epochs + 1)
    ]
    draw_curves(history, ["loss"], "title", tmp_path / "curves.png")
    for axes in drawn[0].axes:
        low, high = axes.get_xlim()
        shown = [tick.get_text() for tick in axes.get_xticklabels() if low <= tick.get_position()[0] <= high]
        assert shown
        assert all(text.isdigit() for text in shown), shown
        assert len(set(shown)) == len(shown)
