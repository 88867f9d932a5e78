"""Layers that give each row of a batch its own adapter.

A frozen model is prepared once with :func:`install`; a forward pass then runs under ``with routed(model,
routing)``, where the routing says which rows get what. :class:`SegmentRouting` trains many jobs at once,
:class:`GatheredRouting` serves many stacks at once, :class:`PaddedRouting` does so in compiled models.
"""

from lorakit.routing.gathered import GatheredRouting, RowAdapter, rank_class
from lorakit.routing.layers import RoutedConv, RoutedLinear, Routing, install, routed, uninstall
from lorakit.routing.padded import PaddedRouting, padded_count
from lorakit.routing.segments import Segment, SegmentRouting

__all__ = [
    "GatheredRouting",
    "PaddedRouting",
    "RoutedConv",
    "RoutedLinear",
    "RowAdapter",
    "Routing",
    "Segment",
    "SegmentRouting",
    "install",
    "padded_count",
    "rank_class",
    "routed",
    "uninstall",
]
