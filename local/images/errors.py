"""Errors of building images."""

from __future__ import annotations


class ImageError(Exception):
    """An image can't be built or read. The message names the image or the file, the consequence and the remedy."""
