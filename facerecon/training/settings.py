"""How a network learns: rates, stages and schedule. Free of heavy imports, since recipes are read before anything trains."""

from __future__ import annotations

import dataclasses
import math

from facerecon.checks import check_choice, check_range

SCHEDULES = ("constant", "cosine")


@dataclasses.dataclass(frozen=True)
class AdaptationSettings:
    """How an adapted network learns.

    Attributes:
        learning_rate: of transfer layers, skip blocks and output; `encoder_learning_rate`: of the encoder.
        beta1: of Adam.
        fine_tune_encoder: False keeps the encoder as it is.
        fine_tune_decoder: True lets the pretrained decoder learn too, at the encoder's rate; for networks from random weights.
        encoder_statistics: "frozen" keeps the running statistics of its BatchNorm while its weights learn, "batch" lets them move.
        first_stage: share of the run in which the encoder still rests.
        first_stage_learning_rate: of the transfer layers during that stage; None: `learning_rate`.
        schedule: "constant", or "cosine" down to a hundredth over the run; warmup: steps of linear rise.
    """

    learning_rate: float = 4e-4
    encoder_learning_rate: float = 2e-5
    beta1: float = 0.9
    fine_tune_encoder: bool = True
    fine_tune_decoder: bool = False
    encoder_statistics: str = "frozen"
    first_stage: float = 0.0
    first_stage_learning_rate: float | None = None
    schedule: str = "constant"
    warmup: int = 0

    def __post_init__(self) -> None:
        check_range("learning_rate", self.learning_rate, 0.0)
        check_range("encoder_learning_rate", self.encoder_learning_rate, 0.0)
        check_range("beta1", self.beta1, 0.0, 1.0)
        check_range("first_stage", self.first_stage, 0.0, 1.0)
        check_choice("encoder_statistics", self.encoder_statistics, ("frozen", "batch"))
        check_choice("schedule", self.schedule, SCHEDULES)
        check_range("warmup", self.warmup, 0)


def rate_factor(done: int, steps: int, *, schedule: str, warmup: int = 0) -> float:
    """What the learning rate is multiplied by after `done` of `steps` steps: 1, or a cosine from 1 to 0.01, after a linear rise."""
    rise = min(1.0, (done + 1) / (warmup + 1))
    if schedule == "constant":
        return rise
    share = min(1.0, done / max(1, steps))
    return rise * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share)))
