"""A folder of models, read and checked: what a release of it would hold."""
