"""What lives as long as a process with the models is never looked through for garbage."""

from __future__ import annotations

import io
import socket
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from PIL import Image

from service.process_lifecycle import GC_THRESHOLD, ignore_image_warnings
from tests.bundles import image_bundle
from tests.mutations import encoded, exif_block
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


def test_odd_images_warn_nobody() -> None:
    block = exif_block().tobytes()
    at = block.index(b"\x01\x0f\x00\x02")
    data = encoded("JPEG", exif=block[: at + 4] + b"\x00\xff\xff\xff" * 2 + block[at + 12 :])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning):
            Image.open(io.BytesIO(data))
        ignore_image_warnings()
        with Image.open(io.BytesIO(data)) as image:
            assert image.getexif()
