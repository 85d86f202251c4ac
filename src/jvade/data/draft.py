"""A first draft of a mapping for a person's file, guessed from it: checking is easier than starting empty.

The guesses come from `drafting/words.toml`, the lines from `drafting/template.txt`. Only aggregates leave the
table. Codes of the file stand in a draft only for the parts that must list them (sex, unit of age, level,
flags), and only those that at least `SHARED` rows have: no other value of a row ever does.
"""

# Ibis annotates less than it accepts:
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportOperatorIssue=false

import json
import re
import tomllib
import unicodedata
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import ibis
import ibis.expr.types as ir

from jvade.data import icd10
from jvade.data.engines import ROW, Engine, connect, readable
from jvade.data.source import Source, likely, open_table
from jvade.data.text import UTF8, Csv
from jvade.data.tidy import NUMBER, WITH_COMMA, code, tidy

SHARED = 8  # rows that must have a code for it to be shown
FEW = 20  # values at most in a column whose codes may be shown
LOOKED_AT = 100_000  # rows, from the start, that show what a column holds
MOST = 0.9  # share of them that must agree
SOME = 0.1  # share of them that shows how numbers are written

_FOLDER = files("jvade.data") / "drafting"
TEMPLATE = (_FOLDER / "template.txt").read_text(encoding="utf-8")
WORDS = tomllib.loads((_FOLDER / "words.toml").read_text(encoding="utf-8"))

