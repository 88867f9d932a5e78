"""Jobs on an SDXL base: two text encoders, pooled texts and sizes for each row, all in one pass."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler, StableDiffusionXLPipeline
from diffusers.training_utils import compute_snr
from peft import LoraConfig

from lorakit.adapter import load_adapter, save_kohya
from lorakit.families.diffusion_base import encode_pictures
from lorakit.families.sdxl import BaseModel, load_base
from lorakit.formats import inspect_file
from lorakit.metadata import TrainingFacts, build_metadata
from services.trainer.engine import DiffusionFamily, JobSpec, Pack, SampleSettings, TrainingImage
from services.trainer.engine.diffusion import data, sampling
from services.trainer.engine.diffusion.rows import Rows
from tests.fixtures.tiny_sdxl import save_tiny_sdxl_pipeline
from tests.fixtures.training import RESOLUTION, images, spec, tagged

NewPack = Callable[..., Pack]
Gradients = dict[str, dict[str, torch.Tensor]]
ENCODERS = ("text_encoder", "text_encoder_2")
JOBS = {
    "plain": spec(),
    "text": spec(train_text_encoder=True, rank=2, alpha=1.0, seed=5, batch_size=3, caption_dropout=0.3),
    "more": spec(train_text_encoder=True, seed=7, targets=frozenset({"attention"}), dropout=0.2),
    "noisy": spec(noise_offset=0.1, horizontal_flip=True, min_snr_gamma=0.0, seed=8),
}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_sdxl_pipeline(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="module")
def base(directory: Path) -> BaseModel:
    return load_base(directory)


@pytest.fixture
def new_pack(base: BaseModel) -> Iterator[NewPack]:
    """Makes packs on the shared base, one after another."""
    packs: list[Pack] = []

    def make(precision: str = "float32") -> Pack:
        if packs:
            packs.pop().close()
        packs.append(Pack(DiffusionFamily(base, resolution=RESOLUTION), precision=precision))
        return packs[-1]

    yield make
    for pack in packs:
        pack.close()


def framed(count: int = 5, seed: int = 0) -> list[TrainingImage]:
    """Pictures that were cut out of larger ones, each in another way."""
    return [
        replace(image, original_size=(40 + index, 60 + 2 * index), crop=(index, 3))
        for index, image in enumerate(images(count, seed))
    ]


def step(pack: Pack) -> tuple[Gradients, dict[str, float]]:
    """What each job's optimizer is given in the next step, by parameter; and the jobs' losses."""
    found: Gradients = {}
    for name, job in pack._jobs.items():

        def keep(name: str = name, job: Any = job, update: Any = job.update) -> None:
            named = job.parameters.named_parameters()
            found[name] = {key: p.grad.clone() for key, p in named if p.grad is not None}
            update()

        job.update = keep  # type: ignore[method-assign]
    return found, {report.job_id: report.loss for report in pack.step()}


def flat(found: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([gradient.flatten() for gradient in found.values()])


def test_gradients_are_those_of_the_job_alone(new_pack: NewPack) -> None:
    alone: Gradients = {}
    for name, each in JOBS.items():
        pack = new_pack()
        pack.add(name, each, framed(seed=len(name)))
        pack.step()
        alone |= step(pack)[0]
    pack = new_pack()
    for name, each in JOBS.items():
        pack.add(name, each, framed(seed=len(name)))
    pack.step()
    packed, _ = step(pack)
    for name, each in JOBS.items():
        largest: dict[str, float] = {}
        for key, gradient in alone[name].items():
            component = key.partition("/")[0]
            largest[component] = max(largest.get(component, 0.0), float(gradient.abs().max()))
        assert largest.keys() == ({"unet", *ENCODERS} if each.train_text_encoder else {"unet"})
        assert min(largest.values()) > 1e-4
        assert packed[name].keys() == alone[name].keys()
        assert torch.allclose(flat(packed[name]), flat(alone[name]), atol=1e-5, rtol=1e-4)


def test_all_jobs_share_one_pass(new_pack: NewPack, base: BaseModel, monkeypatch: pytest.MonkeyPatch) -> None:
    pack = new_pack()
    for name, each in JOBS.items():
        pack.add(name, each, framed())
    calls: list[tuple[str, int]] = []
    for component, model in base.components.items():
        forward = model.forward

        def counted(*args: Any, inner: Any = forward, of: str = component, **kwargs: Any) -> Any:
            calls.append((of, len(args[0])))
            return inner(*args, **kwargs)

        monkeypatch.setattr(model, "forward", counted)
    pack.step()
    assert sorted(calls) == [("text_encoder", 5), ("text_encoder_2", 5), ("unet", 9)]


def with_peft(stock: StableDiffusionXLPipeline, pack: Pack, job_id: str) -> dict[str, torch.nn.Parameter]:
    """Puts PEFT layers with the job's parameters into a stock pipeline; gives them by our names."""
    named = {}
    for component, modules in pack._jobs[job_id].parameters.components.items():
        model = getattr(stock, component)
        one = next(iter(modules.values()))
        config = LoraConfig(r=one.rank, lora_alpha=one.alpha, target_modules=list(modules))
        model.add_adapter(config)
        for path, lora in modules.items():
            layer = model.get_submodule(path)
            for part, inner in (("down", layer.lora_A), ("up", layer.lora_B)):
                weight = inner["default"].weight
                weight.data.copy_(getattr(lora, part).detach())
                named[f"{component}/{path}/{part}"] = weight
    return named


