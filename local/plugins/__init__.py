"""This project's Pulumi plugins, for machines that can't download the official ones."""
