"""Pools of drawings, rendered once by several processes."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from demo.world import SIZE, Scene, draw_scene, sample_scene
from demo.world.wide import draw_lines, draw_wide

Pictures = NDArray[np.uint8]
"""[N, H, W, 3]"""

Item = TypeVar("Item")


def scenes(count: int, seed: int) -> list[Scene]:
    """A reproducible list of random scenes."""
    rng = random.Random(f"scenes/{seed}")
    return [sample_scene(rng) for _ in range(count)]


def _draw_chunk(chunk: list[Scene]) -> Pictures:
    return np.stack([np.asarray(draw_scene(scene)) for scene in chunk])


def _draw_wide_chunk(seeds: list[str]) -> Pictures:
    return np.stack([np.asarray(draw_wide(random.Random(seed))) for seed in seeds])


def _draw_line_chunk(chunk: list[Scene]) -> Pictures:
    return np.stack([np.asarray(draw_lines(scene)) for scene in chunk])


def draw_line_pool(items: list[Scene], processes: int) -> Pictures:
    """The given scenes as line art, which the captioner should read though the base cannot draw it."""
    return _in_chunks(_draw_line_chunk, items, processes)


def draw_pool(items: list[Scene], processes: int) -> Pictures:
    """The pictures of the given scenes."""
    return _in_chunks(_draw_chunk, items, processes)


def draw_wide_pool(count: int, seed: int, processes: int) -> Pictures:
    """Pictures of the wider world."""
    return _in_chunks(_draw_wide_chunk, [f"wide/{seed}/{i}" for i in range(count)], processes)


def _in_chunks(work: Callable[[list[Item]], Pictures], items: list[Item], processes: int) -> Pictures:
    chunks = [items[i : i + 200] for i in range(0, len(items), 200)]
    out = np.empty((len(items), SIZE, SIZE, 3), np.uint8)
    if processes < 2:
        parts = map(work, chunks)
        for i, part in enumerate(parts):
            out[i * 200 : i * 200 + len(part)] = part
        return out
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        for i, part in enumerate(pool.map(work, chunks)):
            out[i * 200 : i * 200 + len(part)] = part
    return out


def to_tensor(pictures: Pictures) -> torch.Tensor:
    """uint8 [B, H, W, 3] to float [B, 3, H, W] in [-1, 1]."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)
