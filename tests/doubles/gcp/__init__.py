"""A double of the `gcp` Pulumi plugin: Google's cloud in memory, whose every request is checked against Google's own API description."""
