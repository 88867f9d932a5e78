"""Calls over real loopback connections: results, errors, retries, pages, watches."""

from __future__ import annotations

import grpc
import pytest

import brandloom
from brandloom import errors
from brandloom.api.registry.v1 import registry_pb2_grpc, resources_pb2
from brandloom.api.trainer.v1 import resources_pb2 as trainer_resources
from brandloom.api.trainer.v1 import trainer_pb2_grpc
from servicekit import errors as service_errors
from servicekit.errors import FieldViolation, InvalidArgument, QuotaViolation
from tests.fakes.api_servers import FakeRegistry, FakeTrainer, serving

ADD_REGISTRY = registry_pb2_grpc.add_RegistryServiceServicer_to_server
ADD_TRAINER = trainer_pb2_grpc.add_TrainerServiceServicer_to_server


async def test_a_resource_comes_as_a_dataclass_and_the_token_is_sent() -> None:
    registry = FakeRegistry()
    async with (
        serving(ADD_REGISTRY, registry) as address,
        brandloom.connect_async(registry=address, token="s3cret") as client,
    ):
        made = await client.brands.create("acme", display_name="Acme", labels={"team": "x"})
        assert made == await client.brands.get(made) == await client.brands.get("acme")
        assert (made.name, made.display_name, made.labels) == ("brands/acme", "Acme", {"team": "x"})
        assert registry.metadata["authorization"] == "Bearer s3cret"
        assert len(registry.request_ids[0]) == 36


async def test_lists_fetch_page_after_page() -> None:
    registry = FakeRegistry({f"brands/b{n}": resources_pb2.Brand(name=f"brands/b{n}") for n in range(5)})
    async with (
        serving(ADD_REGISTRY, registry) as address,
        brandloom.connect_async(registry=address, token="t") as client,
    ):
        assert [brand.name async for brand in client.brands.list()] == [f"brands/b{n}" for n in range(5)]


async def test_an_error_carries_reason_fields_and_request() -> None:
    fault = InvalidArgument(
        [FieldViolation("brand_id", "too long"), FieldViolation("brand.labels", "too many")],
        reason="BAD_BRAND",
        metadata={"limit": "64"},
    )
    async with (
        serving(ADD_REGISTRY, FakeRegistry(faults=[fault])) as address,
        brandloom.connect_async(registry=address, token="t") as client,
    ):
        with pytest.raises(errors.InvalidArgument) as caught:
            await client.brands.create("acme")
    error = caught.value
    assert (error.reason, error.metadata, error.request_id) == ("BAD_BRAND", {"limit": "64"}, "request-1")
    assert [(item.field, item.description) for item in error.violations] == [
        ("brand_id", "too long"),
        ("brand.labels", "too many"),
    ]
    assert error.method == "CreateBrand"


@pytest.mark.parametrize("kind", service_errors.ServiceError.__subclasses__(), ids=lambda kind: kind.__name__)
async def test_every_error_of_the_services_has_its_own_here(kind: type[service_errors.ServiceError]) -> None:
    if kind is service_errors.InvalidArgument:
        fault: service_errors.ServiceError = InvalidArgument.of("field", "why")
    else:
        fault = kind("why")
    wanted = getattr(errors, kind.__name__, errors.ServerError)
    async with (
        serving(ADD_REGISTRY, FakeRegistry(faults=[fault] * 10)) as address,
        brandloom.connect_async(registry=address, token="t") as client,
    ):
        with pytest.raises(errors.ApiError) as caught:
            await client.brands.delete("acme")
    assert type(caught.value) is wanted
    assert caught.value.reason == fault.reason


async def test_quota_and_time_to_wait() -> None:
    fault = service_errors.ResourceExhausted(
        "too many", violations=[QuotaViolation("brands/acme", "3 jobs at once")], retry_after_seconds=2.5
    )
    async with (
        serving(ADD_REGISTRY, FakeRegistry(faults=[fault])) as address,
        brandloom.connect_async(registry=address, token="t") as client,
    ):
        with pytest.raises(errors.ResourceExhausted) as caught:
            await client.brands.get("acme")
    assert caught.value.retry_after_seconds == 2.5
    assert caught.value.violations[0].description == "3 jobs at once"


