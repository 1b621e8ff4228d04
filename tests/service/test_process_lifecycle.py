"""What lives as long as a process with the models is never looked through for garbage."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from service.process_lifecycle import GC_THRESHOLD
from tests.bundles import image_bundle
from triggers.store.file_store import FileStore

pytestmark = pytest.mark.process
TOLD = """
import gc, sys
from service.workers.control_socket import ControlSocket, exit_now
from service.workers.engine_server import main

class Telling(ControlSocket):
    def ready(self, text=""):
        super().ready(f" {gc.get_freeze_count()} {gc.get_threshold()[0]}")

sys.modules["service.workers.engine_server"].ControlSocket = Telling
exit_now(main(sys.argv[1:]))
"""


def test_an_inference_process_is_ready_when_its_models_are_out_of_garbage_collection(tmp_path: Path) -> None:
    folder = image_bundle(tmp_path / "faces")
    with FileStore(tmp_path / "store"):
        pass
    here, there = socket.socketpair(type=socket.SOCK_SEQPACKET)
    here.settimeout(60)
    with here, there:
        options = ["--model", str(folder), "--store", str(tmp_path / "store")]
        command = [sys.executable, "-c", TOLD, str(there.fileno()), "cpu", *options]
        with subprocess.Popen(command, pass_fds=[there.fileno()]) as process:
            while not (told := here.recv(1000)).startswith(b"ready"):
                assert told.startswith(b"beat")  # a sign of life
            _, frozen, young = told.decode().split()
            there.close()
            here.close()
            process.wait(timeout=30)
    assert int(frozen) > 50_000 and int(young) == GC_THRESHOLD
