"""Files that are not UTF-8, or write decimals with a comma, give what the same table in UTF-8 gives."""

import gzip
import re
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest

from jvade.data.draft import draft
from jvade.data.engines import EngineSettings, connect
from jvade.data.errors import InputError
from jvade.data.features import read_visits
from jvade.data.mapping import Further, Join, read_mapping
from jvade.data.source import open_table
from jvade.data.text import UTF8, Csv, likely_charset

CHINESE = {"LIVES": "黄浦区", "STREET": "南京东路", "HOSPITAL": "第一人民医院"}
PORTUGUESE = {"LIVES": "São Paulo", "STREET": "Consolação", "HOSPITAL": "Clínicas"}


def written(visits: pd.DataFrame, path, charset: str, decimal: str = ".", packed: bool = False):
    """Write visits as CSV in an encoding, with decimals after a sign."""
    frame = visits.copy()
    for name in ("COST", "WAIT", "AGE"):
        frame[name] = frame[name].str.replace(".", decimal)
    data = frame.to_csv(index=False, sep=";").encode(charset)
    path = path / f"table.csv{'.gz' if packed else ''}"
    path.write_bytes(gzip.compress(data) if packed else data)
    return path


@pytest.mark.parametrize(
    ("charset", "names", "packed"),
    [("GBK", CHINESE, True), ("utf-16", CHINESE, False), ("cp1252", PORTUGUESE, False)],
)
def test_same_visits(visits, mapping, write, tmp_path, charset, names, packed):
    for name, value in names.items():
        visits[name] = value + visits[name]
    mapping = replace(mapping, subdistrict=replace(mapping.subdistrict, labels={}))
    plain = read_visits(write(visits, ".csv"), mapping)
    found = read_visits(
        written(visits, tmp_path, charset, ",", packed), replace(mapping, csv=Csv(charset, ","))
    )
    pd.testing.assert_frame_equal(found.frame, plain.frame)
    assert found.levels == plain.levels
    assert any(text.startswith(names["STREET"]) for text in found.levels["subdistrict"])


def test_parts_and_side_tables(visits, mapping, write, tmp_path):
    """A side table may be written in another way than the visits, whose numbers it may have."""
    visits["HOSPITAL"] = "医院" + visits["HOSPITAL"]
    folder = tmp_path / "parts"
    folder.mkdir()
    for i, part in enumerate((visits[:2], visits[2:])):
        (folder / f"{i}.csv").write_bytes(part.to_csv(index=False).encode("gb18030"))
    codes = visits["HOSPITAL"].unique()
    side = tmp_path / "side.csv"
    side.write_text(
        "\n".join(["CODE;BEDS", *(f"{code};{i + 1},5" for i, code in enumerate(codes))]), encoding="utf-8"
    )
    mapping = replace(
        mapping,
        csv=Csv("gb18030"),
        join=(Join("house", str(side), "CODE", "HOSPITAL", "utf-8", ","),),
        further=(Further("beds", "house.BEDS", "numeric"),),
    )
    found = read_visits(folder, mapping).frame
    expected = visits["HOSPITAL"].map({code: i + 1.5 for i, code in enumerate(codes)})
    np.testing.assert_array_equal(found["beds"], expected[found["row"] - 1])


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("utf-8", 'write csv = { charset = "gb18030" } or the like'),
        ("gb18030", "correct 'charset'"),
        ("utf-16", "correct 'charset'"),
    ],
)
def test_another_encoding_than_said(visits, mapping, tmp_path, said, advice):
    visits["LIVES"] = "上海市黄浦区"
    folder = tmp_path / "utf-8 parts"
    folder.mkdir()
    (folder / "0.csv").write_bytes(visits.assign(LIVES="x").to_csv(index=False).encode(said))
    # The last byte begins a character of any.
    (folder / "1.csv").write_bytes(visits.to_csv(index=False).encode("gb18030") + b"\xff")
    name = "UTF-8" if said == "utf-8" else said
    with pytest.raises(InputError, match=f"1.csv: the text is not {name}") as caught:
        read_visits(folder, replace(mapping, csv=Csv(said)))
    assert advice in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("costs", "refused"),
    [
        (("988", "1,234"), True),
        (("988,5", "1,234"), False),  # another number of digits follows
        (("4988", "1,234"), False),  # so large a number would have a sign too
        (("0,234", "988"), False),
        (("0", "1,234"), False),  # a rate that is mostly none
        (("988", "1,234,567"), True),  # which is no number besides
        (("1,234", "2,345"), False),  # every number has three decimals
    ],
)
def test_commas_that_part_thousands(visits, mapping, write, costs, refused):
    visits["COST"] = [costs[i % 2] for i in range(len(visits))]
    for name in ("WAIT", "AGE"):
        visits[name] = visits[name].str.replace(".", ",")
    read = partial(read_visits, write(visits, ".csv"), replace(mapping, csv=Csv(decimal=",")))
    if refused:
        with pytest.raises(
            InputError, match=r"column 'COST': a comma in \d+ rows; three digits follow it everywhere"
        ):
            read()
    else:
        found = read().frame
        expected = [float(costs[(row - 1) % 2].replace(",", ".")) for row in found["row"]]
        np.testing.assert_allclose(found["cost"], expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("said", "names"), [("gb18030", CHINESE), ("cp1252", PORTUGUESE), ("utf-16", {}), ("utf-32", {})]
)
def test_utf8_that_is_said_to_be_another(visits, mapping, write, said, names):
    """Its signs would become others, and nobody would be told."""
    for name, value in names.items():
        visits[name] = value + visits[name]
    with pytest.raises(InputError, match=f"the text is UTF-8, not {said}; leave 'charset' of the mapping"):
        read_visits(write(visits, ".csv"), replace(mapping, csv=Csv(said)))


