import hashlib
import json

import pytest

from config.errors import ConfigError
from gateway.auth.identity import KeyLimits
from gateway.auth.keys import ID_END, PREFIX, KeyRecord, KeysFile, decode, digest, encode, new_key

GOOD = {"id": "0123456789abcdef", "sha256": "a" * 64, "name": "ann", "created_time": 1}


def test_keys_are_all_different_and_long_enough():
    made = [new_key() for _ in range(100)]
    assert len({key for _, key in made}) == 100
    for key_id, key in made:
        assert key[len(PREFIX) : ID_END] == key_id
        assert len(key) - ID_END - 1 == 43  # 32 bytes in base64
        assert all(" " < character < "\x7f" for character in key)


def test_the_digest_is_that_of_the_whole_key():
    assert digest("sk-mlx-x") == hashlib.sha256(b"sk-mlx-x").digest()


def test_a_key_that_is_no_unicode_has_a_digest_as_well():
    assert len(digest("sk-mlx-\udcff\udcff")) == 32


def test_what_is_written_is_read_again():
    record = KeyRecord(
        **GOOD, tenant="t", role="admin", expires_time=9, models=("m",), limits=KeyLimits(5)
    )
    content = KeysFile(keys=(record,))
    assert decode(encode(content), "f") == content


@pytest.mark.parametrize("empty", [b"", b" \n"])
def test_an_empty_file_has_no_keys(empty):
    assert decode(empty, "f") == KeysFile()


WRONG = [
    {"id": "../../etc/passwd"},
    {"id": "0123456789abcdef\n"},
    {"sha256": "a" * 63},
    {"sha256": "A" * 64},
    {"name": ""},
    {"name": "a\nb"},
    {"name": "ann\n"},
    {"name": 5},
    {"role": "root"},
    {"models": "demo"},
    {"models": [""]},
    {"limits": {"requests_per_minute": 0}},
    {"limits": {"request_per_minute": 5}},
    {"expires": 5},
    {"expires_time": "soon"},
]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_a_wrong_record_is_refused(wrong):
    with pytest.raises(ConfigError, match=r"f: no file of API keys \(.*\$\.keys\[0\]"):
        decode(json.dumps({"version": 1, "keys": [GOOD | wrong]}).encode(), "f")


@pytest.mark.parametrize(
    "data", [b"{", b"\xff", b"[]", b'{"version": 2}', b"[" * 100_000, b'{"keys": [{}]}', b"x"]
)
def test_what_is_no_file_of_keys_is_refused(data):
    with pytest.raises(ConfigError, match="f: no file of API keys"):
        decode(data, "f")


def test_two_keys_of_one_id_are_refused():
    with pytest.raises(ConfigError, match="two keys have one id"):
        decode(json.dumps({"keys": [GOOD, GOOD]}).encode(), "f")
