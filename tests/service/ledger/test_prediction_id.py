"""Prediction ids: what goes in comes out, and nothing else is accepted."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.ledger.events import NONCE_BYTES, PredictionEvent
from service.ledger.prediction_id import (
    KEY_FILE,
    PRESEALED_IDS,
    NoncePool,
    PredictionIdCodec,
    PredictionIdPool,
    new_sealing_key,
    pack_event,
    parse_sealing_key,
)
from triggers.errors import ConfigError, InputError

KEY = bytes(range(32))
EVENT = PredictionEvent("faces", 29_000_000, 3, 1, "female", 0)
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

events = st.builds(
    PredictionEvent,
    model=st.text(max_size=20),
    minute=st.integers(0, 2**32 - 1),
    version=st.none() | st.integers(1, 2**32 - 1),
    prediction=st.integers(0, 2**16 - 1),
    group=st.text(min_size=1, max_size=64),
    bare=st.none() | st.integers(0, 2**16 - 2),
    nonce=st.binary(min_size=12, max_size=12),
)


def refused(receipts: PredictionIdCodec, prediction_id: str, model: str = "faces") -> bool:
    try:
        receipts.open(prediction_id, model)
    except InputError as error:
        return error.code == "invalid_prediction_id"
    return False


@given(events)
def test_what_is_sealed_is_opened(event: PredictionEvent) -> None:
    receipts = PredictionIdCodec([KEY])
    assert receipts.open(receipts.seal(event), event.model) == event


def test_an_id_is_short_and_safe_in_a_url() -> None:
    prediction_id = PredictionIdCodec([KEY]).seal(EVENT)
    assert len(prediction_id) < 100
    assert set(prediction_id) <= set(ALPHABET)


def test_an_id_tells_nothing_about_the_group() -> None:
    receipts = PredictionIdCodec([KEY])
    groups = ["woman", "nonbinary", "unknown", "a longer name"]
    sealed = [receipts.seal(PredictionEvent("faces", 1, None, 0, group)) for group in groups]
    assert len({len(prediction_id) for prediction_id in sealed}) == 1
    assert not any(
        group.encode() in base64.urlsafe_b64decode(i + "==") for i, group in zip(sealed, groups, strict=True)
    )


@pytest.mark.parametrize("position", range(len(PredictionIdCodec([KEY]).seal(EVENT))))
def test_one_changed_character_is_refused(position: int) -> None:
    receipts = PredictionIdCodec([KEY])
    prediction_id = receipts.seal(EVENT)
    for letter in set(ALPHABET) - {prediction_id[position]}:
        assert refused(receipts, prediction_id[:position] + letter + prediction_id[position + 1 :])


@given(st.text(max_size=200) | st.binary(max_size=80).map(lambda b: base64.urlsafe_b64encode(b).decode()))
def test_garbage_is_refused(prediction_id: str) -> None:
    assert refused(PredictionIdCodec([KEY]), prediction_id)


def test_other_spellings_and_cuts_are_refused() -> None:
    receipts = PredictionIdCodec([KEY])
    prediction_id = receipts.seal(EVENT)
    for changed in (prediction_id + "=", prediction_id + " ", " " + prediction_id, prediction_id + "A", "\n"):
        assert refused(receipts, changed)
    assert all(refused(receipts, prediction_id[:end]) for end in range(len(prediction_id)))


def test_an_id_opens_only_for_its_model() -> None:
    receipts = PredictionIdCodec([KEY])
    assert refused(receipts, receipts.seal(EVENT), "posts")


def test_the_refusal_says_what_to_send_and_does_not_echo_a_long_id() -> None:
    with pytest.raises(InputError, match="send the prediction_id of a response unchanged") as caught:
        PredictionIdCodec([KEY]).open("x" * 1000, "faces")
    assert len(str(caught.value)) < 250


def test_keys_rotate() -> None:
    old, new = os.urandom(32), os.urandom(32)
    before = PredictionIdCodec([old]).seal(EVENT)
    both = PredictionIdCodec([new, old])
    assert both.open(before, "faces") == EVENT
    after = both.seal(EVENT)
    assert PredictionIdCodec([new]).open(after, "faces") == EVENT
    assert refused(PredictionIdCodec([new]), before)
    assert refused(PredictionIdCodec([old]), after)


def test_threads_share_one_sealer() -> None:
    receipts = PredictionIdCodec([KEY])

    def round_trip(minute: int) -> bool:
        event = PredictionEvent("faces", minute, 1, 0)
        return receipts.open(receipts.seal(event), "faces") == event

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(round_trip, range(4000)))


def test_the_key_file_is_made_once_and_private(tmp_path: Path) -> None:
    prediction_id = PredictionIdCodec.from_folder(tmp_path).seal(EVENT)
    assert (tmp_path / KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [KEY_FILE]
    assert PredictionIdCodec.from_folder(tmp_path).open(prediction_id, "faces") == EVENT


def test_processes_that_start_together_agree_on_one_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: PredictionIdCodec.from_folder(tmp_path), range(8)))
    prediction_id = made[0].seal(EVENT)
    assert all(receipts.open(prediction_id, "faces") == EVENT for receipts in made)


def test_given_keys_are_used_instead_of_a_file(tmp_path: Path) -> None:
    key = new_sealing_key()
    prediction_id = PredictionIdCodec.from_folder(tmp_path, [key]).seal(EVENT)
    assert PredictionIdCodec([parse_sealing_key(key, "a test")]).open(prediction_id, "faces") == EVENT
    assert list(tmp_path.iterdir()) == []


def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    PredictionIdCodec.from_folder(tmp_path)
    (tmp_path / KEY_FILE).chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        PredictionIdCodec.from_folder(tmp_path)


@pytest.mark.parametrize("text", ["", "short", "ä" * 44, base64.b64encode(bytes(31)).decode()])
def test_a_bad_key_is_refused_without_being_shown(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="openssl rand -base64 32") as caught:
        PredictionIdCodec.from_folder(tmp_path, [text])
    assert not text or text not in str(caught.value)


def test_a_key_file_without_a_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / KEY_FILE
    path.touch(mode=0o600)
    with pytest.raises(ConfigError, match="at least one key"):
        PredictionIdCodec.from_folder(tmp_path)


def test_nonces_never_repeat() -> None:
    nonces = NoncePool()
    drawn = [nonces.next() for _ in range(2500)]
    assert len(set(drawn)) == 2500 and {len(each) for each in drawn} == {NONCE_BYTES}


def test_ids_are_sealed_ahead_and_none_is_given_twice() -> None:
    receipts = PredictionIdCodec([KEY])
    ids, kinds = PredictionIdPool(receipts, "faces"), [EVENT, replace(EVENT, prediction=0)]
    taken = {kind: [ids.next(pack_event(kind)) for _ in range(2 * PRESEALED_IDS + 3)] for kind in kinds}
    assert len({each for given in taken.values() for each in given}) == 2 * (2 * PRESEALED_IDS + 3)
    opened = [(kind, receipts.open(each, "faces")) for kind, given in taken.items() for each in given]
    assert all(replace(event, nonce=kind.nonce) == kind for kind, event in opened)
    assert len({event.nonce for _, event in opened}) == len(opened)


def test_kinds_of_ids_are_forgotten_before_they_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.ledger.prediction_id.MAX_KINDS", 3)
    ids = PredictionIdPool(PredictionIdCodec([KEY]), "faces")
    for minute in range(10):
        ids.next(pack_event(replace(EVENT, minute=minute)))
        assert len(ids._ready) <= 3
    assert ids.next(pack_event(EVENT)) != ids.next(pack_event(EVENT))


FORKING = """
import os
from service.ledger.events import PredictionEvent
from service.ledger.prediction_id import PredictionIdPool, PredictionIdCodec, pack_event
ids, told = PredictionIdPool(PredictionIdCodec([bytes(32)]), "faces"), pack_event(PredictionEvent("faces", 1, 1, 1))
ids.next(told), ids.next(told)
os.fork() and os.wait()
print(ids.next(told))
"""


@pytest.mark.process
def test_a_forked_child_does_not_give_its_parents_ids() -> None:
    told = subprocess.run([sys.executable, "-c", FORKING], capture_output=True, text=True, check=True).stdout.split()
    assert len(told) == 2 and told[0] != told[1]
