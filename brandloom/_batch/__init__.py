"""Many prompts from a file: read, made with many requests in flight, and kept so that a run can go on."""
