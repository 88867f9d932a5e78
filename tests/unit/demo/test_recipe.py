"""The recipe's small parts: schedules, averages, loss weights, scores and cards."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from demo.recipe.autoencoder import new_autoencoder
from demo.recipe.cards import write_cards
from demo.recipe.clock import Average, Budget, Running
from demo.recipe.evaluate import held_out_scenes, shares_right
from demo.recipe.latents import LatentStore, cover_masks, encode_pictures, write_latents
from demo.recipe.pictures import draw_pool, scenes, to_tensor
from demo.recipe.saving import forget_origin, read_as_float32
from demo.world.render import is_mirrored, subject_mask


def test_the_rate_warms_up_peaks_and_falls_to_its_floor():
    now = time.monotonic()
    rates = [
        Budget(1000.0, warmup=0.1, floor=0.1, started=now - spent).rate(1.0) for spent in (50, 101, 550, 2000)
    ]
    assert rates[0] == pytest.approx(0.5, abs=0.01)
    assert rates[1] == pytest.approx(1.0, abs=0.01)
    assert 0.4 < rates[2] < 0.7
    assert rates[3] == pytest.approx(0.1, abs=0.001)


def test_the_average_follows_the_weights_slowly():
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    average = Average(model, 0.9)
    nn.init.ones_(model.weight)
    for _ in range(200):
        average.update(model)
    assert 0.99 < float(average.weights["weight"]) <= 1.0


def test_the_running_mean_of_a_constant_is_the_constant():
    running = Running(0.9)
    for _ in range(5):
        running.add(3.0)
    assert running.mean == pytest.approx(3.0)


def test_training_and_held_out_scenes_share_no_seed():
    training = {s.seed for pool in (1, 2, 3) for s in scenes(2000, pool)}
    assert not training & {s.seed for seed in (9000, 9001, 9002) for s in held_out_scenes(1000, seed)}


def test_masks_cover_the_subject():
    drawn = scenes(6, seed=2)
    masks = cover_masks(drawn)
    assert masks.shape == (6, 16, 16)
    assert (masks.mean((1, 2)) > 20).all()
    for scene, mask in zip(drawn, masks, strict=True):
        as_drawn = subject_mask(scene, 16)
        assert (mask == (as_drawn[:, ::-1] if is_mirrored(scene) else as_drawn)).all()
    assert len({is_mirrored(scene) for scene in drawn}) == 2


def test_all_subjects_look_one_way_in_the_latents(tmp_path: Path):
    drawn, vae = scenes(6, seed=2), new_autoencoder().eval()
    vae.save_pretrained(tmp_path / "vae")
    pictures = draw_pool(drawn, 1)
    write_latents(tmp_path / "vae", pictures, drawn, tmp_path / "latents")
    for scene, picture, row in zip(drawn, pictures, np.load(tmp_path / "latents/p000000.npy"), strict=True):
        seen = picture[:, ::-1] if is_mirrored(scene) else picture
        torch.testing.assert_close(
            torch.from_numpy(row), encode_pictures(vae, seen[None].copy())[0], atol=2e-3, rtol=1e-2
        )


def test_the_store_grows_with_its_folder_and_weighs_the_subject(tmp_path: Path):
    store = LatentStore(tmp_path)
    assert store.refresh() == 0
    drawn = scenes(4, seed=2)
    np.save(tmp_path / "p000000.mask.npy", cover_masks(drawn))
    (tmp_path / "p000000.json").write_text(
        json.dumps(
            [{k: getattr(s, k) for k in ("subject", "colour", "place", "style", "seed")} for s in drawn]
        )
    )
    np.save(tmp_path / "p000000.npy", np.zeros((4, 2, 3, 16, 16), np.float16))
    assert store.refresh() == 4
    assert store.scenes == drawn
    weight = store.emphasis([0, 3], 4.0)
    assert weight.shape == (2, 1, 16, 16)
    assert weight.mean((1, 2, 3)).tolist() == pytest.approx([1.0, 1.0], abs=1e-5)
    assert float(weight[0].max() / weight[0].min()) == pytest.approx(4.0, rel=0.01)
    assert store.take([1], torch.Generator()).shape == (1, 3, 16, 16)


def test_pixels_become_values_between_minus_one_and_one():
    x = to_tensor(draw_pool(scenes(2, seed=2), 1))
    assert x.shape == (2, 3, 128, 128)
    assert -1.0 <= float(x.min()) < float(x.max()) <= 1.0


def test_shares_count_what_a_sentence_names_right():
    drawn = held_out_scenes(2)
    shares = shares_right(drawn, [drawn[0].caption(), "nothing at all"])
    assert shares == {"subject": 0.5, "colour": 0.5, "place": 0.5, "style": 0.5}


def test_a_half_precision_model_is_read_in_single_precision(tmp_path: Path):
    (tmp_path / "config.json").write_text('{"dtype": "float16", "kept": 1}')
    read_as_float32(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text()) == {"dtype": "float32", "kept": 1}


def test_no_config_says_where_a_part_was_loaded_from(tmp_path: Path):
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae" / "config.json").write_text('{"_name_or_path": "/somewhere", "kept": 1}')
    forget_origin(tmp_path)
    assert json.loads((tmp_path / "vae" / "config.json").read_text()) == {"kept": 1}


def test_cards_carry_the_measured_figures(tmp_path: Path):
    shares = {"subject": 0.912, "colour": 0.99, "place": 1.0, "style": 0.8}
    for model in ("sd-tiny", "blip-tiny"):
        (tmp_path / model).mkdir()
    sizes = {"unet": 9.7, "vae": 1.0, "text_encoder": 0.5, "captioner": 1.8}
    scores = {"base": shares, "captioner": shares, "autoencoder": {"mse": 0.01, "psnr_db": 26.0}}
    write_cards(tmp_path, {**scores, "prompts": 200, "parameters_millions": sizes, "made": "by hand " * 30})
    for model in ("sd-tiny", "blip-tiny"):
        card = (tmp_path / model / "README.md").read_text()
        assert "| 91.2% | 99.0% | 100.0% | 80.0% |" in card
        assert max(map(len, card.splitlines())) < 120
