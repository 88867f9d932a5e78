"""The inference service: pictures from any stack of LoRAs on shared base models."""
