"""The FIL model: its trees, read by XGBoost itself, predict what they did when they were made. No GPU and no FIL backend needed."""

from __future__ import annotations

import json
import re
import runpy
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from pathlib import Path

xgboost = pytest.importorskip("xgboost")


@pytest.fixture(scope="module")
def training(project: Path) -> dict[str, Any]:
    """Names of the script that made the model."""
    return runpy.run_path(str(project / "tests/unit/models/fil_xgboost_training.py"))


@pytest.fixture(scope="module")
def known(project: Path) -> dict[str, Any]:
    stored: dict[str, Any] = json.loads((project / "tests/unit/models/fil_xgboost_known.json").read_text())
    return stored


@pytest.fixture(scope="module")
def model(project: Path) -> Path:
    return project / "models/fil_xgboost/1/xgboost.json"


def test_predictions_are_the_known_ones(model: Path, known: dict[str, Any]) -> None:
    booster = xgboost.Booster(model_file=str(model))
    features = np.array(known["features"], dtype=np.float32)
    np.testing.assert_allclose(booster.predict(xgboost.DMatrix(features)), known["probabilities"], atol=1e-6)


def test_it_has_learned_the_data(model: Path, training: dict[str, Any]) -> None:
    features, classes = training["dataset"]()
    predicted = xgboost.Booster(model_file=str(model)).predict(xgboost.DMatrix(features)).argmax(axis=1)
    assert (predicted == classes).mean() > 0.85


def test_it_is_what_the_script_makes(training: dict[str, Any], known: dict[str, Any]) -> None:
    _, predictions = training["train"]()
    np.testing.assert_allclose(predictions, known["probabilities"], atol=1e-5)


def test_older_tree_loaders_can_read_it(model: Path) -> None:
    document = json.loads(model.read_text())
    assert float(document["learner"]["learner_model_param"]["base_score"]) == 0.5  # one number, not a list
    assert "cats" not in document["learner"]["gradient_booster"]["model"]


def test_what_older_loaders_could_not_hold_is_refused(training: dict[str, Any]) -> None:
    def document(score: str, categories: list[int]) -> dict[str, Any]:
        return {"learner": {"learner_model_param": {"base_score": score}, "gradient_booster": {"model": {"cats": {"enc": categories}}}}}

    good = document("[5E-1,5E-1]", [])
    training["make_portable"](good)
    assert good["learner"]["learner_model_param"]["base_score"] == "5.000000E-01"
    with pytest.raises(ValueError, match=r"base_score=0\.5"):
        training["make_portable"](document("[1E-1,2E-1]", []))
    with pytest.raises(ValueError, match="categorical"):
        training["make_portable"](document("5E-1", [1]))


def test_config_agrees_with_the_trees(project: Path, model: Path, training: dict[str, Any]) -> None:
    config = (project / "models/fil_xgboost/config.pbtxt").read_text()
    parameters = json.loads(model.read_text())["learner"]["learner_model_param"]
    dims = re.findall(r"dims: \[ (\d+) \]", config)
    assert dims == [parameters["num_feature"], parameters["num_class"]] == [str(training["FEATURES"]), str(training["CLASSES"])]
    assert 'backend: "fil"' in config
    assert "KIND_GPU" in config
    assert dict(re.findall(r'key: "(\w+)" value: \{ string_value: "(\w+)" \}', config))["model_type"] == "xgboost_json"