_PIECES = {"%Y": "(18|19|20)[0-9]{2}", "%m": "(0?[1-9]|1[0-2])", "%d": "(0?[1-9]|[12][0-9]|3[01])"}
FORMATS = ("%Y-%m-%d", "%Y%m%d", "%Y/%m/%d", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%d.%m.%Y", "%Y年%m月%d日")
ISO = FORMATS[0]  # needs no format in a mapping, and may have a time of day behind it


def _shapes() -> dict[str, str]:
    """Return a regular expression for each thing a column may hold; of texts without spaces, upper case."""
    found = {"number": f"{NUMBER}|{WITH_COMMA}", "code": icd10.PATTERN}
    # Before three digits a comma may part thousands.
    found["comma"] = "^[-+]?[0-9]*,([0-9]{1,2}|[0-9]{4,})$"
    found["age"] = "^([0-9]{1,2}|1[0-2][0-9])([.,][0-9]+)?$"
    for form in FORMATS:
        pattern = form.replace(".", "[.]")
        for piece, digits in _PIECES.items():
            pattern = pattern.replace(piece, digits if form != "%Y%m%d" else digits.replace("0?", "0"))
        found[form] = f"^{pattern}" + ("(T?[0-9]{1,2}:.*)?$" if form == ISO else "$")
    return found


SHAPES = _shapes()


@dataclass(frozen=True)
class Seen:
    """What aggregates say about a column.

    Args:
        name: of the column.
        rows: of the table.
        filled: rows that are not blank.
        distinct: about how many values it has.
        shares: by name of `SHAPES`, the share of the rows looked at, blanks apart, that have this shape.
        letters: about how many letters its ICD-10 codes begin with.
        codes: those that at least `SHARED` rows have, most frequent first; none where it has many values.
    """

    name: str
    rows: int
    filled: int
    distinct: int
    shares: dict[str, float]
    letters: int
    codes: tuple[str, ...]

    @property
    def format(self) -> str:
        """How its dates are written, or "" where it holds no dates."""
        best = max(FORMATS, key=lambda form: self.shares[form])
        return best if self.shares[best] > MOST else ""

    @property
    def yes(self) -> list[str]:
        """Its codes that mean yes."""
        return [code for code in self.codes if code.lower() in WORDS["codes"]["yes"]]

    def holds(self, what: str) -> bool:
        """Return whether it holds what `words.toml` calls so."""
        small = {code.lower() for code in self.codes}
        tests = {
            "": False,
            "dates": bool(self.format),
            "numbers": self.shares["number"] > MOST,
            "ages": self.shares["age"] > MOST,
            "some": self.filled > 0,
            "few": 1 < self.distinct <= FEW,
            "shared": len(self.codes) > 1,
            "flag": self.distinct <= 4 and bool(self.yes),
            "sexes": all(small.intersection(WORDS["codes"][name]) for name in ("female", "male")),
            "people": self.distinct * 50 >= self.filled > 0,  # each with fewer than 50 visits
            "diagnoses": self.shares["code"] > 0.1,
            # P0172 may be a patient: real codes begin with several letters.
            "many_diagnoses": self.shares["code"] > MOST and self.letters > 5,
            # The last of several diagnosis columns may be all blank.
            "more_diagnoses": self.shares["code"] > 0.5 or not self.filled,
        }
        return tests[what]

    def score(self, role: dict) -> float:
        """Return how well it fits a role of `words.toml`, 0 where it does not."""
        if not self.name or not self.holds(role["holds"]):
            return 0
        plain = unicodedata.normalize("NFKD", self.name)
        plain = "".join(sign for sign in plain if not unicodedata.combining(sign))
        words = re.findall("[a-z]+|[0-9]+", re.sub("(?<=[a-z0-9])(?=[A-Z])", " ", plain).lower())
        spaced = f" {' '.join(words)} "
        for place, name in enumerate(role["names"]):
            whole = name.startswith("=") and spaced == f" {name[1:]} "
            if whole or (f" {name} " in spaced if name.isascii() else name in plain.lower()):
                return 1 - place / 100 - len(words) / 1000
        return 0.1 if self.holds(role.get("alone", "")) else 0

    def __str__(self) -> str:
        """Return its name, kind, blanks and number of values."""
        if not self.filled:
            return f"{quote(self.name)}: all blank, or of a type that cannot be read"
        kind = "dates" if self.format else "numbers" if self.shares["number"] > MOST else "text"
        blank = 100 - 100 * self.filled / self.rows
        return f"{quote(self.name)}: {kind}, {blank:.0f} % blank, about {self.distinct} different"


def draft(path: Path | str, written: Csv | None = None) -> str:
    """Return the text of a mapping for a file, as far as it can be guessed; "?" stands for what is needed.

    Args:
        path: the visits, as `source.open_table` reads them.
        written: how a CSV file is; guessed if not given.

    Raises:
        InputError: the file cannot be read.
    """
    with connect() as engine:
        engine.adjustable = False
        written = written or likely(Path(path))
        source = open_table(path, engine, written=written)
        with readable(source.name, engine, source.text):
            columns = look(source, engine)
    return write(columns, source.name, written)


def look(source: Source, engine: Engine) -> list[Seen]:
    """Return what aggregates say about each column of a table of visits."""
    table = source.table
    names = [name for name in table.columns if name != ROW]
    if not names:
        return []
    # Staged, so that the many tests read plain columns.
    tidied = tidy(table, names, source.text, engine)
    texts = engine.stage(tidied.select(**{f"c{i}": code(tidied[name]) for i, name in enumerate(names)}))
    start = texts.limit(LOOKED_AT)
    start = engine.stage(start.select(**{c: icd10.plain(start[c]) for c in start.columns}))
    counts: dict[str, ir.Value] = {"rows": texts.count()}
    shapes: dict[str, ir.Value] = {}
    for column in texts.columns:
        text, sample = texts[column], start[column]
        counts |= {f"{column} filled": text.count(), f"{column} distinct": text.approx_nunique()}
        shapes |= {f"{column} {name}": sample.re_search(shape).mean() for name, shape in SHAPES.items()}
        is_code = sample.re_search(icd10.PATTERN)
        shapes[f"{column} letters"] = sample.left(1).approx_nunique(where=is_code)
    facts = texts.aggregate(**counts).to_pyarrow().to_pylist()[0]
    facts |= start.aggregate(**shapes).to_pyarrow().to_pylist()[0]
    found = []
    for column, name in zip(texts.columns, names, strict=True):
        codes: tuple[str, ...] = ()
        if 0 < facts[f"{column} distinct"] <= FEW:
            counted = texts.group_by(code=texts[column]).agg(rows=texts.count())
            shared = counted.filter(counted.code.notnull(), counted["rows"] >= SHARED)
            codes = tuple(shared.order_by(ibis.desc("rows"), "code").code.to_pyarrow().to_pylist())
        shares = {shape: float(facts[f"{column} {shape}"] or 0) for shape in SHAPES}
        filled, distinct, letters = (facts[f"{column} {what}"] for what in ("filled", "distinct", "letters"))
        found.append(Seen(name, facts["rows"], filled, distinct, shares, letters, codes))
    return found


def guess(columns: Iterable[Seen]) -> tuple[dict[str, Seen], list[Seen], list[Seen]]:
    """Return the column of each part, the further diagnosis columns, and the columns left over."""
    left, found = list(columns), {}
    for name, role in WORDS["role"].items():
        best = max(left, key=lambda column: column.score(role), default=None)
        if best and best.score(role):
            found[name] = best
            left.remove(best)
    # One of two ways is enough: an age or a birth, two places or a flag. A unit needs a number.
    for moot, others in {"birth": {"age"}, "crossed": {"residence", "place"}}.items():
        if moot in found and others & found.keys():
            left.append(found.pop(moot))
    if "unit" in found and "age" not in found:
        left.append(found.pop("unit"))
    others = [column for column in left if "diagnosis" in found and column.score(WORDS["others"])]
    return found, others, [column for column in left if column not in others]


def known(found: dict[str, Seen], others: list[Seen]) -> dict[str, str]:
    """Return, for names in the template, what is known of them, as TOML."""
    texts = {name: quote(column.name) for name, column in found.items() if name not in ("specialty", "level")}
    for name in ("date", "birth"):
        if name in found and found[name].format != ISO:
            texts[f"{name}_format"] = quote(found[name].format)
    if "unit" in found:
        codes = found["unit"].codes or ("?",)
        words = WORDS["units"] if codes[0] != "4" else WORDS["datasus_units"]
        unit = {word: name for name, all_words in words.items() for word in all_words}
        texts["units"] = _table({code: quote(unit.get(code.lower(), "?")) for code in codes})
    if "sex" in found:
        codes = found["sex"].codes
        sexes = {name: [c for c in codes if c.lower() in WORDS["codes"][name]] for name in ("female", "male")}
        for scheme in WORDS["sex"]:
            if {scheme["female"], scheme["male"]} <= set(codes) <= set(scheme["all"]):
                sexes = {name: [scheme[name]] for name in sexes}
        texts |= {name: _list(codes) for name, codes in sexes.items() if codes}
    if "crossed" in found:
        texts["crossed_yes"] = _list(found["crossed"].yes)
    if "specialty" in found:
        texts["specialty"] = _table({found["specialty"].name: _list(found["specialty"].yes)})
    if others:
        texts["others"] = _list(column.name for column in others)
    for name in ("hypertension", "diabetes"):
        if name in found:
            texts[name] = f"{{ column = {texts[name]}, yes = {_list(found[name].yes)} }}"
        elif "diagnosis" in found:
            texts[name] = quote("from diagnosis")
    return texts


def levels(column: Seen) -> list[dict[str, str]]:
    """Return what is known for each level of institutions."""
    codes: dict[str, list[str]] = {}
    for i, each in enumerate(column.codes, start=1):
        study = (name for name, words in WORDS["levels"].items() if any(w in each.lower() for w in words))
        codes.setdefault(next(study, f"level_{i}"), []).append(each)
    return [
        {"level": quote(name), "level_when": _table({column.name: _list(some)})}
        | ({} if name in WORDS["levels"] else {"level_label": quote(f"{column.name} {some[0]}")})
        for name, some in codes.items()
    ]


def write(columns: list[Seen], name: str, written: Csv = UTF8) -> str:
    """Return the text of a mapping for the columns of the file `name`, and how it is written."""
    found, others, left = guess(columns)
    texts = known(found, others)
    if written.codec != UTF8.codec:
        texts["charset"] = quote(written.charset)
    if any(found[name].shares["comma"] > SOME for name in ("age", "cost") if name in found):
        texts["decimal"] = quote(",")
    needed = {"sex", "female", "male", "cost"} | (set() if "birth" in found else {"age"})
    needed |= set() if "crossed" in found else {"residence", "place"}
    needed |= {"date"} if {"patient", "birth"} & found.keys() else set()
    lines = [
        f"# A draft for {quote(name)}: {columns[0].rows if columns else 0:,} rows, {len(columns)} columns.",
        '# Fill in every "?", check what is guessed, take the "# " from further lines that you want; then',
        "# jvade paper --visits VISITS --mapping THIS_FILE --out FOLDER, which says all that is still wrong.",
        f"# Only codes that {SHARED} rows or more have stand here; add the rarer ones.",
        "",
        f"title = {quote(name.split('.')[0] or name)}",
    ]
    for block in TEMPLATE.strip().split("\n\n"):
        repeats = levels(found["level"]) if "@level " in block and "level" in found else []
        for more in repeats or [{}]:
            filled = _filled(block, texts | more, needed)
            lines += ["", *(line for line in filled if not (more and line.startswith("#")))]
    lines += ["", "# Columns without a part:", *(f"# {column}" for column in left)]
    return "\n".join(lines) + "\n"


def _filled(block: str, texts: dict[str, str], needed: Collection[str]) -> list[str]:
    """Return a block of the template with what is known.

    A line counts if something is known for its @name, or if that is needed, which leaves the example; else it
    becomes a comment, and so does the head of a table in which no line counts.
    """
    lines, any_counts = [], False
    for line in block.splitlines():
        match = re.fullmatch(r"(\w+ = )@(\w+) (.*) # (.*)", line)
        if not match:
            lines.append(line)
            continue
        key, name, example, note = match.groups()
        counts = name in texts or name in needed
        any_counts |= counts
        if counts and example == '"?"':
            example = quote(f"? {name}")  # another for each part, so that a message for each says so
        text = f"{'' if counts else '# '}{key}{texts.get(name, example)}"
        lines.append(f"{text:<35} # {'guessed: check; ' if name in texts else ''}{note}")
    return [line if any_counts or not line.startswith("[") else f"# {line}" for line in lines]


def quote(text: str) -> str:
    """Return a text as TOML writes it, on one line."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _list(texts: Iterable[str]) -> str:
    return f"[{', '.join(map(quote, texts))}]"


def _table(pairs: dict[str, str]) -> str:
    return f"{{ {', '.join(f'{quote(key)} = {text}' for key, text in pairs.items())} }}"
