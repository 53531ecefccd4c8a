"""What goes wrong while images are assembled."""

from __future__ import annotations


class ImageError(Exception):
    """An image can't be had. The message names the image or the file, the consequence and the remedy."""