async def test_a_passing_fault_is_retried() -> None:
    registry = FakeRegistry(faults=[service_errors.Unavailable("in a moment")])
    async with (
        serving(ADD_REGISTRY, registry) as address,
        brandloom.connect_async(registry=address, token="t") as client,
    ):
        assert (await client.brands.create("acme")).name == "brands/acme"


async def test_nobody_there_is_told_with_the_address() -> None:
    async with brandloom.connect_async(registry="127.0.0.1:1", token="t", timeout_seconds=20) as client:
        with pytest.raises(errors.Unavailable, match=r"the registry at 127\.0\.0\.1:1 cannot be reached"):
            await client.brands.get("acme")


def an_event(sequence: int, **fields: object) -> trainer_resources.TrainingEvent:
    return trainer_resources.TrainingEvent(sequence=sequence, **fields)  # type: ignore[arg-type]


async def test_a_watch_goes_on_where_its_connection_broke() -> None:
    events = [an_event(n, notice=f"n{n}") for n in range(1, 6)]
    trainer = FakeTrainer(events=events, breaks=[2, 0, 1])
    async with (
        serving(ADD_TRAINER, trainer) as address,
        brandloom.connect_async(trainer=address, token="t") as client,
    ):
        seen = [event.sequence async for event in client.training.watch("acme/j1")]
    assert seen == [1, 2, 3, 4, 5]
    assert trainer.asked[0] == 0
    assert trainer.asked == [0, 2, 2, 3, 5]


async def test_a_watch_survives_the_server() -> None:
    events = [an_event(n, notice=f"n{n}") for n in range(1, 4)]
    first = FakeTrainer(events=events[:1], state=3)
    seen: list[int] = []
    async with serving(ADD_TRAINER, first) as address:
        port = int(address.rsplit(":", 1)[1])
        client = brandloom.connect_async(trainer=address, token="t")
        watch = client.training.watch("acme/j1")
        seen.append((await anext(watch)).sequence)
    async with client, serving(ADD_TRAINER, FakeTrainer(events=events), port=port):
        seen += [event.sequence async for event in watch]
    assert seen == [1, 2, 3]


async def test_a_watch_ends_at_once_when_the_job_has_ended_before() -> None:
    trainer = FakeTrainer(events=[an_event(1, notice="n")])
    async with (
        serving(ADD_TRAINER, trainer) as address,
        brandloom.connect_async(trainer=address, token="t") as client,
    ):
        assert [event async for event in client.training.watch("acme/j1", after_sequence=1)] == []
    assert trainer.asked == [1, 1]


async def test_waiting_for_a_failed_job_raises() -> None:
    async with (
        serving(ADD_TRAINER, FakeTrainer(state=5)) as address,
        brandloom.connect_async(trainer=address, token="t") as client,
    ):
        with pytest.raises(brandloom.JobFailed, match="FAILED"):
            await client.training.wait("acme/j1")


async def test_a_foreign_error_without_details_is_readable() -> None:
    class Proxy(FakeRegistry):
        async def GetBrand(self, request: object, context: grpc.aio.ServicerContext) -> None:  # noqa: N802
            trailer = (("grpc-status-details-bin", b"\xff\xff not a message"),)
            await context.abort(grpc.StatusCode.NOT_FOUND, "nothing here", trailing_metadata=trailer)

    async with (
        serving(ADD_REGISTRY, Proxy()) as address,
        brandloom.connect_async(registry=address, token="t") as client,
    ):
        with pytest.raises(errors.NotFound, match="nothing here"):
            await client.brands.get("acme")


async def test_health_of_services_that_are_not_there() -> None:
    nowhere = dict.fromkeys(("registry", "labeler", "trainer", "inference"), "127.0.0.1:1")
    async with brandloom.connect_async(**nowhere, token="t") as client:  # type: ignore[arg-type]
        assert {health.status for health in await client.health()} == {brandloom.HealthStatus.UNREACHABLE}
