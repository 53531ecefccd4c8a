"""Verdicts of model validation against those of a real tritonserver, for any folder of model repositories (docs/model-validation.md)."""