def plain_loss(stock: StableDiffusionXLPipeline, rows: Rows, each: JobSpec, sizes: Any) -> torch.Tensor:
    """The loss as a script on stock parts computes it."""
    context, _, pooled, _ = stock.encode_prompt(list(rows.captions), None, "cpu", 1, False)
    scheduler = DDPMScheduler.from_config(stock.scheduler.config)
    noisy = scheduler.add_noise(rows.clean_NCHW, rows.noise_NCHW, rows.timesteps_N)
    added = {"text_embeds": pooled, "time_ids": sizes}
    predicted = stock.unet(noisy, rows.timesteps_N, context, added_cond_kwargs=added).sample
    errors = (predicted - rows.noise_NCHW).square().mean(dim=(1, 2, 3))
    snr = compute_snr(scheduler, rows.timesteps_N)
    weights = torch.minimum(snr, torch.tensor(each.min_snr_gamma)) / snr
    return (errors * weights).mean()


@pytest.mark.parametrize("trains_text", [False, True])
def test_a_step_is_what_diffusers_and_peft_compute(
    trains_text: bool, new_pack: NewPack, directory: Path
) -> None:
    pack = new_pack()
    each = spec(train_text_encoder=trains_text, alpha=6.0, batch_size=3)
    pack.add("other", JOBS["text"], framed(seed=3))
    pack.add("a", each, framed())
    pack.step()
    stock = StableDiffusionXLPipeline.from_pretrained(directory, add_watermarker=False)
    named = with_peft(stock, pack, "a")
    job = pack._jobs["a"]
    drawn: list[Any] = []
    draw = job.draw

    def keep() -> Any:
        drawn.extend(draw())
        return drawn

    job.draw = keep  # type: ignore[method-assign]
    found, losses = step(pack)
    (member,) = drawn
    originals = [picture.framing for picture in job.data.pictures]
    seen = {tuple(row) for row in member.rows.time_ids_N6.tolist()}
    assert seen <= {(f.original_height, f.original_width, f.top, f.left, 16, 16) for f in originals}
    assert len(seen) > 1

    loss = plain_loss(stock, member.rows, each, member.rows.time_ids_N6)
    loss.backward()
    assert losses["a"] == pytest.approx(loss.item(), rel=1e-5)
    expected = {name: p.grad for name, p in named.items() if p.grad is not None}
    ours = found["a"]
    assert expected.keys() == ours.keys()
    assert {name.partition("/")[0] for name in ours} == {"unet", *(ENCODERS if trains_text else ())}
    assert flat(ours).abs().max() > 1e-3
    assert torch.allclose(flat(ours), torch.cat([expected[name].flatten() for name in ours]), atol=1e-5)


def trained(pack: Pack, each: JobSpec) -> None:
    pack.add("a", each, framed())
    while pack.step():
        pass


