"""The registry: brands, base models, LoRAs, where they come from, which version is in use. Free of torch."""
