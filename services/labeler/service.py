"""Use cases of datasets and of the pictures in them."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator

from servicekit.artifacts.port import ArtifactStore
from servicekit.clock import Clock
from servicekit.errors import Aborted, FailedPrecondition, InvalidArgument
from servicekit.ids import new_id
from services.labeler import texts
from services.labeler.domain import (
    Dataset,
    Image,
    ImageChanges,
    ImageFlag,
    ListQuery,
    Page,
    RequestId,
)
from services.labeler.keys import DatasetKey, ImageKey
from services.labeler.ports import Records, Unit

_DUPLICATE_FLAGS = frozenset({ImageFlag.EXACT_DUPLICATE, ImageFlag.NEAR_DUPLICATE})


class DatasetService:
    """Creates, reads, changes and deletes datasets."""

    def __init__(self, records: Records, clock: Clock) -> None:
        self._records = records
        self._clock = clock

    async def create(
        self, key: DatasetKey, display_name: str, description: str, request: RequestId
    ) -> Dataset:
        """The new dataset, or the one that this request id made before."""
        texts.require(**{"dataset.display_name": display_name, "dataset.description": description})
        now = self._clock.now()
        async with self._records.transaction() as unit:
            if await unit.remember(key.brand, request, key.name, now) is None:
                await unit.datasets.add(
                    Dataset(
                        key=key,
                        display_name=display_name,
                        description=description,
                        create_time=now,
                        update_time=now,
                        etag=new_id(),
                    )
                )
            return await unit.datasets.get(key)

    async def get(self, key: DatasetKey) -> Dataset:
        """NotFound when there is none."""
        async with self._records.snapshot() as unit:
            return await unit.datasets.get(key)

    async def page(self, brand: str, query: ListQuery) -> Page[Dataset]:
        """Datasets of a brand, the newest first unless asked otherwise."""
        async with self._records.snapshot() as unit:
            return await unit.datasets.page(brand, query)

    async def update(
        self, key: DatasetKey, *, display_name: str | None, description: str | None, etag: str
    ) -> Dataset:
        """Sets what is not None."""
        async with self._records.transaction() as unit:
            dataset = await unit.datasets.get(key, lock=True)
            _check_etag(key.name, dataset.etag, etag)
            changed = dataclasses.replace(
                dataset,
                display_name=dataset.display_name if display_name is None else display_name,
                description=dataset.description if description is None else description,
                update_time=self._clock.now(),
                etag=new_id(),
            )
            texts.require(
                **{"dataset.display_name": changed.display_name, "dataset.description": changed.description}
            )
            await unit.datasets.replace(changed)
            return changed

    async def delete(self, key: DatasetKey, *, etag: str, force: bool) -> None:
        """Removes the dataset; FailedPrecondition while it holds anything, unless forced. Revisions stay."""
        async with self._records.transaction() as unit:
            dataset = await unit.datasets.get(key, lock=True)
            _check_etag(key.name, dataset.etag, etag)
            counts = dataset.counts
            if (counts.images or counts.texts) and not force:
                held = f"{counts.texts} texts" if counts.texts else f"{counts.images} pictures"
                raise FailedPrecondition(
                    f"{key.name} has {held}; delete with force to drop them too",
                    reason="DATASET_NOT_EMPTY",
                    metadata={"resource_name": key.name},
                )
            await unit.datasets.delete(key)


class ImageService:
    """Reads, marks and deletes pictures."""

    def __init__(self, records: Records, store: ArtifactStore, clock: Clock) -> None:
        self._records = records
        self._store = store
        self._clock = clock

    async def get(self, key: ImageKey) -> Image:
        """NotFound when there is none."""
        async with self._records.snapshot() as unit:
            return await unit.images.get(key)

    async def page(self, parent: DatasetKey, query: ListQuery) -> Page[Image]:
        """Pictures of a dataset by source name, unless asked otherwise."""
        async with self._records.snapshot() as unit:
            await unit.datasets.get(parent)
            return await unit.images.page(parent, query)

    async def download(self, key: ImageKey) -> tuple[Image, AsyncIterator[bytes]]:
        """The picture and its PNG; FailedPrecondition for an unreadable one, which has none."""
        image = await self.get(key)
        if image.failure is not None:
            raise FailedPrecondition(
                f"{key.name} could not be read: {image.failure.message}", reason=image.failure.reason
            )
        return image, self._store.open(image.sha256)

    async def update(self, key: ImageKey, changes: ImageChanges, *, etag: str) -> Image:
        """Sets tags, split and `excluded`; an unreadable picture cannot be included."""
        for tag in changes.tags or ():
            texts.require(**{"image.tags": tag})
        async with self._records.transaction() as unit:
            image = await unit.images.get(key, lock=True)
            _check_etag(key.name, image.etag, etag)
            if changes.excluded is False and image.failure is not None:
                raise InvalidArgument.of("image.excluded", "an unreadable picture cannot be included")
            changed = dataclasses.replace(
                image,
                tags=image.tags if changes.tags is None else tuple(dict.fromkeys(changes.tags)),
                split=image.split if changes.split is None else changes.split,
                excluded=image.excluded if changes.excluded is None else changes.excluded,
                update_time=self._clock.now(),
                etag=new_id(),
            )
            await unit.images.replace(changed)
            return changed

    async def delete(self, key: ImageKey, *, etag: str) -> None:
        """Removes the picture; of its duplicates, the first takes its place."""
        async with self._records.transaction() as unit:
            await unit.datasets.get(key.parent, lock=True)
            image = await unit.images.get(key, lock=True)
            _check_etag(key.name, image.etag, etag)
            await self._promote(unit, await unit.images.duplicates_of(key))
            await unit.images.delete(key)

    async def _promote(self, unit: Unit, duplicates: list[Image]) -> None:
        if not duplicates:
            return
        first, *others = duplicates
        now = self._clock.now()
        await unit.images.replace(
            dataclasses.replace(
                first,
                flags=tuple(flag for flag in first.flags if flag not in _DUPLICATE_FLAGS),
                duplicate_of="",
                excluded=first.excluded and ImageFlag.EXACT_DUPLICATE not in first.flags,
                update_time=now,
                etag=new_id(),
            )
        )
        for other in others:
            await unit.images.replace(
                dataclasses.replace(other, duplicate_of=first.key.image, update_time=now, etag=new_id())
            )


def _check_etag(name: str, current: str, sent: str) -> None:
    if sent and sent != current:
        raise Aborted.stale_etag(name)
