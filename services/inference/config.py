"""How the inference service is configured, read from the environment once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lorakit.errors import PromptSyntaxError
from lorakit.prompt_syntax import parse_prompt
from servicekit.base_models.settings import BaseModelSettings, read_base_model_settings
from servicekit.common_config import CommonConfig, read_common_config
from servicekit.errors import InvalidArgument
from servicekit.names import parse
from servicekit.settings import Settings
from services.inference.domain import Limits
from services.inference.domain_pins import ConfiguredPin
from services.inference.engine_messages import EngineSettings
from services.inference.picture_signing import ALGORITHMS, SigningSettings

_MIB = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class InferenceConfig:
    """All settings of the service; names of variables are in :func:`read_config`."""

    common: CommonConfig
    registry_address: str
    resolutions: int
    """References whose meaning is remembered."""
    stale_seconds: float
    """How old such a memory may be while the registry is away."""
    default_base: str
    """`baseModels/{id}` or an absolute path; empty: requests for pictures must name one."""
    default_text_base: str
    """The same for texts."""
    base_models: BaseModelSettings
    cache_directory: Path
    disk_budget_bytes: int
    max_file_bytes: int
    limits: Limits
    warm: tuple[ConfiguredPin, ...]
    """Stacks that are loaded at the start, and stay."""
    engine: EngineSettings
    signing: SigningSettings | None
    """None: pictures go out without a signed manifest."""


def read_config(environment: Mapping[str, str] = os.environ) -> InferenceConfig:
    """Raises ConfigError with all faults."""
    reader = Settings(environment)
    common = read_common_config(
        reader, "inference", listen="127.0.0.1:50054", metrics_listen="127.0.0.1:9104"
    )
    base_models = read_base_model_settings(reader, common.home, common.store)
    default_base = _default_base(reader, "BRANDLOOM_INFERENCE_BASE_MODEL")
    default_text_base = _default_base(reader, "BRANDLOOM_INFERENCE_TEXT_BASE_MODEL")
    config = InferenceConfig(
        common=common,
        registry_address=reader.address("BRANDLOOM_REGISTRY_ADDRESS", "127.0.0.1:50051"),
        resolutions=reader.integer("BRANDLOOM_INFERENCE_RESOLUTIONS", 10_000, minimum=1, maximum=10_000_000),
        stale_seconds=reader.number("BRANDLOOM_INFERENCE_STALE_SECONDS", 300.0, 0.0, 86_400.0),
        default_base=default_base,
        default_text_base=default_text_base,
        base_models=base_models,
        cache_directory=reader.path("BRANDLOOM_INFERENCE_CACHE", common.home / "cache" / "inference"),
        disk_budget_bytes=_MIB * reader.integer("BRANDLOOM_INFERENCE_DISK_CACHE_MIB", 8192, minimum=1),
        max_file_bytes=_MIB * reader.integer("BRANDLOOM_INFERENCE_MAX_LORA_MIB", 2048, minimum=1),
        limits=_limits(reader),
        warm=_warm(reader),
        engine=_engine(reader, common, base_models, default_base, default_text_base),
        signing=_signing(reader),
    )
    reader.check()
    return config


def _limits(reader: Settings) -> Limits:
    return Limits(
        max_side=reader.integer("BRANDLOOM_INFERENCE_MAX_SIDE", 1024, minimum=8, maximum=2048),
        max_queued=reader.integer("BRANDLOOM_INFERENCE_MAX_QUEUED", 64, minimum=1, maximum=100_000),
        max_pins=reader.integer("BRANDLOOM_INFERENCE_MAX_PINS", 32, minimum=0, maximum=10_000),
        max_pins_of_brand=reader.integer("BRANDLOOM_INFERENCE_MAX_BRAND_PINS", 8, minimum=0, maximum=10_000),
        brand_share=reader.number("BRANDLOOM_INFERENCE_BRAND_SHARE", 0.5, 0.001, 1.0),
    )


def _engine(
    reader: Settings,
    common: CommonConfig,
    base_models: BaseModelSettings,
    default_base: str,
    default_text_base: str,
) -> EngineSettings:
    return EngineSettings(
        device=reader.text("BRANDLOOM_INFERENCE_DEVICE", "auto"),
        dtype=reader.choice("BRANDLOOM_INFERENCE_DTYPE", ("float32", "bfloat16", "float16"), "float32"),
        threads=reader.integer("BRANDLOOM_INFERENCE_THREADS", _threads(), minimum=1, maximum=512),
        max_rows=reader.integer("BRANDLOOM_INFERENCE_MAX_ROWS", 8, minimum=1, maximum=1024),
        row_memory_bytes=_MIB * reader.integer("BRANDLOOM_INFERENCE_ROW_MEMORY_MIB", 0, minimum=0),
        lora_memory_bytes=_MIB * reader.integer("BRANDLOOM_INFERENCE_LORA_MEMORY_MIB", 1024, minimum=1),
        stack_memory_bytes=_MIB * reader.integer("BRANDLOOM_INFERENCE_STACK_MEMORY_MIB", 512, minimum=1),
        text_memory_bytes=_MIB * reader.integer("BRANDLOOM_INFERENCE_TEXT_MEMORY_MIB", 64, minimum=1),
        max_bases=reader.integer("BRANDLOOM_INFERENCE_MAX_BASES", 2, minimum=1, maximum=64),
        max_text_rows=reader.integer("BRANDLOOM_INFERENCE_MAX_TEXT_ROWS", 16, minimum=1, maximum=1024),
        text_cache_bytes=_MIB * reader.integer("BRANDLOOM_INFERENCE_TEXT_CACHE_MIB", 512, minimum=1),
        language_lora_memory_bytes=_MIB
        * reader.integer("BRANDLOOM_INFERENCE_TEXT_LORA_MEMORY_MIB", 256, minimum=1),
        compile_backend=reader.choice("BRANDLOOM_INFERENCE_COMPILE", ("", "inductor"), ""),
        preload=_local(default_base),
        preload_text=_local(default_text_base),
        configs=base_models.configs,
        tokenizer=base_models.tokenizer,
        safety_checker=_safety_checker(reader),
        log_level=common.log_level,
        log_format=common.log_format,
    )


def _local(base: str) -> str:
    """The path of a base that lies on this host."""
    return base if Path(base).is_absolute() else ""


def _default_base(reader: Settings, name: str) -> str:
    value = reader.text(name, "")
    if not value or value.startswith("baseModels/"):
        return value
    path = Path(value).expanduser().absolute()
    if not path.exists():
        reader.fault(name, f"must be baseModels/{{id}} or a path that exists, not {value!r}")
    return str(path)


def _warm(reader: Settings) -> tuple[ConfiguredPin, ...]:
    """`acme: <lora:hero:0.6> <lora:neon>; globex: <lora:city@prod>`: a stack and its brand each."""
    name = "BRANDLOOM_INFERENCE_WARM"
    pins: list[ConfiguredPin] = []
    for part in filter(None, map(str.strip, reader.text(name, "").split(";"))):
        brand, _, tags = part.partition(":")
        try:
            parse("brands/{brand}", f"brands/{brand.strip()}", field=name)
            parsed = parse_prompt(tags)
        except (PromptSyntaxError, InvalidArgument) as error:
            reader.fault(name, f"cannot be read at {part!r}: {error}")
            continue
        if parsed.text.strip() or not parsed.entries:
            reader.fault(name, f"must be brand: <lora:name:weight> ...; ..., not {part!r}")
            continue
        pins.append(ConfiguredPin(brand=brand.strip(), tags=tags.strip()))
    return tuple(pins)


def _safety_checker(reader: Settings) -> str:
    name = "BRANDLOOM_INFERENCE_SAFETY_CHECKER"
    value = reader.text(name, "")
    path = Path(value).expanduser().absolute()
    if value and not path.is_dir():
        reader.fault(name, f"must be a directory, not {value!r}")
    return str(path) if value else ""


def _signing(reader: Settings) -> SigningSettings | None:
    certificates = reader.text("BRANDLOOM_INFERENCE_SIGNING_CERT", "")
    key = reader.text("BRANDLOOM_INFERENCE_SIGNING_KEY", "")
    algorithm = reader.choice("BRANDLOOM_INFERENCE_SIGNING_ALGORITHM", ALGORITHMS, "es256")
    timestamp_url = reader.text("BRANDLOOM_INFERENCE_SIGNING_TIMESTAMP_URL", "")
    if not certificates and not key:
        return None
    for name, value in (("CERT", certificates), ("KEY", key)):
        if not Path(value).expanduser().is_file():
            reader.fault(f"BRANDLOOM_INFERENCE_SIGNING_{name}", f"must be a file, not {value!r}")
    return SigningSettings(
        certificates=Path(certificates).expanduser(),
        key=Path(key).expanduser(),
        algorithm=algorithm,
        timestamp_url=timestamp_url,
    )


def _threads() -> int:
    """All cores but one, which the other processes of a small machine need; more than eight rarely help."""
    return max(1, min(8, len(os.sched_getaffinity(0)) - 1))
