"""Use case: keep chosen stacks loaded, as the versions that their references mean at each moment."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Hashable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from servicekit.errors import InvalidArgument, NotFound, QuotaViolation, ResourceExhausted, ServiceError
from services.inference.domain import PICTURE_FAMILIES, ImageRequest, Limits
from services.inference.domain_jobs import ImageJob, UsedLora
from services.inference.domain_pins import ConfiguredPin, PinnedStack, PinRequest
from services.inference.ports import Engine, LoraFiles
from services.inference.service_admission import Admission
from services.inference.service_pictures import image_job
from services.inference.service_resolving import Resolution, Wanted
from services.inference.service_stacks import placed, read_stack

PAUSE_SECONDS: Final = 5.0
"""Between two looks that nothing has called for: at what could not be loaded, and at what has expired."""
DISK_PART: Final = 0.5
"""Of the disk's budget, for the files of pins."""
_log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class _Loaded:
    """A resolved stack whose files are leased and whose weights the engine keeps."""

    key: str
    job: ImageJob
    resolution: Resolution
    leases: AsyncExitStack


@dataclass(slots=True, eq=False)
class _Pin:
    wanted: Wanted
    expire_time: datetime | None
    loaded: _Loaded | None = None
    fault: str = ""
    """Why it could not be loaded when that was tried last."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """One at a time loads it or lets it go."""

    def told(self) -> PinnedStack:
        stack: tuple[UsedLora, ...] = self.loaded.resolution.stack if self.loaded else ()
        return PinnedStack(
            brand=self.wanted.brand,
            stack=stack,
            base_model_sha256=self.loaded.resolution.base.sha256 if self.loaded else "",
            expire_time=self.expire_time,
        )


class PinCases:
    """Run `keep` beside them: it follows the registry and the engine, and lets go of what has expired."""

    def __init__(
        self,
        *,
        admission: Admission,
        files: LoraFiles,
        engine: Engine,
        limits: Limits,
        configured: Sequence[ConfiguredPin] = (),
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._admission = admission
        self._files = files
        self._engine = engine
        self._limits = limits
        self._now = now
        self._pins: dict[Hashable, _Pin] = {}
        for number, pin in enumerate(configured):
            loras = read_stack(pin.tags, (), limits.max_stack, authorised=True)[1]
            wanted = Wanted(brand=pin.brand, base_model="", given=(), loras=loras, families=PICTURE_FAMILIES)
            self._pins[number] = _Pin(wanted, None)
        self._stirred = asyncio.Event()
        self._engine_is_new = False

    def stir(self) -> None:
        """What references mean may have changed."""
        self._stirred.set()

    def engine_started(self) -> None:
        """The engine holds nothing yet."""
        self._engine_is_new = True
        self._stirred.set()

    def list(self) -> tuple[PinnedStack, ...]:
        """Those that are loaded and have not expired."""
        return tuple(
            pin.told() for pin in self._pins.values() if pin.loaded is not None and not self._expired(pin)
        )

    async def pin(self, request: PinRequest) -> PinnedStack:
        """The stack with its files on this host and its weights in the engine; a time to live of 0 lets go.

        Raises what `Admission.prepare` and `Engine.pin` raise, InvalidArgument, and ResourceExhausted when
        the brand or all brands together have pinned too much.
        """
        request.check()
        loras = read_stack("", request.stack, self._limits.max_stack)[1]
        wanted = Wanted(
            brand=request.brand,
            base_model=request.base_model,
            given=request.stack,
            loras=loras,
            families=PICTURE_FAMILIES,
        )
        key = (wanted.brand, wanted.base_model, frozenset(loras))
        if request.time_to_live_seconds == 0:
            return await self._unpin(key, wanted)
        self._admission.require_open()
        self._engine.require_ready()
        expire_time = self._now() + timedelta(seconds=request.time_to_live_seconds)
        if key not in self._pins:
            self._require_room(wanted.brand)
        pin = self._pins.setdefault(key, _Pin(wanted, expire_time))
        pin.expire_time = expire_time
        try:
            await self._refresh(pin)
        except BaseException as error:
            if pin.loaded is None and self._pins.get(key) is pin:
                del self._pins[key]
            if isinstance(error, InvalidArgument):
                raise placed(error, request.stack, loras) from error
            raise
        told = pin.told()
        if self._pins.get(key) is not pin:  # somebody let go of it meanwhile
            await self._release(pin)
            return replace(told, expire_time=None)
        return told

    async def keep(self) -> None:
        """Follows what changes, for ever; cancel it at the end, and all is let go."""
        try:
            while True:
                if self._engine_is_new:
                    self._engine_is_new = False
                    await self._each(self._tell_engine)
                for key in [key for key, pin in self._pins.items() if self._expired(pin)]:
                    await self._release(self._pins.pop(key))
                await self._each(self._follow)
                try:
                    async with asyncio.timeout(PAUSE_SECONDS):
                        await self._stirred.wait()
                except TimeoutError:
                    pass
                self._stirred.clear()
        finally:
            for pin in self._pins.values():
                if pin.loaded is not None:
                    await pin.loaded.leases.aclose()

    async def _each(self, do: Callable[[Hashable, _Pin], Awaitable[None]]) -> None:
        await asyncio.gather(*(do(key, pin) for key, pin in list(self._pins.items())))

    async def _follow(self, key: Hashable, pin: _Pin) -> None:
        """Moves a pin with its references; one that means nothing any more is let go."""
        its_caller_loads_it = pin.loaded is None and pin.expire_time is not None
        if its_caller_loads_it or not self._engine.state().ready:
            return
        fault = ""
        try:
            await self._refresh(pin)
        except (InvalidArgument, NotFound) as error:
            fault = error.message
            if pin.expire_time is not None:
                self._pins.pop(key, None)
            await self._release(pin)
        except ServiceError as error:
            # What is loaded stays: the next look may find registry, store and engine in better health.
            fault = error.message
        except Exception:  # whatever is wrong with one pin, the others are kept
            _log.exception("a pinned stack cannot be loaded", brand=pin.wanted.brand)
        if fault and fault != pin.fault:
            _log.warning("a pinned stack cannot be loaded", brand=pin.wanted.brand, why=fault)
        pin.fault = fault

    async def _tell_engine(self, _key: Hashable, pin: _Pin) -> None:
        async with pin.lock:
            if pin.loaded is None:
                return
            try:
                await self._engine.pin(pin.loaded.key, pin.loaded.job)
            except ServiceError as error:
                _log.warning("a pinned stack cannot be loaded", brand=pin.wanted.brand, why=error.message)

    async def _refresh(self, pin: _Pin) -> None:
        """Loads what the references mean now, unless that is loaded, and lets go of what they meant
        before.
        """
        async with pin.lock:
            before = pin.loaded
            if before is not None and await self._admission.resolve(pin.wanted) == before.resolution:
                return
            pin.loaded = await self._load(pin.wanted, before)
            if before is not None:
                _log.info("a pinned stack has moved", brand=pin.wanted.brand)
                await before.leases.aclose()

    async def _load(self, wanted: Wanted, before: _Loaded | None) -> _Loaded:
        """In place of what was loaded before: both together need not fit."""
        key = f"pin-{uuid.uuid4().hex}"
        async with AsyncExitStack() as leases:
            prepared = await leases.enter_async_context(self._admission.prepare(wanted))
            self._require_disk(prepared.resolution, before)
            request = ImageRequest(brand=wanted.brand, prompt="")
            job = image_job(request, "", 0, await prepared.located_base(), prepared.lora_files)
            if before is not None:
                self._engine.unpin(before.key)
            try:
                await self._engine.pin(key, job)
            except BaseException:
                if before is not None:
                    await self._engine.pin(before.key, before.job)
                raise
            return _Loaded(key, job, prepared.resolution, leases.pop_all())
        raise AssertionError("an ExitStack swallows nothing")

    async def _unpin(self, key: Hashable, wanted: Wanted) -> PinnedStack:
        pin = self._pins.pop(key, None) or _Pin(wanted, None)
        told = pin.told()
        await self._release(pin)
        return replace(told, expire_time=None)

    async def _release(self, pin: _Pin) -> None:
        async with pin.lock:
            if pin.loaded is not None:
                await self._let_go(pin.loaded)
                pin.loaded = None

    async def _let_go(self, loaded: _Loaded) -> None:
        self._engine.unpin(loaded.key)
        await loaded.leases.aclose()

    def _expired(self, pin: _Pin) -> bool:
        return pin.expire_time is not None and pin.expire_time <= self._now()

    def _require_room(self, brand: str) -> None:
        of_brand = sum(pin.wanted.brand == brand for pin in self._pins.values())
        for number, limit, subject in (
            (of_brand, self._limits.max_pins_of_brand, f"brands/{brand}"),
            (len(self._pins), self._limits.max_pins, "pins"),
        ):
            if number >= limit:
                raise ResourceExhausted(
                    f"{number} stacks are pinned already",
                    reason="PINS_FULL",
                    violations=[QuotaViolation(subject, f"at most {limit} stacks may be pinned")],
                )

    def _require_disk(self, wanted: Resolution, before: _Loaded | None) -> None:
        loaded = [pin.loaded for pin in self._pins.values() if pin.loaded not in (None, before)]
        resolutions = [wanted, *(one.resolution for one in loaded if one is not None)]
        pinned = {digest: size for resolution in resolutions for digest, size in resolution.sizes}
        limit = int(self._files.usage().budget_bytes * DISK_PART)
        if sum(pinned.values()) > limit:
            raise ResourceExhausted(
                "pinned stacks would take too much of the disk's budget for LoRA files",
                reason="PINS_TOO_LARGE",
                violations=[QuotaViolation("pins", f"their files may have {limit} bytes together")],
            )
