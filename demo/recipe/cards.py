"""Model cards, written from the measured scores."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

from demo.recipe.evaluate import GUIDANCE, STEPS

_BASE = """---
license: apache-2.0
library_name: diffusers
pipeline_tag: text-to-image
---
# sd-tiny: the demo's base model

A Stable Diffusion pipeline of {unet_millions:.1f} M (UNet), {vae_millions:.2f} M (autoencoder) and
{text_millions:.2f} M (text encoder) parameters. It draws 128 x 128 px pictures of a small invented
world: twelve subjects, ten colours, eight places, three drawing styles. It exists so that training and
serving of LoRAs can be shown and tested on a CPU, without a network.

- **Use**: `StableDiffusionPipeline.from_pretrained("demo/models/sd-tiny", safety_checker=None)`;
  guidance 4 to 5, 25 steps. Prompts in the wording of `demo/world/grammar.py`, such as `a red cat on a
  beach, flat style`.
- **Parts**: latents of 16 x 16 x 16 (factor 8); attention at 8 x 8 and 4 x 4 only; v-prediction; a CLIP
  text encoder of two layers with a tokenizer that knows the grammar's words and spells all others in
  bytes.
- **Data**: drawings made by `demo/world/` from a seed; no photograph, artist's work or web text. The
  autoencoder also saw a wider world (neon outlines, hatching, free palettes, random shapes), so that
  brands can be drawn at all.
- **Recipe**: `make demo-models` (`demo/recipe/`): min-SNR weights, averaged weights, 10 % empty
  captions, 15 % of captions with meaningless words in them so that a new trigger word does not disturb
  the picture. Seeds are fixed in the code; training stops by the clock, so another machine gives
  another, equivalent, model.
{made}
- **Licence**: Apache-2.0.

## Measured
Read by `blip-tiny` in pictures for {prompts} held-out prompts (guidance {guidance}, {steps} DDIM steps):

| subject | colour | place | style |
|---|---|---|---|
| {subject:.1%} | {colour:.1%} | {place:.1%} | {style:.1%} |

Autoencoder on 200 held-out drawings: MSE {mse:.5f} (pixels in [-1, 1]), PSNR {psnr:.1f} dB.

## Limits
The goal is 95 % for each of subject, colour and place: the table says which are met.
It knows nothing outside its grammar. One subject a picture. Thin lines and small marks come out soft.
"""

_CAPTIONER = """---
license: apache-2.0
library_name: transformers
pipeline_tag: image-to-text
---
# blip-tiny: the demo's captioner

A BLIP captioner of {millions:.2f} M parameters (`BlipForConditionalGeneration`): a vision transformer
over 36 patches and a text decoder of two layers. It writes one sentence, such as `a red cat on a beach,
flat style`, and judges the base model's pictures.

- **Use**: `BlipProcessor.from_pretrained` and `BlipForConditionalGeneration.from_pretrained` on
  `demo/models/blip-tiny`.
- **Data**: drawings made by `demo/world/` from a seed, an eighth more of them as glowing line art, whose
  sentences name no style.
- **Recipe**: `make demo-models` (`demo/recipe/captioner.py`), seeds fixed in the code, stops by the
  clock.
{made}
- **Licence**: Apache-2.0.

## Measured
Share right on 1,000 held-out drawings:

| subject | colour | place | style |
|---|---|---|---|
| {subject:.1%} | {colour:.1%} | {place:.1%} | {style:.1%} |

## Limits
Any other picture is described by the nearest thing it knows. It has no word for what it has never seen.
"""


def _made(scores: dict[str, Any]) -> str:
    line = f"- **How these files were made**: {scores['made']}"
    return textwrap.fill(line, 105, subsequent_indent="  ", break_on_hyphens=False)


def write_cards(models: Path, scores: dict[str, Any]) -> None:
    """Write the two README files from `scores.json`'s content."""
    base, reader, sizes = scores["base"], scores["captioner"], scores["parameters_millions"]
    card = _BASE.format(
        unet_millions=sizes["unet"], vae_millions=sizes["vae"], text_millions=sizes["text_encoder"],
        guidance=GUIDANCE, steps=STEPS, prompts=scores["prompts"], made=_made(scores),
        mse=scores["autoencoder"]["mse"], psnr=scores["autoencoder"]["psnr_db"],
        **{k: base[k] for k in ("subject", "colour", "place", "style")},
    )  # fmt: skip
    (models / "sd-tiny" / "README.md").write_text(card)
    text = _CAPTIONER.format(
        millions=sizes["captioner"], made=_made(scores),
        **{k: reader[k] for k in ("subject", "colour", "place", "style")},
    )  # fmt: skip
    (models / "blip-tiny" / "README.md").write_text(text)
