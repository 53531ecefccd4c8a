"""The embedded platform's container images, assembled on this machine from packages and the toolchain's programs."""

from local.images.build import ImageFile, build_all, estimate_s
from local.images.errors import ImageError
from local.images.recipes import RECIPES, REGISTRY

__all__ = ["RECIPES", "REGISTRY", "ImageError", "ImageFile", "build_all", "estimate_s"]
