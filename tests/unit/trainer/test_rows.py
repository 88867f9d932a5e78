"""Buckets, captions and class pictures: which specs of them make sense, and what jobs get."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from servicekit.errors import InvalidArgument
from servicekit.identity import Principal, set_principal
from services.trainer.advice_rows import advise_on_rows
from services.trainer.buckets import bucket_sizes, default_buckets, group_sizes, nearest_bucket
from services.trainer.convert_spec import draft_from_proto, spec_from_proto, spec_to_proto
from services.trainer.defaults import contradictions
from services.trainer.job_codec import plain, read_job, read_spec, write_job
from services.trainer.leasing import Wish
from services.trainer.preemption import Seat
from services.trainer.service import NewJob
from services.trainer.sources import Blob
from services.trainer.spec import BucketSpec, CaptionSpec, PriorSpec, TrainingSpec
from services.trainer.tables import JobRow
from tests.fixtures.trainer_jobs import BASE, REVISION, draft, job, manifest, pictures, spec
from tests.fixtures.trainer_service import Trainer, trainer_over_fakes

ON = BucketSpec(enabled=True)
PRIOR = replace(REVISION, name="brands/acme/datasets/people/revisions/2", manifest=Blob("e" * 64, 100))


@pytest.mark.parametrize("resolution", [16, 64, 500, 512, 1024, 2048])
def test_buckets_are_of_about_one_area_in_both_orientations(resolution: int) -> None:
    buckets = default_buckets(resolution, ON)
    sizes = bucket_sizes(resolution, buckets)
    assert len(sizes) <= 128
    assert all(side % buckets.step == 0 for size in sizes for side in size)
    assert all(width * height <= resolution * resolution for width, height in sizes)
    assert {(height, width) for width, height in sizes} == set(sizes)
    sides = [side for size in sizes for side in size]
    assert buckets.min_size <= min(sides) <= max(sides) <= buckets.max_size


def test_what_is_given_bounds_the_buckets() -> None:
    buckets = default_buckets(512, BucketSpec(enabled=True, min_size=384, max_size=640, step=128))
    assert bucket_sizes(512, buckets) == ((384, 640), (512, 512), (640, 384))
    assert bucket_sizes(512, BucketSpec()) == ((512, 512),)


@pytest.mark.parametrize(
    ("size", "bucket"),
    [((100, 100), (512, 512)), ((3000, 2000), (640, 384)), ((90, 160), (384, 640)), ((9000, 10), (640, 384))],
)
def test_a_picture_goes_to_the_bucket_of_its_shape(size: tuple[int, int], bucket: tuple[int, int]) -> None:
    assert nearest_bucket(*size, ((384, 640), (512, 512), (640, 384))) == bucket


def test_an_epoch_has_a_step_more_for_each_bucket_with_a_rest() -> None:
    shown = (*pictures(5, width=512, height=512), *pictures(3, width=1024, height=512))
    made = spec(aspect_ratio_buckets=ON, epochs=2, batch_size=4)
    assert sorted(group_sizes(made, shown)) == [3, 5]
    assert made.total_steps(*group_sizes(made, shown)) == 6
    assert spec(epochs=2, batch_size=4).total_steps(*group_sizes(spec(), shown)) == 4


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"aspect_ratio_buckets": BucketSpec(step=64)}, "aspect_ratio_buckets.enabled"),
        ({"aspect_ratio_buckets": replace(ON, step=20)}, "aspect_ratio_buckets.step"),
        ({"aspect_ratio_buckets": replace(ON, step=512), "resolution": 256}, "aspect_ratio_buckets.step"),
        ({"aspect_ratio_buckets": replace(ON, step=8, min_size=8)}, "aspect_ratio_buckets.step"),
        ({"aspect_ratio_buckets": replace(ON, min_size=640)}, "aspect_ratio_buckets.min_size"),
        ({"aspect_ratio_buckets": replace(ON, max_size=256)}, "aspect_ratio_buckets.max_size"),
        ({"caption": CaptionSpec(keep_tokens=2)}, "caption.keep_tokens"),
        ({"prior_preservation": PriorSpec(weight=1.0)}, "prior_preservation.dataset_revision"),
        (
            {"prior_preservation": PriorSpec(dataset_revision=REVISION.name)},
            "prior_preservation.dataset_revision",
        ),
    ],
)
def test_what_makes_no_sense_is_named(changes: dict[str, Any], field: str) -> None:
    found = contradictions(draft(**changes), base=BASE, parent=None, prefix="spec")
    assert f"spec.{field}" in {violation.field for violation in found}


def test_texts_have_no_buckets_tags_and_class_pictures() -> None:
    language = replace(BASE, family="causal_lm", resolution=0)
    made = draft(
        aspect_ratio_buckets=ON,
        caption=CaptionSpec(shuffle_tags=True),
        prior_preservation=PriorSpec(dataset_revision=PRIOR.name),
    )
    found = contradictions(made, base=language, parent=None, prefix="spec")
    assert {violation.field for violation in found} == {
        "spec.aspect_ratio_buckets",
        "spec.caption",
        "spec.prior_preservation",
    }


def full() -> TrainingSpec:
    return replace(
        spec(aspect_ratio_buckets=ON, caption=CaptionSpec(shuffle_tags=True, keep_tokens=1)),
        prior_preservation=PriorSpec(dataset_revision=PRIOR.name, weight=0.5, batch_size=2),
        gradient_checkpointing=True,
    )


def test_specs_survive_the_way_and_the_database() -> None:
    made = full()
    assert spec_from_proto(spec_to_proto(made)) == made
    assert read_spec(plain(made)) == made
    sent = draft_from_proto(spec_to_proto(made))
    assert (sent.aspect_ratio_buckets, sent.caption) == (made.aspect_ratio_buckets, made.caption)
    assert (sent.prior_preservation, sent.gradient_checkpointing) == (made.prior_preservation, True)
    kept = plain(spec())
    for field in ("aspect_ratio_buckets", "caption", "prior_preservation", "gradient_checkpointing"):
        del kept[field]
    assert read_spec(kept) == spec()


def test_a_job_keeps_its_class_pictures() -> None:
    made = job()
    made.sources = replace(made.sources, prior=PRIOR)
    row = JobRow()
    write_job(made, row)
    assert read_job(row).sources == made.sources
    del row.sources["prior"]
    assert read_job(row).sources.prior is None


@pytest.mark.parametrize(
    ("changes", "size", "code"),
    [
        ({}, (1024, 512), "PICTURES_CROPPED"),
        ({}, (640, 512), None),
        ({"aspect_ratio_buckets": ON}, (1024, 512), None),
        ({"caption": CaptionSpec(shuffle_tags=True)}, (512, 512), "TRIGGER_WORD_SHUFFLED"),
        ({"caption": CaptionSpec(shuffle_tags=True, keep_tokens=1)}, (512, 512), "CAPTIONS_WITHOUT_TAGS"),
    ],
)
def test_advice(changes: dict[str, Any], size: tuple[int, int], code: str | None) -> None:
    shown = pictures(20, width=size[0], height=size[1])
    found = {advice.code for advice in advise_on_rows(spec(**changes), shown)}
    assert found >= ({code} if code else set())
    assert code or not found


def test_small_buckets_are_advised_on() -> None:
    shown = (*pictures(9, width=512), *pictures(2, width=1024), *pictures(1, width=300))
    found = advise_on_rows(spec(aspect_ratio_buckets=ON), shown)
    assert [advice.code for advice in found] == ["BUCKETS_SMALL"]


@pytest.fixture
async def trainer(tmp_path: Path) -> AsyncIterator[Trainer]:
    set_principal(Principal(subject="me", brands=None, administrator=True))
    async with trainer_over_fakes(tmp_path) as made:
        made.labeler.add(PRIOR)
        made.artifacts.blobs[PRIOR.manifest.sha256] = manifest(pictures(7, caption="a person"))
        yield made


def new_job(**changes: Any) -> NewJob:
    return NewJob(
        brand="acme",
        draft=draft(**changes),
        display_name="Hero",
        priority=0,
        request_id="",
        body_digest="1",
    )


async def test_class_pictures_are_pinned_and_leased(trainer: Trainer) -> None:
    asked = PriorSpec(dataset_revision=PRIOR.name.replace("revisions/2", "revisions/latest"))
    made = (await trainer.service.create(new_job(prior_preservation=asked, batch_size=3))).job
    assert made.sources.prior == PRIOR
    assert made.spec.prior_preservation == PriorSpec(dataset_revision=PRIOR.name, weight=1.0, batch_size=3)
    (leased,) = await trainer.workers.lease(Seat("worker-1", 1, "CPU"), Wish(max_jobs=1))
    assert leased.sources.prior == PRIOR


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("brands/zeta/datasets/people/revisions/2", "brand 'zeta'"),
        ("brands/acme/datasets/people/revisions/9", "revisions/9"),
        ("brands/acme/datasets/same/revisions/1", "holds what the job learns from"),
        ("brands/acme/datasets/none/revisions/1", "training split"),
    ],
)
async def test_class_pictures_that_cannot_be_used_are_refused(name: str, says: str, trainer: Trainer) -> None:
    trainer.labeler.add(replace(REVISION, name="brands/acme/datasets/same/revisions/1"))
    held_out = replace(PRIOR, name="brands/acme/datasets/none/revisions/1", manifest=Blob("f" * 64, 9))
    trainer.labeler.add(held_out)
    trainer.artifacts.blobs[held_out.manifest.sha256] = manifest(pictures(2, split="validation"))
    with pytest.raises(InvalidArgument) as caught:
        await trainer.service.create(new_job(prior_preservation=PriorSpec(dataset_revision=name)))
    (violation,) = caught.value.violations
    assert violation.field == "training_job.spec.prior_preservation.dataset_revision"
    assert says in violation.description
