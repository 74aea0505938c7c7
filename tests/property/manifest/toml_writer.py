"""Write data as TOML in randomly chosen spellings: tables, dotted keys, inline tables, four kinds of texts, comments."""

import json
import re
from datetime import date, datetime, time

from hypothesis import strategies as st

BARE = re.compile(r"[A-Za-z0-9_-]+")

scalars = st.one_of(
    st.text(max_size=12),
    st.integers(-(2**63), 2**63 - 1),
    st.booleans(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.dates(),
    st.datetimes(),
    st.times(),
)
keys = st.one_of(st.text(alphabet="abz09_-", min_size=1, max_size=6), st.text(max_size=5))
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=4)),
    max_leaves=12,
)
documents = st.dictionaries(keys, values, max_size=6)


class Writer:
    def __init__(self, draw):
        self.draw = draw
        self.lines = []

    def choose(self, *options):
        return self.draw(st.sampled_from(options))

    def blank(self):
        return self.choose("", "", " ", "\t ")

    def key(self, name):
        if BARE.fullmatch(name) and self.choose(True, True, False):
            return name
        if "'" not in name and all(c.isprintable() or c == "\t" for c in name) and self.choose(True, False):
            return f"'{name}'"
        return basic(name)

    def text(self, text, *, one_line):
        if "'" not in text and all(c.isprintable() or c == "\t" for c in text) and self.choose(True, False):
            return f"'{text}'"
        printable = all(c.isprintable() or c in "\t\n" for c in text)
        if not one_line and printable and "'''" not in text and not text.endswith("'") and self.choose(True, False):
            return f"'''\n{text}'''"
        if not one_line and self.choose(True, False):
            body = basic(text)[1:-1].replace('\\"', self.choose('\\"', '"')).replace("\\n", "\n")
            if '"""' not in body and not body.endswith('"'):
                return f'"""\n{body}"""'
        return basic(text)

    def value(self, value, *, one_line=False):
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, str):
            return self.text(value, one_line=one_line)
        if isinstance(value, datetime | date | time):
            return value.isoformat()
        if isinstance(value, list):
            comma = "," if one_line else self.choose(",", ", ", ",\n  ", ', # a comment, with ] and "\n')
            items = comma.join(self.value(item, one_line=one_line) for item in value)
            end = "" if one_line or not value else self.choose("", ",", ",\n")
            return f"[{self.blank()}{items}{end}]"
        if isinstance(value, dict):
            pairs = [f"{self.key(k)}{self.blank()}={self.blank()}{self.value(v, one_line=True)}" for k, v in value.items()]
            return "{" + self.blank() + (self.blank() + "," + self.blank()).join(pairs) + self.blank() + "}"
        text = repr(value)
        return text if isinstance(value, int) or any(c in text for c in ".en") else text + ".0"

    def table(self, table, path):
        later = []
        for name, value in table.items():
            is_table_array = isinstance(value, list) and value and all(isinstance(item, dict) for item in value)
            if isinstance(value, dict) and self.choose(True, False):
                later.append((name, value, False))
            elif is_table_array and self.choose(True, False):
                later.append((name, value, True))
            elif isinstance(value, dict) and value and self.choose(True, False):
                self.dotted([name], value)
            else:
                self.pair([name], value)
        for name, value, many in later:
            where = [*path, name]
            dotted = f"{self.blank()}.{self.blank()}".join(self.key(part) for part in where)
            if many:
                for item in value:
                    self.lines.append(f"[[{self.blank()}{dotted}{self.blank()}]]{self.comment()}")
                    self.table(item, where)
            else:
                self.lines.append(f"[{self.blank()}{dotted}{self.blank()}]{self.comment()}")
                self.table(value, where)

    def dotted(self, path, table):
        for name, value in table.items():
            if isinstance(value, dict) and value and self.choose(True, False):
                self.dotted([*path, name], value)
            else:
                self.pair([*path, name], value)

    def pair(self, path, value):
        name = f"{self.blank()}.{self.blank()}".join(self.key(part) for part in path)
        self.lines.append(f"{self.blank()}{name}{self.blank()}={self.blank()}{self.value(value)}{self.comment()}")

    def comment(self):
        return self.choose("", "", " # [not] = a 'table\"", "\n")


def basic(text):
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


@st.composite
def toml_texts(draw):
    """Yield (text, data)."""
    data = draw(documents)
    writer = Writer(draw)
    writer.table(data, [])
    return "\n".join(writer.lines) + draw(st.sampled_from(["", "\n"])), data
