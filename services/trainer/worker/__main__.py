"""Starts a worker: `python -m services.trainer.worker [--exit-with-parent]`."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys

from servicekit.artifacts.open import open_store
from servicekit.channels import open_channel
from servicekit.identity import ensure_local_token
from servicekit.large_imports import large_imports
from servicekit.logs import configure_logs
from servicekit.process_end import end_process
from servicekit.settings import ConfigError
from services.trainer.worker.config import WorkerConfig, read_config
from services.trainer.worker.parent import exit_with_parent
from services.trainer.worker_names import worker_name


async def work(config: WorkerConfig) -> None:
    """Works until the process is told to stop."""
    # Imported here: a worker whose parent is gone before torch is loaded should end at once.
    with large_imports():
        import torch

        from lorakit.allocator import keep_freed_memory
        from lorakit.device_memory import quiet_profiler
        from services.trainer.worker.bases import ResidentBase, choose_device
        from services.trainer.worker.engine_thread import EngineThread
        from services.trainer.worker.memory_report import device_title
        from services.trainer.worker.patience import Patience
        from services.trainer.worker.publisher import Publisher
        from services.trainer.worker.results import Shelf
        from services.trainer.worker.tools import Tools
        from services.trainer.worker.trainer_client import TrainerClient
        from services.trainer.worker.worker import Worker

    torch.set_num_threads(config.threads)
    quiet_profiler()
    token = config.token or ensure_local_token(config.home)
    name = worker_name(os.getpid())
    trainer = open_channel(config.trainer_address, token=token)
    registry = open_channel(config.registry_address, token=token)
    store = open_store(config.store.url, config.store)
    engine = EngineThread()
    patience = Patience(config.patience_seconds)
    home = config.home / "cache" / "trainer"
    device = choose_device(config.device)
    if device == "cpu":
        keep_freed_memory()
    worker = Worker(
        name,
        TrainerClient(trainer, name, patience, places=config.pack_size, device=device_title(device)),
        Tools(engine, store, Shelf(store, patience), Publisher(registry, patience), patience),
        ResidentBase(config.base_models, engine, device),
        device=device,
        pack_size=config.pack_size,
        pass_memory_bytes=config.pass_memory_bytes,
        home=home,
    )
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, worker.stop)
    try:
        await worker.run()
    finally:
        engine.close()
        await trainer.close()
        await registry.close()
        shutil.rmtree(home / name, ignore_errors=True)


def main() -> int:
    """Reads the environment and works; returns the exit code."""
    if "--exit-with-parent" in sys.argv[1:]:
        exit_with_parent()
    try:
        config = read_config()
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    configure_logs(service="trainer-worker", level=config.log_level, log_format=config.log_format)
    asyncio.run(work(config))
    return 0


if __name__ == "__main__":
    end_process(main())
