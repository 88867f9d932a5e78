"""Use case: a grid of pictures in one request, over the same versions, in shared batches."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field, replace
from typing import Final

from lorakit.prompt_syntax import WeightedReference, format_tag, parse_prompt
from servicekit.errors import InvalidArgument
from services.inference.domain import (
    ALL_STEPS,
    MAX_WEIGHT,
    PICTURE_FAMILIES,
    ImageRequest,
    Limits,
    StackEntry,
)
from services.inference.domain_jobs import BaseRef, Picture, Preview, Progress, UsedLora
from services.inference.domain_sweep import Cell, Place, Sheet, SweepEvent, SweepRequest
from services.inference.service_admission import Admission, Admitted
from services.inference.service_pictures import PictureMaker, image_job
from services.inference.service_resolving import Wanted
from services.inference.service_stacks import WantedLora, placed, read_stack
from services.inference.sweep_faults import in_cell, in_sweep
from services.inference.sweep_sheet import SweepSheet, title_of
from services.inference.sweep_texts import with_sheet_texts

MAX_LORAS: Final = 64
"""Different references in one sweep: as many as the registry resolves at once, and so alike."""
PROGRESS_SECONDS: Final = 0.1
_SPARE_CELLS: Final = 2
"""Cells beyond the batch's rows that the engine is given, so that no row waits for the next one."""
_MOST_AT_ONCE: Final = 64
_AHEAD: Final = 8
"""Events that wait for a slow reader, before the cells do."""


@dataclass(frozen=True, slots=True)
class _CellJob:
    """A cell as a request of its own, its weights multiplied."""

    place: Place
    request: ImageRequest
    text: str
    loras: tuple[WantedLora, ...]


@dataclass(slots=True)
class _Tally:
    """Steps done over all cells, which have as many steps each."""

    cells: int
    steps_each: int
    done: dict[Place, int] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)
    told: float = 0.0

    def note(self, place: Place, progress: Progress) -> bool:
        """Whether the caller shall be told."""
        self.steps_each = progress.total_steps
        self.done[place] = progress.step
        now = time.monotonic()
        if progress.step < progress.total_steps and now - self.told < PROGRESS_SECONDS:
            return False
        self.told = now
        return True

    def progress(self) -> Progress:
        step, total = sum(self.done.values()), self.cells * self.steps_each
        left = (time.monotonic() - self.began) / max(step, 1) * (total - step)
        return Progress(step=step, total_steps=total, seconds_left=left)


class SweepCases:
    """Makes the cells of a sweep at the same time, a bounded number of them."""

    def __init__(self, *, admission: Admission, maker: PictureMaker, limits: Limits, max_rows: int) -> None:
        self._admission = admission
        self._maker = maker
        self._limits = limits
        self._at_once = min(max_rows + _SPARE_CELLS, _MOST_AT_ONCE)

    async def sweep(self, request: SweepRequest) -> AsyncGenerator[SweepEvent, None]:
        """Queued, then progress over all cells and each cell when it is done, and at the end their sheet.

        All cells use the same versions. What goes wrong in one ends the sweep. Raises InvalidArgument,
        NotFound, FailedPrecondition and Unavailable; faults of a cell say which.
        """
        request.check(self._limits)
        named = _named(request, self._limits)
        cells = list(_cells(request, self._limits))
        wanted = Wanted(
            brand=request.template.brand,
            base_model=request.template.base_model,
            given=tuple(StackEntry(reference=str(lora.reference)) for _, lora in named),
            loras=tuple(lora for _, lora in named),
            families=PICTURE_FAMILIES,
        )
        async with AsyncExitStack() as admission:
            try:
                admitted = await admission.enter_async_context(self._admission.admit(wanted))
            except InvalidArgument as error:
                raise in_sweep(error, [field for field, _ in named]) from error
            yield admitted.queued(request.seeds[0])
            base = await admitted.prepared.located_base()
            sheet: SweepSheet | None = None
            done: dict[Place, Cell] = {}
            made = await admission.enter_async_context(
                aclosing(self._cells_made(request, cells, base, admitted))
            )
            async for event in made:
                yield event
                if isinstance(event, Cell):
                    sheet = await asyncio.to_thread(_drawn, sheet, request, event)
                    done[event.place] = _without_png(event)
            assert sheet is not None
            yield await self._finished(request, sheet, done, base, admitted.prepared.resolution.stack)

    async def _finished(
        self,
        request: SweepRequest,
        sheet: SweepSheet,
        cells: Mapping[Place, Cell],
        base: BaseRef,
        stack: tuple[UsedLora, ...],
    ) -> Sheet:
        """The sheet as it leaves: with what it says of itself."""
        job = image_job(request.template, "", request.seeds[0], base, ())
        png = await asyncio.to_thread(
            lambda: with_sheet_texts(
                sheet.png(), request=request, limits=self._limits, job=job, stack=stack, cells=cells
            )
        )
        return Sheet(png=await self._maker.signer.sign(png, job, stack))

    async def _cells_made(
        self, request: SweepRequest, cells: list[_CellJob], base: BaseRef, admitted: Admitted
    ) -> AsyncGenerator[Progress | Cell, None]:
        """Progress and cells, in the order in which they come."""
        waiting = iter(cells)
        events: asyncio.Queue[tuple[Place, Progress | Picture | Exception]] = asyncio.Queue(_AHEAD)
        tally = _Tally(len(cells), request.template.steps)
        workers = [
            asyncio.create_task(self._work(request, waiting, base, admitted, events))
            for _ in range(min(self._at_once, len(cells)))
        ]
        try:
            left = len(cells)
            while left:
                place, event = await events.get()
                if isinstance(event, Exception):
                    raise event
                if isinstance(event, Progress):
                    if tally.note(place, event):
                        yield tally.progress()
                    continue
                left -= 1
                yield Cell(place=place, picture=replace(event, index=request.number(place)))
        finally:
            # Whether all is done or the caller is gone: no cell is left with the engine.
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _work(
        self,
        request: SweepRequest,
        waiting: Iterator[_CellJob],
        base: BaseRef,
        admitted: Admitted,
        events: asyncio.Queue[tuple[Place, Progress | Picture | Exception]],
    ) -> None:
        """Makes one cell after another until none is left, or until one fails."""
        resolved = {used.reference: used for used in admitted.prepared.resolution.stack}

        async def on_start() -> None:
            # The files stay leased: later cells need them.
            admitted.place.started()

        for cell in waiting:
            stack = _used(cell.loras, resolved)
            files = admitted.prepared.files_of(stack)
            job = image_job(cell.request, cell.text, request.seeds[cell.place.seed], base, files)
            try:
                async with aclosing(self._maker.make(cell.request, job, stack, on_start)) as made:
                    async for event in made:
                        if not isinstance(event, Preview):
                            await events.put((cell.place, event))
            except Exception as error:  # whatever it is, it ends the sweep and not this task alone
                if isinstance(error, InvalidArgument):
                    error = placed(error, cell.request.stack, cell.loras)
                await events.put((cell.place, in_cell(error, request, cell.place)))
                return


