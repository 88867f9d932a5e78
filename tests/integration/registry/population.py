"""Fills a registry's database with many LoRAs and versions, past the service, for tests of speed."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import create_engine, insert, text
from sqlalchemy.engine import make_url

from services.registry.tables import (
    AliasRow,
    BaseModelRow,
    BrandRow,
    LoraRow,
    LoraTagRow,
    LoraWordRow,
    VersionDetailsRow,
    VersionRow,
    VersionTagRow,
)

BRANDS = 20
BASE_SHA256 = "b" * 64
START = datetime(2026, 1, 1, tzinfo=UTC)
_BATCH = 5000


def populate(url: str, *, versions: int, per_lora: int = 20) -> None:
    """`versions` in all: a tenth of them in one LoRA, brand-0/giant, the others `per_lora` each."""
    parsed = make_url(url)
    engine = create_engine(parsed.set(drivername=parsed.drivername.replace("+aiosqlite", "")))
    giant = versions // 10
    sizes = [giant, *([per_lora] * ((versions - giant) // per_lora))]
    with engine.begin() as connection:
        connection.execute(insert(BrandRow), [_brand(index) for index in range(BRANDS)])
        connection.execute(insert(BaseModelRow), [_base()])
        for table, rows in _rows(sizes).items():
            for start in range(0, len(rows), _BATCH):
                connection.execute(insert(table), rows[start : start + _BATCH])
    with engine.connect() as connection:
        connection.execute(text("ANALYZE"))
        connection.commit()
    engine.dispose()


def _rows(sizes: list[int]) -> dict[Any, list[dict[str, Any]]]:
    rows: dict[Any, list[dict[str, Any]]] = {
        table: []
        for table in (
            LoraRow,
            LoraTagRow,
            LoraWordRow,
            AliasRow,
            VersionRow,
            VersionDetailsRow,
            VersionTagRow,
        )
    }
    version_id = 0
    for index, size in enumerate(sizes):
        row = _lora(index, size)
        rows[LoraRow].append(row)
        rows[LoraTagRow].append({"lora": row["id"], "tag": row["tags"][0]})
        rows[LoraWordRow] += [
            {"lora": row["id"], "word": word} for word in (f"word{index}", "lora", row["tags"][0])
        ]
        rows[AliasRow].append({"lora": row["id"], "alias": "prod", "version": size // 2 + 1})
        for number in range(1, size + 1):
            version_id += 1
            rows[VersionRow].append(_version(version_id, row, number))
            rows[VersionDetailsRow].append(
                {
                    "version": version_id,
                    "modules": [],
                    "file_metadata": {},
                    "training_spec_json": "",
                    "origin_details": {},
                }
            )
            rows[VersionTagRow].append({"lora": row["id"], "tag": f"t{number % 50}", "version": number})
    return rows


def _brand(index: int) -> dict[str, Any]:
    name = f"brand-{index}"
    texts = {"display_name": "", "description": "", "labels": {}, "etag": "e"}
    return {"brand_id": name, "name": f"brands/{name}", "create_time": START, "update_time": START, **texts}


def _base() -> dict[str, Any]:
    texts = {"display_name": "", "license": "", "description": "", "etag": "e", "source": "tiny"}
    return {
        "base_model_id": "tiny",
        "name": "baseModels/tiny",
        "family": "sd15",
        "sha256": BASE_SHA256,
        "resolution": 128,
        "create_time": START,
        "update_time": START,
        **texts,
    }


def _lora(index: int, size: int) -> dict[str, Any]:
    brand = f"brand-{index % BRANDS}"
    lora_id = "giant" if index == 0 else f"lora-{index}"
    moment = START + timedelta(minutes=index)
    return {
        "id": index + 1,
        "brand_id": brand,
        "lora_id": lora_id,
        "name": f"brands/{brand}/loras/{lora_id}",
        "display_name": f"LoRA {index}",
        "description": "One of many",
        "tags": [f"tag{index % 100}"],
        "family": "sd15",
        "latest_version": size,
        "last_number": size,
        "trigger_words": ["zog"],
        "create_time": moment,
        "update_time": moment,
        "etag": "e",
    }


def _version(version_id: int, lora: dict[str, Any], number: int) -> dict[str, Any]:
    return {
        "id": version_id,
        "lora": lora["id"],
        "version": number,
        "name": f"{lora['name']}/versions/{number}",
        "sha256": hashlib.sha256(str(version_id).encode()).hexdigest(),
        "size_bytes": 1000,
        "media_type": "",
        "format": "kohya",
        "family": "sd15",
        "base_model": "baseModels/tiny",
        "base_model_sha256": BASE_SHA256,
        "rank": 4 * (number % 8 + 1),
        "components": ["unet"],
        "trigger_words": ["zog"],
        "training_job": f"brands/{lora['brand_id']}/trainingJobs/{version_id}",
        "dataset_revision": f"brands/{lora['brand_id']}/datasets/d{lora['id']}/revisions/{number}",
        "dataset_sha256": "",
        "parent_version": f"{lora['name']}/versions/{number - 1}" if number > 1 else "",
        "tags": [f"t{number % 50}"],
        "description": "",
        "license": "",
        "evaluation": {"final_loss": 0.1},
        "previews": [],
        "creator": "somebody",
        "create_time": START + timedelta(seconds=version_id),
        "etag": "e",
    }
