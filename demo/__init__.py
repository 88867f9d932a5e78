"""The embedded demo: a drawn world, tiny base models trained on it, and three brands to learn."""
