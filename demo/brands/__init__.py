"""Three brands for the demo to learn: a character, a style and a place that the base model does not know."""

from demo.brands.sets import BRANDS, HELD_OUT_COUNT, TRAIN_COUNT, BrandSet, write_brand, write_brands

__all__ = ["BRANDS", "HELD_OUT_COUNT", "TRAIN_COUNT", "BrandSet", "write_brand", "write_brands"]
