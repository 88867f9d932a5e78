"""`python -m demo.recipe --out demo/models` rebuilds the demo's base models from this repository alone."""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import dataclass
from pathlib import Path

import torch

from demo.recipe.autoencoder import refine_decoder, train_autoencoder, wide_pool
from demo.recipe.captioner import Captioner
from demo.recipe.captioner_training import lesson, train_captioner
from demo.recipe.cards import write_cards
from demo.recipe.denoiser import DenoiserPlan, train_denoiser
from demo.recipe.evaluate import evaluate_models, hardware
from demo.recipe.latents import write_latents
from demo.recipe.pictures import draw_pool, scenes
from demo.recipe.writer import train_writer

STAGES = ("writer", "captioner", "autoencoder", "denoiser", "evaluate")


@dataclass(frozen=True, kw_only=True, slots=True)
class RecipePlan:
    """What to make, where, and how many seconds each part may take."""

    out: Path
    work: Path
    stages: tuple[str, ...]
    pictures: int
    wide_pictures: int
    processes: int
    writer_seconds: float
    captioner_seconds: float
    autoencoder_seconds: float
    decoder_seconds: float
    denoiser_seconds: float
    prompts: int
    made: str
    """For the model cards: how the files came about, where it was not by one run of this recipe."""


def run(plan: RecipePlan) -> None:
    """Train the parts in order; the captioner comes first, because it judges the rest."""
    if "writer" in plan.stages:
        made = plan.made or f"one run of the recipe on {hardware()}, {plan.writer_seconds:.0f} s."
        scores = train_writer(plan.out / "llama-tiny", plan.writer_seconds, made=made)
        print(json.dumps(scores, indent=2))
    if plan.stages == ("writer",):
        return
    drawn = scenes(plan.pictures, seed=2)
    pool = draw_pool(drawn, plan.processes) if {"captioner", "denoiser"} & set(plan.stages) else None
    vae = plan.work / "autoencoder"
    if "captioner" in plan.stages:
        assert pool is not None
        data = lesson(pool, drawn, scenes(plan.pictures // 8, seed=3), plan.processes)
        train_captioner(plan.out / "blip-tiny", plan.captioner_seconds, data)
    if "autoencoder" in plan.stages:
        wide = wide_pool(plan.wide_pictures, plan.processes)
        train_autoencoder(plan.work / "draft", plan.autoencoder_seconds, wide)
        refine_decoder(plan.work / "draft", vae, plan.decoder_seconds, wide)
    if "denoiser" in plan.stages:
        assert pool is not None
        write_latents(vae, pool, drawn, plan.work / "latents")
        train_denoiser(
            vae, plan.work / "latents", plan.out / "sd-tiny", DenoiserPlan(seconds=plan.denoiser_seconds)
        )
    if "evaluate" in plan.stages:
        captioner = Captioner(plan.out / "blip-tiny")
        scores = evaluate_models(
            plan.out, captioner, plan.prompts, plan.made or _how_made(plan), plan.processes
        )
        (plan.out / "scores.json").write_text(json.dumps(scores, indent=2) + "\n")
        write_cards(plan.out, scores)
        print(json.dumps(scores, indent=2))


def _how_made(plan: RecipePlan) -> str:
    return (
        f"one run of the recipe on {hardware()}: captioner {plan.captioner_seconds:.0f} s, autoencoder "
        f"{plan.autoencoder_seconds + plan.decoder_seconds:.0f} s, denoiser {plan.denoiser_seconds:.0f} s."
    )


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m demo.recipe", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo/models"), help="folder of the finished models")
    parser.add_argument(
        "--work", type=Path, default=Path("build/demo-models"), help="folder for what lies between"
    )
    parser.add_argument("--stages", default=",".join(STAGES), help="comma-separated part of: %(default)s")
    parser.add_argument("--pictures", type=int, default=24000, help="drawings to train on")
    parser.add_argument("--wide-pictures", type=int, default=8000, help="pictures for the autoencoder")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="for drawing")
    parser.add_argument("--threads", type=int, default=0, help="torch threads, 0 leaves torch's choice")
    parser.add_argument("--writer-seconds", type=float, default=540)
    parser.add_argument("--captioner-seconds", type=float, default=2400)
    parser.add_argument("--autoencoder-seconds", type=float, default=1500)
    parser.add_argument("--decoder-seconds", type=float, default=2400, help="for the decoder alone")
    parser.add_argument("--denoiser-seconds", type=float, default=9000)
    parser.add_argument(
        "--prompts", type=int, default=200, help="held-out prompts to judge the base model by"
    )
    parser.add_argument("--made", default="", help="how the models were made, for the cards")
    options = vars(parser.parse_args())
    if threads := options.pop("threads"):
        torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    stages = tuple(options.pop("stages").split(","))
    if unknown := set(stages) - set(STAGES):
        parser.error(f"unknown stages: {', '.join(sorted(unknown))}")
    run(RecipePlan(stages=stages, **options))


if __name__ == "__main__":
    main()
