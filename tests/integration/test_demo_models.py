"""The committed demo models: stock libraries load them, and they do what their cards say."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from demo.brands import BRANDS
from demo.brands.sets import brand_picture
from demo.recipe.captioner import Captioner
from demo.recipe.evaluate import generate, held_out_scenes, load_pipeline, nearness, shares_right
from demo.recipe.pictures import draw_pool

MODELS = Path(__file__).parents[2] / "demo" / "models"
MEBIBYTE = 2**20

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def captioner() -> Captioner:
    return Captioner(MODELS / "blip-tiny")


@pytest.fixture(scope="module")
def pipeline():
    return load_pipeline(MODELS / "sd-tiny")


def test_weights_are_float16_safetensors_and_small():
    files = [p for p in MODELS.rglob("*") if p.is_file()]
    weights = [p for p in files if p.suffix == ".safetensors"]
    assert len(weights) == 5
    assert not [p for p in files if p.suffix in {".bin", ".pt", ".ckpt", ".pkl"}]
    assert sum(p.stat().st_size for p in files) < 30 * MEBIBYTE
    for file in weights:
        with safe_open(file, "pt") as opened:
            kinds = {opened.get_slice(key).get_dtype() for key in opened.keys()}  # noqa: SIM118
        assert kinds == {"F16"}, file


def test_the_stock_pipeline_loads_without_options_and_draws():
    from diffusers import StableDiffusionPipeline

    stock = StableDiffusionPipeline.from_pretrained(MODELS / "sd-tiny", safety_checker=None)
    assert {stock.unet.dtype, stock.text_encoder.dtype, stock.vae.dtype} == {torch.float32}
    stock.set_progress_bar_config(disable=True)
    draw = [
        stock(
            "a red cat", num_inference_steps=3, generator=torch.Generator().manual_seed(1), output_type="np"
        ).images
        for _ in range(2)
    ]
    assert draw[0].shape == (1, 128, 128, 3)
    assert np.array_equal(draw[0], draw[1])
    assert draw[0].std() > 0.05


def test_the_stock_captioner_reads_a_drawing():
    from PIL import Image
    from transformers import BlipForConditionalGeneration, BlipProcessor

    processor = BlipProcessor.from_pretrained(MODELS / "blip-tiny")
    model = BlipForConditionalGeneration.from_pretrained(MODELS / "blip-tiny")
    scene = held_out_scenes(1, seed=31)[0]
    picture = Image.fromarray(draw_pool([scene], 1)[0]).resize((256, 256))
    tokens = model.generate(**processor(images=picture, return_tensors="pt"), max_new_tokens=24)
    said = processor.decode(tokens[0], skip_special_tokens=True)
    assert scene.subject in said
    assert scene.colour in said


def test_the_captioner_reads_held_out_drawings(captioner: Captioner):
    scenes = held_out_scenes(96, seed=77)
    shares = shares_right(scenes, captioner.read(draw_pool(scenes, 1)))
    assert min(shares["subject"], shares["colour"], shares["place"]) >= 0.93


def test_the_base_draws_what_it_is_asked_for(pipeline, captioner: Captioner):
    scenes = held_out_scenes(16, seed=78)
    shares = shares_right(scenes, captioner.read(generate(pipeline, [s.caption() for s in scenes])))
    assert min(shares["subject"], shares["colour"], shares["place"]) >= 0.75


def test_an_unknown_word_in_front_does_not_spoil_the_picture(pipeline, captioner: Captioner):
    scenes = held_out_scenes(12, seed=79)
    pictures = generate(pipeline, [f"qorbix, {s.caption()}" for s in scenes])
    shares = shares_right(scenes, captioner.read(pictures))
    assert min(shares["subject"], shares["place"]) >= 0.7


@pytest.mark.parametrize("brand", BRANDS)
def test_nearness_tells_a_brands_own_pictures_from_the_worlds(brand: str, captioner: Captioner):
    held_out = np.stack([np.asarray(brand_picture(BRANDS[brand], "held-out", i)) for i in range(12)])
    train = np.stack([np.asarray(brand_picture(BRANDS[brand], "train", i)) for i in range(12)])
    world = draw_pool(held_out_scenes(12, seed=80), 1)
    assert nearness(captioner, train, held_out) > nearness(captioner, world, held_out) + 0.2


def test_the_published_scores_are_what_the_cards_say():
    scores = json.loads((MODELS / "scores.json").read_text())
    for attribute in ("subject", "colour", "place"):
        assert scores["captioner"][attribute] >= 0.97
        assert scores["base"][attribute] >= 0.95
    for model, part in (("sd-tiny", "base"), ("blip-tiny", "captioner")):
        card = (MODELS / model / "README.md").read_text()
        assert "Apache-2.0" in card
        assert f"| {scores[part]['subject']:.1%} |" in card


def test_no_file_tells_a_path_of_the_machine_that_made_it():
    for file in MODELS.rglob("*.json"):
        assert '": "/' not in file.read_text(), file
