"""Checks whether Triton would load the models of a folder, before anything is uploaded.

`validate` is pure: it reads, with bounds, and raises nothing but a missing tritonclient. What every release needs (a version folder, links
that stay inside, names that object stores carry, no Git LFS pointers) is the scan's part (`components.repository.scan`); both together are
the verdict.
"""

from components.repository.validation.check import validate
from components.repository.validation.deployment import Deployment

__all__ = ["Deployment", "validate"]
