"""Base-model families: one module for each, beside the torch-free tables of names."""
