"""Only regular files are read: a pipe or a device is refused at once, instead of being waited for."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from service.ledger.prediction_id import PredictionIdCodec
from tests.artifacts import artifact_for
from tests.bundles import image_bundle, text_bundle
from trainer.config.run_config import load_config
from trainer.data.sources.base import read_words
from trainer.data.sources.input_files import FolderFiles
from trainer.data.sources.tables.csv_file import CsvFile
from triggers.api_keys import load_keys
from triggers.artifact.artifact import read_limited, to_bytes
from triggers.artifact.signature import read_signer, read_trust
from triggers.errors import ArtifactCorrupt, FairtriggerError
from triggers.model import FrozenClassifier, load_bundle
from triggers.model.bundle import read_spec
from triggers.storage.regular_file import check_regular, read_regular
from triggers.storage.secret_file import read_secret
from triggers.store.artifact_files import CloudFiles
from triggers.store.file_store import FileStore

WAIT_SECONDS = 20.0


def refused_at_once(read: Callable[[], object]) -> Exception:
    """What `read` raises, soon: a read that waits is left behind in its thread."""
    raised: list[Exception | None] = []

    def run() -> None:
        try:
            read()
            raised.append(None)
        except (FairtriggerError, OSError) as error:
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(WAIT_SECONDS)
    assert raised, "it waits for a pipe"
    assert raised[0] is not None, "it took the pipe for a file"
    assert "\n" not in str(raised[0])
    return raised[0]


def spec_of(path: Path) -> object:
    return read_spec(path.parent)


def receipt_keys(path: Path) -> object:
    path.chmod(0o600)
    return PredictionIdCodec.from_folder(path.parent)


READERS: dict[str, Callable[[Path], object]] = {
    "run.toml": load_config,
    "keys.toml": load_keys,
    "keys.json": load_keys,
    "secret": lambda path: read_secret(path, "VARIABLE"),
    "trainer.key": read_signer,
    "trainer.pub": lambda path: read_trust([path]),
    "model.json": spec_of,
    "receipt.keys": receipt_keys,
    "artifact.safetensors": read_limited,
    "data.csv": CsvFile,
    "words.txt": read_words,
    "image.png": lambda path: FolderFiles(path.parent).read(path.name),
    "regular": read_regular,
    "checked": check_regular,
}


@pytest.mark.parametrize("name", READERS)
def test_a_pipe_is_refused_wherever_a_file_is_read(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    refused_at_once(lambda: READERS[name](tmp_path / name))


def test_a_device_is_refused() -> None:
    assert "Not a regular file" in str(refused_at_once(lambda: read_limited(Path("/dev/zero"))))


def test_a_link_is_followed_unless_the_file_is_our_own(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    assert read_regular(tmp_path / "link") == b"content"
    assert read_regular(tmp_path / "file", 3, follow_links=False) == b"con"
    with pytest.raises(OSError, match="symbolic links"):
        read_regular(tmp_path / "link", follow_links=False)


def test_an_artifact_of_a_store_that_became_a_pipe_or_a_link_is_corrupt(
    tmp_path: Path, image_model: FrozenClassifier
) -> None:
    with FileStore(tmp_path / "store") as store:
        version = store.publish(artifact_for(image_model, "border"), actor="test")
        path = store.path_of(store.version("faces", version))
        path.rename(tmp_path / "moved")
        path.symlink_to(tmp_path / "moved")
        with pytest.raises(ArtifactCorrupt, match="cannot be read"):
            store.get("faces", version)
        path.unlink()
        os.mkfifo(path)
        assert isinstance(refused_at_once(lambda: store.get("faces", version)), ArtifactCorrupt)


def test_an_object_of_a_mounted_folder_that_became_a_pipe(tmp_path: Path, image_model: FrozenClassifier) -> None:
    files, data = CloudFiles(f"file://{tmp_path}/files"), to_bytes(artifact_for(image_model, "border"))
    files.put("faces", "abc", data)
    assert files.get("faces", "abc") == data
    (tmp_path / "files/faces/abc.safetensors").unlink()
    os.mkfifo(tmp_path / "files/faces/abc.safetensors")
    refused_at_once(lambda: files.get("faces", "abc"))


@pytest.mark.parametrize(
    ("make", "file"),
    [(image_bundle, "weights.safetensors"), (text_bundle, "model.safetensors"), (text_bundle, "tokenizer.json")],
)
def test_a_bundle_with_a_pipe_in_it(make: Callable[[Path], Path], file: str, tmp_path: Path) -> None:
    folder = make(tmp_path / "bundle")
    (folder / file).unlink()
    os.mkfifo(folder / file)
    assert "regular file" in str(refused_at_once(lambda: load_bundle(folder)))
