from __future__ import annotations

from dataclasses import replace

import pytest

from services.trainer.buckets import bucket_sizes
from services.trainer.convert_memory import memory_from_proto, memory_to_proto
from services.trainer.memory_figures import AdapterNumbers, BaseMemory, PassMemory, shortage
from services.trainer.room import Room
from services.trainer.spec import BucketSpec, Optimizer, Precision, Target
from tests.fixtures.trainer_jobs import BASE, spec

MIB = 1 << 20
MEMORY = BaseMemory(
    base_sha256=BASE.sha256,
    precision=Precision.FLOAT32,
    device="CPU, 8.0 GiB, host",
    free_bytes=1000 * MIB,
    pass_bytes=800 * MIB,
    adapters=(
        AdapterNumbers(Target.ATTENTION, False, 100_000),
        AdapterNumbers(Target.FEED_FORWARD, False, 50_000),
        AdapterNumbers(Target.ATTENTION, True, 30_000),
    ),
    passes=(
        PassMemory(area=512 * 512, recomputing=False, fixed_bytes=0, row_bytes=700 * MIB),
        PassMemory(area=512 * 512, recomputing=True, fixed_bytes=100 * MIB, row_bytes=200 * MIB),
    ),
)


def test_a_job_keeps_weights_gradients_and_averages() -> None:
    plain = spec(rank=4)
    assert MEMORY.state_bytes(plain) == 4 * 150_000 * 16
    assert MEMORY.state_bytes(spec(rank=4, optimizer=Optimizer.ADAMW_8BIT)) == 4 * 150_000 * 10
    assert MEMORY.state_bytes(spec(rank=4, ema_decay=0.99)) == 4 * 150_000 * 20
    assert MEMORY.state_bytes(spec(rank=4, train_text_encoder=True)) == 4 * 180_000 * 16
    assert MEMORY.state_bytes(spec(rank=4, targets=frozenset({Target.FEED_FORWARD}))) == 4 * 50_000 * 16


def test_what_was_measured_at_one_size_tells_of_larger_ones() -> None:
    assert MEMORY.row_bytes(spec(resolution=512)) == 300 * MIB
    assert MEMORY.row_bytes(spec(resolution=1024)) == (100 + 4 * 200) * MIB
    assert MEMORY.row_bytes(spec(resolution=256)) == 0, "a smaller one may take less"
    only = replace(MEMORY, passes=MEMORY.passes[:1])
    assert only.row_bytes(spec(resolution=512)) == 0, "gradient checkpointing may take less"


def test_a_large_adapter_tells_nothing_of_a_small_one() -> None:
    (_, recomputing) = MEMORY.passes
    large = replace(MEMORY, passes=(replace(recomputing, parameters=(150_000 * 64).bit_length()),))
    assert large.row_bytes(spec(resolution=512, rank=64)) == 300 * MIB
    assert large.row_bytes(spec(resolution=512, rank=4)) == 0


def test_the_smallest_row_that_a_job_may_have_decides() -> None:
    """Whether its pictures are all wide, and so of fewer pixels, is not known here."""
    enabled = BucketSpec(enabled=True, min_size=256, max_size=1024, step=64)
    sizes = bucket_sizes(512, enabled)
    least = min(width * height for width, height in sizes)
    assert least < 512 * 512
    small = replace(MEMORY, passes=(replace(MEMORY.passes[1], area=256 * 256),))
    asked = spec(resolution=512, aspect_ratio_buckets=enabled)
    assert small.row_bytes(asked) == 100 * MIB + 200 * MIB * least // (256 * 256)


def test_gradients_are_counted_once() -> None:
    asked = spec(resolution=512, rank=128)  # 293 MiB, of which gradients 73 MiB; a row of 300 MiB
    assert MEMORY.least_bytes(asked) == MEMORY.state_bytes(asked) + 300 * MIB - 4 * 128 * 150_000
    snug = replace(MEMORY, free_bytes=MEMORY.least_bytes(asked))
    assert shortage(asked, [snug]) is None
    assert shortage(asked, [replace(snug, free_bytes=snug.free_bytes - 1)]) is not None


def test_a_picture_that_is_too_large_is_refused_with_the_numbers() -> None:
    found = shortage(spec(resolution=1024), [MEMORY])
    assert found == (
        "resolution",
        "one row takes at least 900.0 MiB even with gradient checkpointing, and 800.0 MiB are there beside "
        "the base (CPU, 8.0 GiB, host, measured)",
    )
    assert shortage(spec(resolution=512), [MEMORY]) is None


def test_a_rank_that_is_too_large_is_refused_with_the_numbers() -> None:
    found = shortage(spec(resolution=512, rank=512), [MEMORY])
    assert found == (
        "adapter.rank",
        "rank 512 with adamw takes 1.1 GiB and one row 300.0 MiB, and 1000.0 MiB are there beside the base "
        "(CPU, 8.0 GiB, host, measured)",
    )


def test_one_device_that_it_fits_is_enough() -> None:
    large = replace(MEMORY, device="other", free_bytes=10**12, pass_bytes=10**12)
    assert shortage(spec(resolution=1024), [MEMORY, large]) is None
    assert shortage(spec(resolution=1024), []) is None


def test_room_runs_out() -> None:
    each = spec(resolution=512, rank=128)  # 293 MiB
    room = Room(MEMORY.device, [replace(MEMORY, precision=Precision.AUTO)])
    assert [room.take(BASE.sha256, each) for _ in range(3)] == [True, True, False]
    assert room.take("0" * 64, each), "nothing is known about that base"


def test_jobs_that_are_there_count_even_where_they_do_not_fit() -> None:
    room = Room(MEMORY.device, [replace(MEMORY, precision=Precision.AUTO, free_bytes=700 * MIB)])
    each = spec(resolution=512, rank=128)  # 293 MiB, and 300 MiB for a row
    room.hold(BASE.sha256, each)
    room.hold(BASE.sha256, each)
    assert not room.take(BASE.sha256, spec(resolution=512, rank=4))


@pytest.mark.parametrize("memory", [MEMORY, replace(MEMORY, passes=(), precision=Precision.BFLOAT16)])
def test_figures_survive_the_way(memory: BaseMemory) -> None:
    assert memory_from_proto(memory_to_proto(memory)) == memory
