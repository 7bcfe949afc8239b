"""All detectors that a run's rules ask for, fed with the points of any metric."""

from __future__ import annotations

from collections.abc import Iterable

from branchtrack.core.health.detectors import (
    Detector,
    Finding,
    NaNDetector,
    PlateauDetector,
    SpikeDetector,
    TargetDetector,
)
from branchtrack.core.health.rules import Rules, target

#: The Trainer logs a mean in place of a loss that is NaN, but not in place of this one. Scaled
#: gradients overflow a few times at the start of a healthy training.
GRAD_NORM = "grad_norm"
_GRAD_NORM_PATIENCE = 5
_EVALUATED = "eval_loss"
_LOSS = "loss"
#: The loss is smoothed over the patience divided by this.
_SMOOTHED = 4


class Monitor:
    """Watches the points of one branch by the rules of its run.

    ``names`` are the metrics that are watched.
    """

    def __init__(self, rules: Rules) -> None:
        self._detectors: dict[str, list[Detector]] = {}
        self._has_evaluations = False
        if rules.nan:
            for metric in rules.metrics:
                self._add(metric, NaNDetector(metric))
            self._add(GRAD_NORM, NaNDetector(GRAD_NORM, _GRAD_NORM_PATIENCE))
        if rules.spike is not None:
            for metric in rules.metrics:
                self._add(metric, SpikeDetector(metric, rules.spike, rules.floor, rules.window))
        if rules.plateau is not None:
            detector = PlateauDetector(_EVALUATED, rules.plateau, rules.min_delta)
            self._add(_EVALUATED, detector)
        if rules.plateau_loss is not None:
            span = max(1, rules.plateau_loss // _SMOOTHED)
            self._add(_LOSS, PlateauDetector(_LOSS, rules.plateau_loss, rules.min_delta, span=span))
        for text in rules.targets:
            self._add(target(text).metric, TargetDetector(target(text)))

    @property
    def names(self) -> list[str]:
        """The metrics that are watched, in alphabetical order."""
        return sorted(self._detectors)

    def feed(self, name: str, step: int, value: float) -> list[Finding]:
        """Take the next point of a metric; return what begins with it."""
        detectors = self._detectors.get(name)
        if detectors is None:
            return []
        self._has_evaluations = self._has_evaluations or name == _EVALUATED
        results = [detector.feed(step, value) for detector in detectors]
        return [each for each in results if each is not None and not self._is_idle(each)]

    def prime(
        self, name: str, points: Iterable[tuple[int, float]], *, inherited: bool = True
    ) -> None:
        """Take points that came before, to compare with; what they show is not found again.

        If they are ``inherited`` from another branch, what goes on from there is.
        """
        for step, value in points:
            self.feed(name, step, value)
        for detector in self._detectors.get(name, ()) if inherited else ():
            detector.restart()

    def _add(self, metric: str, detector: Detector) -> None:
        self._detectors.setdefault(metric, []).append(detector)

    def _is_idle(self, finding: Finding) -> bool:
        """Return whether a plateau of the loss says nothing, as there are evaluations."""
        is_of_loss = finding.kind == "plateau" and finding.metric == _LOSS
        return is_of_loss and self._has_evaluations
