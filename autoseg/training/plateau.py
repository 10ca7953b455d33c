"""How the online validation score develops: smoothed, the best so far, and for how long nothing was gained."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

SMOOTHING = 0.9
"""Weight of the past in the smoothed score (nnU-Net's), so that one lucky round does not become the best."""


@dataclass
class Plateau:
    """Scores of the rounds so far.

    Attributes:
        smoothed: exponential moving average of the scores; None before the first.
        best: highest smoothed score.
        rounds: rounds since the smoothed score was best.
    """

    smoothed: float | None = None
    best: float | None = None
    rounds: int = 0

    def add(self, score: float | None) -> bool:
        """Takes in a round's score in [0, 1]; True if the smoothed score is the best so far.

        A round without a score (nothing was validated, or no label occurred) is no gain.
        """
        if score is not None:
            past = score if self.smoothed is None else self.smoothed
            self.smoothed = past + (1 - SMOOTHING) * (score - past)  # in this form a score that stands still stays
            if self.best is None or self.smoothed > self.best:
                self.best, self.rounds = self.smoothed, 0
                return True
        self.rounds += 1
        return False

    def reached(self, patience: int | None) -> bool:
        """Whether nothing was gained for that many rounds (None: never)."""
        return patience is not None and self.rounds >= patience

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return asdict(self)