def _drawn(sheet: SweepSheet | None, request: SweepRequest, cell: Cell) -> SweepSheet:
    """The sheet with one cell more; the first one tells how large cells are."""
    picture = cell.picture
    if sheet is None:
        sheet = SweepSheet(request, title_of(request), picture.width, picture.height)
    sheet.add(cell.place, picture.png)
    return sheet


def _without_png(cell: Cell) -> Cell:
    """What the sheet says of it."""
    return replace(cell, picture=replace(cell.picture, png=b""))


def _named(request: SweepRequest, limits: Limits) -> list[tuple[str, WantedLora]]:
    """Every LoRA of the sweep once, with the field that names it first and the weights it has there.

    Raises InvalidArgument for a prompt or an entry that cannot be read, and for more than MAX_LORAS.
    """
    stack = request.template.stack
    explicit = {entry.reference: f"template.stack[{i}].reference" for i, entry in enumerate(stack)}
    named: dict[str, tuple[str, WantedLora]] = {}
    for index, prompt in enumerate(request.prompts):
        try:
            _, loras = read_stack(prompt, stack, limits.max_stack)
        except InvalidArgument as error:
            raise in_cell(error, request, Place(prompt=index, seed=0, weight=0)) from error
        for lora in loras:
            name = str(lora.reference)
            # Once for each reference: windows and regions are the cells' own.
            once = replace(lora, window=ALL_STEPS, region=None)
            named.setdefault(name, (explicit.get(name, f"prompts[{index}]"), once))
    if len(named) > MAX_LORAS:
        raise InvalidArgument.of("prompts", f"name {len(named)} LoRAs, {MAX_LORAS} may be used in one sweep")
    return list(named.values())


def _cells(request: SweepRequest, limits: Limits) -> Iterator[_CellJob]:
    """Raises InvalidArgument for weights out of bounds."""
    for prompt_index, prompt in enumerate(request.prompts):
        for weight_index, factor in enumerate(request.weights):
            multiplied = replace(
                request.template,
                prompt=_multiplied_tags(
                    prompt, factor, f"weights[{weight_index}]", f"prompts[{prompt_index}]"
                ),
                stack=tuple(_multiplied(entry, factor) for entry in request.template.stack),
            )
            text, loras = read_stack(multiplied.prompt, multiplied.stack, limits.max_stack)
            for seed_index in range(len(request.seeds)):
                place = Place(prompt=prompt_index, seed=seed_index, weight=weight_index)
                yield _CellJob(place, multiplied, text, loras)


def _multiplied(entry: StackEntry, factor: float) -> StackEntry:
    return replace(
        entry, weight=entry.weight * factor, text_encoder_weight=entry.text_encoder_weight * factor
    )


def _multiplied_tags(prompt: str, factor: float, field: str, where: str) -> str:
    """The prompt with other weights in its tags, so that a picture's own words can make it again."""
    parsed = parse_prompt(prompt)
    if factor == 1.0 or not parsed.entries:
        return prompt
    tags = []
    for entry in parsed.entries:
        weights = entry.text_encoder_weight * factor, entry.unet_weight * factor
        largest = max(abs(weight) for weight in weights)
        if largest > MAX_WEIGHT:
            raise InvalidArgument.of(
                field,
                f"makes a weight of {largest:g} of {entry.reference} in {where}, {MAX_WEIGHT:g} is the most",
            )
        tags.append(format_tag(WeightedReference(entry.reference, *weights)))
    return " ".join([parsed.text, *tags])


def _used(loras: tuple[WantedLora, ...], resolved: Mapping[str, UsedLora]) -> tuple[UsedLora, ...]:
    return tuple(
        replace(
            resolved[str(lora.reference)],
            text_encoder_weight=lora.text_encoder_weight,
            weight=lora.weight,
            window=lora.window,
            region=lora.region,
        )
        for lora in loras
    )
