"""A comparison in sentences: who is better at what, by how much, how sure that is, and what did not count."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from autoseg.evaluation.crossvalidation import FOREGROUND
from autoseg.log import counted
from autoseg.metrics.table import METRICS, Metric
from autoseg.records import unknown_name
from autoseg.studies.comparison.statistics.comparison import Comparison, Interval, PairedDifference, Ranking

_NAMED = 5
"""Cases that are listed by name."""


def findings(comparison: Comparison, metric: str = "dice", *, label: str | None = None) -> tuple[str, ...]:
    """What a comparison says about one metric: a sentence for each pair and label, and one for each ranking.

    A method is called better only if the corrected test says so. Where the mean points the other way, or where too few
    cases differ for the test to say anything, the sentence says that.

    Args:
        metric: one of the comparison's.
        label: one of the comparison's; by default all of them.

    Raises:
        ConfigurationError: the comparison has no such metric or label.
    """
    for kind, name, names in (("metric", metric, comparison.metrics), ("label", label, comparison.labels)):
        if name is not None and name not in names:
            raise unknown_name(kind, name, names)
    labels = comparison.labels if label is None else (label,)
    differences = [d for d in comparison.differences if d.metric == metric and d.label in labels]
    rankings = [r for r in comparison.rankings if r.metric == metric and r.label in labels]
    tested = sum(d.metric == metric and d.p is not None for d in comparison.differences)
    words = _Words(METRICS[metric], comparison.level, tested)
    return (
        *(words.difference(d) for d in differences),
        *(text for r in rankings if (text := words.ranking(r, comparison.resamples)) is not None),
    )


def exclusions(comparison: Comparison) -> tuple[str, ...]:
    """What did not count as it is, a sentence each: failed cases, missed labels, labels that a reference lacks.

    Empty if every method has a result with every label of every case.
    """
    return (
        *_failures(comparison.failures, len(comparison.cases)),
        *_missed(comparison),
        *_absent(comparison),
    )


@dataclass(frozen=True)
class _Words:
    """Wording of one metric's findings; tested is the number of comparisons that Holm's correction took together."""

    metric: Metric
    level: float
    tested: int

    @property
    def alpha(self) -> float:
        """Level of significance."""
        return round(1 - self.level, 10)

    def difference(self, d: PairedDifference) -> str:
        """The sentence about one pair and label."""
        on_label = _on(d.label)
        if d.mean is None or d.p_corrected is None:
            return f"{d.first} and {d.second} cannot be compared {on_label}: no case has a value."
        if d.first_better == d.second_better == 0:
            cases = counted(d.cases, "case")
            return f"{d.first} and {d.second} have the same {self.metric.title} {on_label} in all {cases}."
        better = d.better(self.alpha)
        if better is None:
            return self._undecided(d, on_label)
        other = d.second if better == d.first else d.first
        amount = self._amount(d, flipped=better == d.second)
        text = f"{better} is better than {other} {on_label}: {amount}, {self._p(d.p_corrected)}."
        return text + self._reservation(d, better)

    def ranking(self, r: Ranking, resamples: int) -> str | None:
        """The sentence about the order of methods; None for fewer than two methods or without cases."""
        if len(r.place) < 2:
            return None
        first = [method for method, place in r.place.items() if place == 1]
        if len(first) > 1:
            return f"{_and(first)} share the first place {_on(r.label)} ({counted(r.cases, 'case')})."
        leader = first[0]
        text = (
            f"{leader} ranks first of {len(r.place)} {_on(r.label)} (mean rank {r.mean_rank[leader]:.2f} over "
            f"{counted(r.cases, 'case')}) and has the first place in {_share(r.shares[leader][0])} of {resamples} "
            "resamples"
        )
        return f"{text}." if r.tau is None else f"{text}; Kendall's tau of their orders with this one is {r.tau:.2f}."

    def _reservation(self, d: PairedDifference, better: str) -> str:
        """What the mean has against a decision that the test makes case by case; empty if nothing."""
        won, lost = d.first_better, d.second_better
        if better == d.second:
            won, lost = lost, won
        cases = f" It is better in {counted(won, 'case')} and worse in {lost}"
        ahead = (d.mean or 0.0) * (1 if self.metric.best == "higher" else -1)
        if ahead * d.effect < 0:
            return f"{cases}, but its mean is worse: a few cases decide that."
        if d.interval is not None and d.interval[0] <= 0 <= d.interval[1]:
            return f"{cases}, but the interval of the mean holds zero: a few cases decide that."
        return ""

    def _undecided(self, d: PairedDifference, on_label: str) -> str:
        amount = self._amount(d, flipped=False)
        if d.smallest_p >= self.alpha:
            differing = f"{d.first_better + d.second_better} of {counted(d.cases, 'case')} differing"
            return (
                f"{d.first} and {d.second} cannot be told apart {on_label}: with {differing} the test cannot give less "
                f"than p = {d.smallest_p:.3g} ({d.first} against {d.second}: {amount})."
            )
        return (
            f"No difference is shown between {d.first} and {d.second} {on_label}: {amount}, "
            f"{self._p(d.p_corrected or 0.0)}."
        )

    def _amount(self, d: PairedDifference, *, flipped: bool) -> str:
        """Mean difference with its interval, from the first method's view, or flipped from the second's."""
        mean, interval = d.mean or 0.0, d.interval
        if flipped:
            mean, interval = -mean, None if interval is None else (-interval[1], -interval[0])
        unit = f" {self.metric.unit}" if self.metric.unit else ""
        text = f"{self.metric.title} {self._number(mean, signed=True)}{unit}"
        return text if interval is None else f"{text} ({_percent(self.level)} {self._ends(interval)})"

    def _ends(self, interval: Interval) -> str:
        return " to ".join(self._number(end, signed=False) for end in interval)

    def _number(self, value: float, *, signed: bool) -> str:
        digits = 2 if self.metric.unit else 3
        value = round(value, digits) + 0.0  # no "-0.000"
        return f"{value:{'+' if signed else ''}.{digits}f}"

    def _p(self, p: float) -> str:
        corrected = f" after Holm over {self.tested} comparisons" if self.tested > 1 else ""
        if p < 0.001:
            return f"p < 0.001{corrected}"
        # Three digits unless they hide on which side of the level of significance p lies.
        rounded = round(p, 3)
        same_side = (rounded < self.alpha) == (p < self.alpha)
        return f"p = {p:.{3 if same_side else 5}f}{corrected}"


def _failures(failures: Mapping[str, Mapping[str, str]], cases: int) -> Iterator[str]:
    for method, failed in failures.items():
        if failed:
            named = [f"{case} ({reason})" for case, reason in list(failed.items())[:_NAMED]]
            more = f" and {len(failed) - _NAMED} more" if len(failed) > _NAMED else ""
            count = "counts" if len(failed) == 1 else "count"
            yield (
                f"{method} failed on {len(failed)} of {counted(cases, 'case')}, which {count} with the worst value: "
                f"{', '.join(named)}{more}."
            )


def _missed(comparison: Comparison) -> Iterator[str]:
    for method, row in comparison.missed.items():
        scored = len(comparison.cases) - len(comparison.failures[method])
        for label, count in row.items():
            if count:
                yield (
                    f"{method} found nothing of {label} in {count} of {counted(scored, 'case')}, though the reference "
                    "has it: values that do not exist there count as worst."
                )


def _absent(comparison: Comparison) -> Iterator[str]:
    for label, count in comparison.absent.items():
        if count:
            painted = [f"{method} in {row[label]}" for method, row in comparison.false_alarms.items() if row[label]]
            invented = f" It was painted all the same by {_and(painted)} of them." if painted else ""
            yield (
                f"The references of {count} of {counted(len(comparison.cases), 'case')} have no {label}: left out for "
                f"all methods.{invented}"
            )


def _on(label: str) -> str:
    return "on the mean over labels" if label == FOREGROUND else f"on {label}"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _share(share: float) -> str:
    """A share of resamples; only all of them are 100 %."""
    return _percent(share) if share == 1 else _percent(min(share, 0.999))


def _and(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