@pytest.mark.parametrize("trains_text", [False, True])
def test_stock_diffusers_does_what_training_did(
    trains_text: bool, new_pack: NewPack, base: BaseModel, directory: Path, tmp_path: Path
) -> None:
    pack = new_pack()
    strong = {"alpha": 8.0, "learning_rate": 2e-2, "text_encoder_learning_rate": 2e-2}
    trained(pack, spec(train_text_encoder=trains_text, **strong))
    path = tmp_path / "hero.safetensors"
    facts = TrainingFacts(
        output_name="hero",
        family=pack.adapter("a").family,
        rank=4,
        alpha=8.0,
        title="hero",
        finished_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    save_kohya(pack.adapter("a"), path, build_metadata(facts), dtype=torch.float32)
    described = inspect_file(path)
    assert described.family == "sdxl"
    assert described.metadata["modelspec.architecture"] == "stable-diffusion-xl-v1-base/lora"
    assert set(described.components) == {"unet", *(ENCODERS if trains_text else ())}
    assert "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q" in {
        f"{module.prefix}{module.name}" for module in described.modules
    }
    again = load_adapter(path, base_modules=pack.base_modules)
    assert len(list(again.each())) == len(described.modules)
    settings = SampleSettings(steps=5, guidance_scale=4.0, seed=1)
    parameters = pack._jobs["a"].parameters
    (ours,) = sampling.sample_latents(
        base, parameters, ["a thing"], settings, resolution=RESOLUTION, autocast=None
    )

    stock = StableDiffusionXLPipeline.from_pretrained(directory, add_watermarker=False)
    stock.set_progress_bar_config(disable=True)
    stock.scheduler = DPMSolverMultistepScheduler.from_config(stock.scheduler.config)

    def latents() -> torch.Tensor:
        generator = torch.Generator().manual_seed(1)
        made = stock(
            "a thing",
            num_inference_steps=5,
            guidance_scale=4.0,
            generator=generator,
            output_type="latent",
        )
        return made.images[0]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        without = latents()
        stock.load_lora_weights(str(tmp_path), weight_name=path.name)
        with_lora = latents()
    extent = float(with_lora.max() - with_lora.min())
    assert (ours - with_lora).abs().max() < 1e-3 * extent
    assert (with_lora - without).abs().max() > 0.03 * extent
    (picture,) = pack.sample("a", ["a thing"], settings)
    assert picture.shape == (RESOLUTION, RESOLUTION, 3)  # type: ignore[union-attr]


def test_samples_of_several_prompts_are_those_of_each(new_pack: NewPack) -> None:
    pack = new_pack()
    trained(pack, spec(train_text_encoder=True, learning_rate=1e-2))
    together = pack.sample("a", ["a thing", "a hat"], SampleSettings(seed=3, steps=4))
    alone = [
        pack.sample("a", [prompt], SampleSettings(seed=3 + index, steps=4))[0]
        for index, prompt in enumerate(["a thing", "a hat"])
    ]
    for one, other in zip(together, alone, strict=True):
        assert abs(one.astype(int) - other.astype(int)).max() <= 1  # type: ignore[union-attr]


def test_a_resumed_job_ends_bit_for_bit_the_same(new_pack: NewPack, tmp_path: Path) -> None:
    pack = new_pack()
    trained(pack, JOBS["text"])
    expected = dict(pack._jobs["a"].parameters.state_dict())
    pack = new_pack()
    pack.add("a", JOBS["text"], framed())
    pack.step()
    pack.step()
    pack.save_checkpoint("a", tmp_path / "half.safetensors")
    pack = new_pack()
    pack.add("a", JOBS["text"], framed(), checkpoint=tmp_path / "half.safetensors")
    while pack.step():
        pass
    found = pack._jobs["a"].parameters.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)


def test_large_pictures_are_encoded_in_few(base: BaseModel, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def counted(base: BaseModel, x_BCHW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        sizes.append(len(x_BCHW))
        return encode_pictures(base, x_BCHW)

    monkeypatch.setattr(data, "encode_pictures", counted)
    monkeypatch.setattr(data, "_CHUNK_PIXELS", 2 * RESOLUTION**2)
    data.cache_data(base, images(5), resolution=RESOLUTION, flip=False, embed=False)
    monkeypatch.setattr(data, "_CHUNK_PIXELS", 1)
    data.cache_data(base, images(2), resolution=RESOLUTION, flip=False, embed=False)
    assert sizes == [2, 2, 1, 1, 1]


def test_buckets_and_shuffled_tags(new_pack: NewPack) -> None:
    both = spec(shuffle_tags=True, keep_tokens=1, total_steps=3)
    losses: dict[str, list[float]] = {}
    for order in (("a", "b"), ("b", "a")):
        pack = new_pack()
        for name in order:
            pack.add(name, replace(both, train_text_encoder=name == "b"), tagged(seed=3))
        while reports := pack.step():
            for report in reports:
                assert report.fault is None, report.fault
                losses.setdefault(report.job_id + order[0], []).append(report.loss)
    assert losses["aa"] == pytest.approx(losses["ab"], rel=1e-4)
    assert losses["ba"] == pytest.approx(losses["bb"], rel=1e-4)
    rows = pack._jobs["a"].draw()[0].rows
    height, width = (2 * side for side in rows.clean_NCHW.shape[2:])
    assert rows.time_ids_N6[0].tolist() == [height, width, 0, 0, height, width]


def test_recomputed_activations_give_the_same_gradients(new_pack: NewPack) -> None:
    found = []
    for recomputes in (False, True):
        pack = new_pack()
        for name in ("text", "plain"):
            pack.add(name, replace(JOBS[name], gradient_checkpointing=recomputes), framed())
        pack.step()
        found.append(step(pack)[0]["text"])
    assert found[0].keys() == found[1].keys()
    assert torch.allclose(flat(found[0]), flat(found[1]), atol=1e-6)


def test_bfloat16_trains_both_text_encoders(new_pack: NewPack) -> None:
    losses = {}
    for precision in ("float32", "bfloat16"):
        pack = new_pack(precision)
        for name in ("text", "plain"):
            pack.add(name, JOBS[name], framed())
        reports = [report for _ in range(3) for report in pack.step()]
        assert all(report.fault is None for report in reports)
        losses[precision] = [report.loss for report in reports]
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.05)
