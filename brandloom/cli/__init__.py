"""The command `brandloom`: the SDK for people at a terminal and for scripts (`--json`)."""
