"""The blocking client: the methods of the asynchronous groups, waited for. Nothing is implemented here."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from brandloom._async_client import AsyncClient
from brandloom._blocking import LoopThread, Waiting, blocking, iterating
from brandloom._groups.brands import AsyncBaseModels, AsyncBrands
from brandloom._groups.captions import AsyncCaptions
from brandloom._groups.completions import AsyncCompletions
from brandloom._groups.datasets import AsyncDatasets
from brandloom._groups.images import AsyncImages, AsyncStacks
from brandloom._groups.labeling import AsyncLabeling
from brandloom._groups.loras import AsyncLoras, AsyncVersions
from brandloom._groups.texts import AsyncTexts
from brandloom._groups.training import AsyncTraining
from brandloom._settings import ConnectionSettings
from brandloom.types.common import ServiceHealth


class Brands(Waiting[AsyncBrands]):
    """The roots of tenancy."""

    create = blocking(AsyncBrands.create)
    get = blocking(AsyncBrands.get)
    list = iterating(AsyncBrands.list)
    update = blocking(AsyncBrands.update)
    delete = blocking(AsyncBrands.delete)


class BaseModels(Waiting[AsyncBaseModels]):
    """Frozen models that LoRAs are trained on and served with."""

    create = blocking(AsyncBaseModels.create)
    get = blocking(AsyncBaseModels.get)
    list = iterating(AsyncBaseModels.list)
    update = blocking(AsyncBaseModels.update)
    delete = blocking(AsyncBaseModels.delete)


class Datasets(Waiting[AsyncDatasets]):
    """Pictures with captions, or texts, open to changes until a revision is sealed."""

    create = blocking(AsyncDatasets.create)
    get = blocking(AsyncDatasets.get)
    list = iterating(AsyncDatasets.list)
    update = blocking(AsyncDatasets.update)
    delete = blocking(AsyncDatasets.delete)
    upload = blocking(AsyncDatasets.upload)
    images = iterating(AsyncDatasets.images)
    image = blocking(AsyncDatasets.image)
    download_image = blocking(AsyncDatasets.download_image)
    update_image = blocking(AsyncDatasets.update_image)
    delete_image = blocking(AsyncDatasets.delete_image)
    export = blocking(AsyncDatasets.export)
    seal = blocking(AsyncDatasets.seal)
    revision = blocking(AsyncDatasets.revision)
    revisions = iterating(AsyncDatasets.revisions)


class Texts(Waiting[AsyncTexts]):
    """Texts of datasets, for language models to learn from."""

    upload = blocking(AsyncTexts.upload)
    list = iterating(AsyncTexts.list)
    get = blocking(AsyncTexts.get)
    update = blocking(AsyncTexts.update)
    delete = blocking(AsyncTexts.delete)


class Captions(Waiting[AsyncCaptions]):
    """What the pictures of a dataset are said to show."""

    set = blocking(AsyncCaptions.set)
    add_trigger_word = blocking(AsyncCaptions.add_trigger_word)
    add_prefix = blocking(AsyncCaptions.add_prefix)
    add_suffix = blocking(AsyncCaptions.add_suffix)
    replace = blocking(AsyncCaptions.replace)
    import_file = blocking(AsyncCaptions.import_file)


class Labeling(Waiting[AsyncLabeling]):
    """Jobs that caption the pictures of a dataset."""

    create = blocking(AsyncLabeling.create)
    get = blocking(AsyncLabeling.get)
    list = iterating(AsyncLabeling.list)
    cancel = blocking(AsyncLabeling.cancel)
    watch = iterating(AsyncLabeling.watch)
    wait = blocking(AsyncLabeling.wait)


class Training(Waiting[AsyncTraining]):
    """Jobs that learn LoRAs."""

    create = blocking(AsyncTraining.create)
    validate = blocking(AsyncTraining.validate)
    spec_of = blocking(AsyncTraining.spec_of)
    replicate = blocking(AsyncTraining.replicate)
    get = blocking(AsyncTraining.get)
    list = iterating(AsyncTraining.list)
    cancel = blocking(AsyncTraining.cancel)
    resume = blocking(AsyncTraining.resume)
    watch = iterating(AsyncTraining.watch)
    wait = blocking(AsyncTraining.wait)
    metrics = blocking(AsyncTraining.metrics)
    download = blocking(AsyncTraining.download)


class Loras(Waiting[AsyncLoras]):
    """Named lines of LoRA versions, and the aliases that point into them."""

    create = blocking(AsyncLoras.create)
    get = blocking(AsyncLoras.get)
    list = iterating(AsyncLoras.list)
    search = iterating(AsyncLoras.search)
    update = blocking(AsyncLoras.update)
    delete = blocking(AsyncLoras.delete)
    set_alias = blocking(AsyncLoras.set_alias)
    delete_alias = blocking(AsyncLoras.delete_alias)
    watch = iterating(AsyncLoras.watch)


class Versions(Waiting[AsyncVersions]):
    """Immutable files of weights and where they come from."""

    upload = blocking(AsyncVersions.upload)
    get = blocking(AsyncVersions.get)
    list = iterating(AsyncVersions.list)
    update = blocking(AsyncVersions.update)
    download = blocking(AsyncVersions.download)
    download_previews = blocking(AsyncVersions.download_previews)
    download_url = blocking(AsyncVersions.download_url)
    lineage = blocking(AsyncVersions.lineage)


class Stacks(Waiting[AsyncStacks]):
    """Stacks of LoRAs: what they mean, keeping them loaded, and taking them elsewhere."""

    resolve = blocking(AsyncStacks.resolve)
    export = blocking(AsyncStacks.export)
    pin = blocking(AsyncStacks.pin)


class Images(Waiting[AsyncImages]):
    """Generates pictures. The prompt may name LoRAs too: `<lora:hero:0.6> riding a motorcycle`."""

    generate = blocking(AsyncImages.generate)
    stream = iterating(AsyncImages.stream)
    sweep = iterating(AsyncImages.sweep)
    batch = iterating(AsyncImages.batch)
    capacity = blocking(AsyncImages.capacity)


class Completions(Waiting[AsyncCompletions]):
    """Texts from stacks of LoRAs."""

    generate = blocking(AsyncCompletions.generate)
    stream = iterating(AsyncCompletions.stream)


class Client:
    """Calls in groups: `client.datasets.upload(...)`, `client.training.watch(...)`. Made by `connect`."""

    def __init__(self, settings: ConnectionSettings) -> None:
        self._loop = LoopThread()
        try:
            client = self._loop.run(_client_on_loop(settings))
        except BaseException:
            self._loop.close()
            raise
        self._client = client
        self.brands = Brands(client.brands, self._loop)
        self.base_models = BaseModels(client.base_models, self._loop)
        self.datasets = Datasets(client.datasets, self._loop)
        self.texts = Texts(client.texts, self._loop)
        self.captions = Captions(client.captions, self._loop)
        self.labeling = Labeling(client.labeling, self._loop)
        self.training = Training(client.training, self._loop)
        self.loras = Loras(client.loras, self._loop)
        self.versions = Versions(client.versions, self._loop)
        self.stacks = Stacks(client.stacks, self._loop)
        self.images = Images(client.images, self._loop)
        self.completions = Completions(client.completions, self._loop)

    def health(self, *, timeout_seconds: float = 2.0) -> tuple[ServiceHealth, ...]:
        """What each service says of itself."""
        return self._loop.run(self._client.health(timeout_seconds=timeout_seconds))

    def close(self) -> None:
        """Ends running calls and closes the connections."""
        if self._loop.running:
            self._loop.run(self._client.close())
            self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


async def _client_on_loop(settings: ConnectionSettings) -> AsyncClient:
    # Channels belong to the loop that runs when they are made.
    return AsyncClient(settings)
