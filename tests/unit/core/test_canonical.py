from __future__ import annotations

import pytest

from kata_bundle.core import canonical
from kata_bundle.core.errors import IntegrityError


def test_canonical_bytes():
    assert canonical.dumps({"b": [1, 2], "a": "ß"}) == b'{"a":"\\u00df","b":[1,2]}\n'


def test_nan_is_never_written():
    with pytest.raises(ValueError, match="Out of range"):
        canonical.dumps(float("nan"))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"{", "not valid JSON"),
        (b'{"a":1,"a":2}', 'duplicate key "a"'),
        (b"NaN", "NaN is not a JSON number"),
        (b"[-Infinity]", "Infinity is not a JSON number"),
        (b"\xff", "not valid JSON"),
        (b"[" * 200_000, "nested too deeply"),
        (b" " * (canonical.MAX_DOCUMENT + 1), "more than the"),
    ],
)
def test_json_from_strangers_gives_one_clear_error(data, words):
    with pytest.raises(IntegrityError, match=words) as caught:
        canonical.loads(data, what="thing.json")
    assert "thing.json" in str(caught.value)


def test_json_for_people_can_be_written_whatever_a_file_is_called():
    assert canonical.dumps_pretty({"ü": "日本"}) == '{\n  "ü": "日本"\n}\n'
    text = canonical.dumps_pretty({"path": b"b\xff".decode("utf-8", "surrogateescape")})
    assert text.encode() == b'{\n  "path": "b\\udcff"\n}\n'