def test_words_that_read_as_utf8_by_chance(tmp_path):
    """A hospital in GB18030 reads as two letters of UTF-8; so does the word that Notepad was known for."""
    words = "医院"
    assert words.encode("gb18030").decode("utf-8") == "ҽԺ"
    for name, charset, text in (("a", "gb18030", words), ("b", "cp1252", "10 Â°")):
        file = tmp_path / f"{name}.csv"
        file.write_bytes(f"place\n{text}\n".encode(charset) * 9)
        assert not Csv(charset).is_mistaken(file)


def test_a_broken_line_is_told_of_its_part(visits, mapping, tmp_path):
    folder = tmp_path / "not utf-8"
    folder.mkdir()
    for charset in ("utf-8", "gb18030"):
        for i in range(2):
            text = visits.to_csv(index=False) + ("only,two\n" if i else "")
            (folder / f"{i}.csv").write_bytes(text.encode(charset))
        with pytest.raises(InputError, match=r"1\.csv: the file cannot be read as CSV"):
            read_visits(folder, replace(mapping, csv=Csv(charset)))


def test_a_sign_that_was_not_said(visits, mapping, tmp_path):
    path = written(visits, tmp_path, "utf-8", ",")
    with pytest.raises(InputError, match=re.escape("decimal point only, at most 1e30")) as caught:
        read_visits(path, mapping)
    assert 'csv.decimal = ","' in str(caught.value)
    with pytest.raises(InputError, match="decimal comma only"):
        read_visits(written(visits, tmp_path, "utf-8"), replace(mapping, csv=Csv(decimal=",")))


@pytest.mark.parametrize("name", ["gb18031", "rot13", "", "base64", "\0", "unicode_escape", "idna"])
def test_what_is_no_encoding(name):
    assert "charset: expected the name of a text encoding" in Csv(name).problems[0]


def test_names_of_encodings():
    assert Csv("GB2312").problems == []
    assert Csv("utf8").codec == UTF8.codec == Csv("UTF-8-SIG").codec == "utf-8-sig"


