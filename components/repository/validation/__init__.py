"""Check that Triton would load the models, before anything is uploaded.

`validate` only reads the folder, with bounds, and raises an error only if tritonclient is missing. `components.repository.scan` checks what
every upload needs: version directories, links that stay inside the folder, names that object stores accept, no Git LFS pointers.
"""

from components.repository.validation.check import validate
from components.repository.validation.deployment import Deployment

__all__ = ["Deployment", "validate"]
