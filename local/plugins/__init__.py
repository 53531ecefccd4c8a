"""Pulumi plugins of our own, for machines where the official ones can't be had."""
