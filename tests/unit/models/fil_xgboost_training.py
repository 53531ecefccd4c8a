"""How models/fil_xgboost was made: `python tests/unit/models/fil_xgboost_training.py` writes its trees and the known predictions.

The data are synthetic and drawn from one seed: 8 features in [-1, 1), three classes by where x0 + x1 and x2 * x3 fall.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

FEATURES: Final = 8
CLASSES: Final = 3
ROWS: Final = 2048
KNOWN_ROWS: Final = 16
MODEL: Final = Path(__file__).parents[3] / "models" / "fil_xgboost" / "1" / "xgboost.json"
KNOWN: Final = Path(__file__).with_name("fil_xgboost_known.json")


def dataset() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Features [ROWS, FEATURES] and the class of each row, the same on every machine."""
    generator = np.random.Generator(np.random.PCG64(20210707))
    features = generator.uniform(-1.0, 1.0, size=(ROWS, FEATURES)).astype(np.float32)
    side = features[:, 0] + features[:, 1] > 0.0
    product = features[:, 2] * features[:, 3] > 0.0
    return features, np.where(side, np.where(product, 2, 1), 0).astype(np.int64)


def make_portable(model: dict[str, Any]) -> None:
    """Write the model as the tree loaders of older Triton images expect it too; XGBoost reads both forms and predicts the same.

    XGBoost 3.1 and newer store base_score as a list with one number a class ("[5E-1,5E-1,5E-1]") and an empty table of categories ("cats"):
    loaders before Treelite 4.6 refuse both. Older XGBoost stored one number and no table.
    """
    parameters = model["learner"]["learner_model_param"]
    scores = {float(text) for text in str(parameters["base_score"]).strip("[]").split(",")}
    if len(scores) != 1:
        raise ValueError(
            f"base_score differs from class to class ({parameters['base_score']}): one number can't hold it. Train with base_score=0.5."
        )
    parameters["base_score"] = f"{scores.pop():E}"
    categories = model["learner"]["gradient_booster"]["model"].pop("cats", {})
    if categories.get("enc"):
        raise ValueError("The model has categorical features: older loaders can't read them. Train on numbers only.")


def train() -> tuple[dict[str, Any], npt.NDArray[np.float32]]:
    """The model as XGBoost's JSON, and its predictions for the first KNOWN_ROWS rows [KNOWN_ROWS, CLASSES]."""
    import xgboost  # noqa: PLC0415 - only whoever trains pays for the import

    features, classes = dataset()
    booster = xgboost.train(
        {
            "objective": "multi:softprob",
            "num_class": CLASSES,
            "max_depth": 4,
            "eta": 0.3,
            "tree_method": "hist",
            "nthread": 1,
            "seed": 0,
            "base_score": 0.5,
        },
        xgboost.DMatrix(features, label=classes),
        num_boost_round=12,
    )
    model: dict[str, Any] = json.loads(booster.save_raw("json"))
    make_portable(model)
    return model, booster.predict(xgboost.DMatrix(features[:KNOWN_ROWS]))


def main() -> None:
    """Write the model and the known predictions into the tree."""
    model, predictions = train()
    MODEL.parent.mkdir(parents=True, exist_ok=True)
    MODEL.write_text(json.dumps(model, separators=(",", ":"), sort_keys=True) + "\n")
    features, _ = dataset()
    known = {"features": features[:KNOWN_ROWS].tolist(), "probabilities": [[round(float(p), 7) for p in row] for row in predictions]}
    KNOWN.write_text(json.dumps(known, separators=(",", ":")).replace("],[", "],\n[") + "\n")


if __name__ == "__main__":
    main()
