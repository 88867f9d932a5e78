"""A real S3 server on loopback: one monitor, one object store in memory, one Ceph object gateway.

Needs Debian's radosgw, ceph-mon and ceph-osd. Ready in a few seconds; about 240 MB of memory.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from pathlib import Path

ACCESS_KEY = "brandloom-test"
SECRET_KEY = "brandloom-test-secret"
_PROGRAMS = ("radosgw", "radosgw-admin", "ceph-mon", "ceph-osd", "ceph", "ceph-authtool", "monmaptool")
_PR_SET_PDEATHSIG = 1

_CONFIG = """
[global]
fsid = {fsid}
mon initial members = a
mon host = v1:127.0.0.1:{mon_port}
public network = 127.0.0.0/8
cluster network = 127.0.0.0/8
public addr = 127.0.0.1
ms bind msgr2 = false
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
keyring = {home}/keyring
run dir = {home}
admin socket = {home}/$name.asok
log file = {home}/$name.log
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 1000
mon data avail crit = 1
mon data avail warn = 2
# The defaults gather changes for a second; a test server has none to gather.
paxos propose interval = 0.02
paxos min wait = 0.01
[mon.a]
mon data = {home}/mon
[osd.0]
osd data = {home}/osd
osd objectstore = memstore
memstore device bytes = 1073741824
osd class load list = *
osd class default list = *
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:{port}
"""


def is_installed() -> bool:
    """Whether every program that it takes is there."""
    return all(shutil.which(program) for program in _PROGRAMS)


class CephGateway:
    """Starts in `home`, a directory of its own; `close` ends it, and so does the death of this process."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._config = home / "ceph.conf"
        self._processes: list[subprocess.Popen[bytes]] = []
        self.port = _free_port()
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        for process in reversed(self._processes):
            process.kill()  # all of it is in memory: there is nothing to put in order
            process.wait()

    def _start(self) -> None:
        home, fsid, mon_port = self._home, str(uuid.uuid4()), _free_port()
        self._config.write_text(_CONFIG.format(fsid=fsid, mon_port=mon_port, home=home, port=self.port))
        for folder in ("mon", "osd"):
            (home / folder).mkdir()
        self._make_keys()
        monmap = home / "monmap"
        self._run(
            "monmaptool", "--create", "--addv", "a", f"[v1:127.0.0.1:{mon_port}]", "--fsid", fsid, monmap
        )
        self._run("ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap, "--keyring", home / "keyring")
        self._spawn("ceph-mon", "-i", "a", "-f")
        osd_id = str(uuid.uuid4())
        self._run("ceph", "--connect-timeout", "20", "osd", "new", osd_id)
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd_id)
        self._spawn("ceph-osd", "-i", "0", "-f")
        self._spawn("radosgw", "-n", "client.rgw", "-f")
        self._wait_for_port()
        keys = ("--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY)
        self._run(
            "radosgw-admin",
            "-n",
            "client.rgw",
            "user",
            "create",
            "--uid",
            "test",
            "--display-name",
            "t",
            *keys,
        )

    def _make_keys(self) -> None:
        keyring = self._home / "keyring"
        capabilities = {
            "mon.": ("mon", "allow *"),
            "client.admin": ("mon", "allow *", "osd", "allow *"),
            "osd.0": ("mon", "allow profile osd", "osd", "allow *"),
            "client.rgw": ("mon", "allow rw", "osd", "allow rwx"),
        }
        keyring.touch()
        for name, pairs in capabilities.items():
            caps = [word for at in range(0, len(pairs), 2) for word in ("--cap", *pairs[at : at + 2])]
            self._run("ceph-authtool", keyring, "--gen-key", "-n", name, *caps)

    def _run(self, *command: str | Path) -> None:
        done = subprocess.run(
            [str(word) for word in command],
            env=self._environment(),
            capture_output=True,
            timeout=40,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{command[0]} failed: {done.stderr.decode()[-2000:]}")

    def _spawn(self, *command: str) -> None:
        with (self._home / f"{command[0]}.out").open("wb") as output:
            process = subprocess.Popen(
                command, env=self._environment(), stdout=output, stderr=output, preexec_fn=_die_with_parent
            )
        self._processes.append(process)

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "CEPH_CONF": str(self._config)}

    def _wait_for_port(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            if any(process.poll() is not None for process in self._processes):
                break
            time.sleep(0.1)
        logs = "\n".join(path.read_text()[-1000:] for path in self._home.glob("*.out"))
        raise RuntimeError(f"the Ceph gateway did not start:\n{logs}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _die_with_parent() -> None:
    # A test run that is killed runs no teardown, and would leave three daemons behind.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
