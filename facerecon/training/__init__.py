"""Training: recipes, data in memory, augmentation, tasks, and runs that can be stopped and resumed. Needs the extra `train`."""

from __future__ import annotations

from facerecon.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__, {
    "Crops": "crops",
    "load_crops": "crops",
    "make_crops": "crops",
    "subject_split": "crops",
    "Augmentation": "augment",
    "augment": "augment",
    "AutoencoderTask": "autoencoder",
    "AdaptationSettings": "settings",
    "AdaptationTask": "adaptation",
    "HeatmapHead": "heads",
    "PnccHead": "heads",
    "Batches": "batches",
    "EvaluationBatches": "batches",
    "StepGuard": "guard",
    "Material": "material",
    "load_material": "material",
    "Recipe": "recipe",
    "load_recipe": "recipe",
    "recipe_names": "recipe",
    "load_state": "state",
    "save_state": "state",
    "build_task": "tasks",
    "TrainResult": "run",
    "train": "run",
})