@pytest.mark.parametrize(
    ("text", "charset"),
    [
        ("患者,性别,就诊区县\nP1,男,甲区\n", "gb18030"),
        ("患者,性别\nP1,男\n", "utf-8"),
        ("患者,性别\nP1,男\n", "utf-16"),
        ("INTERNAÇÃO;MUNICÍPIO;ÓBITO\n1;São Paulo;não\n", "cp1252"),
        ("plain;ascii\n", "utf-8"),
        ("id,sex\nP1,男\nP2,女\n", "gb18030"),
        ("id;nome\n1;É\n2;João\n3;CONCEIÇÃO\n", "cp1252"),
    ],
)
def test_likely(text, charset):
    assert likely_charset(text.encode(charset)) == charset


def test_a_mark_is_no_part_of_a_name(tmp_path):
    for charset in ("utf-16-le", "utf-16-be", "utf-8"):
        for mark in ("", "\ufeff"):
            path = tmp_path / "a.csv"
            path.write_bytes((mark + "患者,b\n1,2\n").encode(charset))
            with Csv(charset).open(path) as text:
                assert text.read() == "患者,b\n1,2\n"


def test_codes_that_a_gap_has_made_decimals_are_codes(visits, mapping, tmp_path):
    visits["DM"] = visits["DM"] + ",0"
    found = read_visits(written(visits, tmp_path, "utf-8", ","), replace(mapping, csv=Csv(decimal=",")))
    assert found.frame["diabetes"].any()


def test_copies_are_private_and_gone(visits, mapping, tmp_path):
    """A copy in UTF-8 is there until it has been read, and not when the process is told to end."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    path = written(visits, tmp_path, "gb18030")
    with connect(EngineSettings(temp=folder)) as engine:
        open_table(path, engine, written=Csv("gb18030"))
        assert not [*engine.scratch.glob("*.csv")]
        copy = Csv("gb18030").as_utf8(path, engine.scratch)
        assert copy.stat().st_mode & 0o777 == 0o600
        assert copy.parent.stat().st_mode & 0o777 == 0o700
    script = f"""
import os, pathlib, signal
from jvade.data.temporary import folder
with folder(pathlib.Path({str(folder)!r})) as one, folder(one) as two:
    (two / "a").write_text("x")
    os.kill(os.getpid(), signal.SIGTERM)
"""
    done = subprocess.run([sys.executable, "-c", script], check=False)
    assert done.returncode == -signal.SIGTERM
    assert not [*folder.iterdir()]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_likely_in_the_middle_of_a_character():
    assert likely_charset("男".encode()[:2]) == "utf-8"


def test_draft_of_a_file_that_excel_wrote(tmp_path):
    """The draft reads the file it was made of."""
    rng = np.random.default_rng(2)
    rows = 120
    frame = pd.DataFrame(
        {
            "患者ID": [f"P{i:04d}" for i in rng.integers(0, 40, rows)],
            "就诊日期": ["2024-05-31"] * rows,
            "性别": rng.choice(["男", "女"], rows),
            "年龄": rng.integers(0, 100, rows).astype(str),
            "总费用": [f"{value:.2f}".replace(".", ",") for value in rng.gamma(2, 100, rows)],
            "居住区县": ["甲区"] * rows,
            "就诊区县": rng.choice(["甲区", "乙区"], rows),
        }
    )
    path = tmp_path / "visits.csv"
    path.write_bytes(frame.to_csv(index=False, sep=";").encode("gb18030"))
    (tmp_path / "visits.toml").write_text(draft(path), encoding="utf-8")
    mapping = read_mapping(tmp_path / "visits.toml")
    assert mapping.csv == Csv("gb18030", ",")
    found = read_visits(path, mapping).frame
    expected = [float(value.replace(",", ".")) for value in frame["总费用"]]
    np.testing.assert_allclose(found["cost"], expected, rtol=1e-6)
    assert found["female"].tolist() == (frame["性别"] == "女").astype(int).tolist()


def test_commas_that_part_thousands_are_no_decimals(visits, tmp_path):
    visits["COST"] = ["1,234", "873", "3,786", "12,100", "99", "1,000", "5"]
    visits.to_csv(tmp_path / "visits.csv", index=False)
    text = draft(tmp_path / "visits.csv")
    assert '# decimal = ","' in text
    assert "charset" in text
