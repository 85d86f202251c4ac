import pytest

from jvade.data.errors import InputError
from jvade.data.mapping import Mapping, columns_used, parse_mapping, read_mapping

BASE = """
age = { column = "AGE" }
sex = { column = "SEX", female = ["2"], male = ["1"] }
outcome = { residence = "LIVES", place = "TREATED" }
cost = { column = "COST" }
"""


def problems(text: str) -> str:
    with pytest.raises(InputError) as caught:
        parse_mapping(text)
    return str(caught.value)


def test_least_mapping_leaves_the_rest_empty():
    mapping = parse_mapping(BASE)
    assert isinstance(mapping, Mapping)
    assert mapping.patient == ""
    assert mapping.diagnosis is None
    assert [column for column, _ in columns_used(mapping)] == ["AGE", "SEX", "LIVES", "TREATED", "COST"]


def test_columns_used_finds_every_column_with_its_key(mapping):
    used = dict(columns_used(mapping))
    assert used["GRADE"] == "institution.level[1].when" or used["GRADE"] == "institution.level[2].when"
    assert used["DM"] == "chronic.diabetes.column"
    assert used["PAYER"] == "further[3].column"
    assert {"PERSON", "VISIT", "DAY", "DX1", "DX2", "STATUS", "KIND", "HOSPITAL", "STREET"} <= used.keys()
    assert not {"F", "ok", "3*", "from diagnosis", "tertiary"} & used.keys()


@pytest.mark.parametrize(
    ("added", "expected"),
    [
        ('pacient = "P"', "'pacient': unknown key; the closest is 'patient'; valid keys at the top: "),
        ('[diagnosis]\nprincipl = "D"', "the closest is 'principal'; valid keys in [diagnosis]: principal"),
        ("[diagnosis]", "'diagnosis.principal': missing; expected text in quotes"),
        ("patient = 3", "'patient': expected text in quotes, got 3"),
        (
            'filter = "A"',
            "'filter': expected a list of a table with the keys column, keep, drop, got the text 'A'",
        ),
        ('[[filter]]\ncolumn = "A"\nkeep = [1]', "'filter[1].keep[1]': expected text in quotes, got 1"),
        ('[[filter]]\ncolumn = "A"\nkeep = []', "got an empty list (leave the key out instead)"),
        ('[[filter]]\ncolumn = "A"', "filter[1]: give either 'keep' or 'drop'"),
        ("[history]\nfirst_visit = 1", "'history.first_visit': expected true or false, got 1"),
        (
            '[[further]]\nname = "a"\ncolumn = "A"\nkind = "number"',
            'one of "numeric", "binary", "categorical"',
        ),
        ('[[further]]\nname = "a"\ncolumn = "A"\nkind = "binary"', "'yes' goes with kind \"binary\""),
        ('[[further]]\nname = "a"\ncolumn = "A"\nkind = "categorical"\nmax_levels = 1', "2 or more, got 1"),
        ('[[further]]\nname = "age"\ncolumn = "A"\nkind = "numeric"', "name 'age': taken already"),
        ('[[further]]\nname = "Ä b"\ncolumn = "A"\nkind = "numeric"', "use lower-case letters"),
        ('[institution]\nlevel = [{ name = "tertiary", when = {} }]', "'when' names no column"),
        ('[chronic]\ndiabetes = "from diagnoses"', "'chronic.diabetes': expected one of \"from diagnosis\""),
        ('[chronic]\ndiabetes = "from diagnosis"', "'from diagnosis' needs the table [diagnosis]"),
        ('patient = "P"', "date: missing; a patient's history needs the date of each visit"),
        ("[subdistrict]\ncolumn = 'A'\nmax_levels = 1", "subdistrict: 'max_levels' must be 2 or more, got 1"),
        ("= 3", "not valid TOML"),
    ],
)
def test_message_names_the_key_and_what_it_should_be(added, expected):
    assert expected in problems(BASE + added)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('age = { column = "A", unit_column = "B" }', "age: 'unit_column' and 'units' go together"),
        (
            'age = { column = "A", unit_column = "B", units = { 1 = "decades" } }',
            "'age.units.1': expected one of",
        ),
        ('sex = { column = "S", female = ["1"], male = ["1"] }', "listed as both female and male"),
        ('outcome = { residence = "A" }', "give either 'residence' and 'place', or 'column' and 'yes'"),
        ('outcome = { residence = "A", place = "B", column = "C", yes = ["1"] }', "give either"),
        ("cost = true", "'cost': expected a table with the keys column, unit, got true"),
    ],
)
def test_required_part_that_makes_no_sense(line, expected):
    key = line.split(" ")[0]
    rest = "\n".join(row for row in BASE.splitlines() if not row.startswith(key))
    assert expected in problems(f"{line}\n{rest}")


def test_every_problem_is_in_one_message():
    text = problems('title = 3\npatience = "P"')
    assert "7 problems" not in text
    assert "6 problems" in text
    for key in ("title", "patience", "age", "sex", "outcome", "cost"):
        assert f"'{key}'" in text


def test_names_the_file_and_refuses_what_it_cannot_open(tmp_path):
    with pytest.raises(InputError, match=r"none\.toml: the mapping file cannot be opened"):
        read_mapping(tmp_path / "none.toml")
    latin = tmp_path / "latin.toml"
    latin.write_bytes('title = "São Paulo"'.encode("latin-1"))
    with pytest.raises(InputError, match="is not UTF-8 text"):
        read_mapping(latin)


def test_names_given_twice_are_refused():
    level = '[institution]\ndefault = "clinic"\nlevel = [{ name = "clinic", when = { A = ["1"] } }]'
    assert "name 'clinic': taken already" in problems(BASE + level)


def test_a_side_table_hangs_on_what_comes_before_it():
    area = '[[join]]\nname = "area"\nfile = "a.csv"\nkey = "ZIP"\non = "hospital.ZIP"\n'
    hospital = '[[join]]\nname = "hospital"\nfile = "h.csv"\nkey = "ID"\non = "H"\n'
    message = "join 'area': 'on' names a column of a join that does not come before it"
    assert message in problems(BASE + area + hospital)
    assert message in problems(BASE + hospital + area.replace("hospital.ZIP", "area.ZIP"))
    assert parse_mapping(BASE + hospital + area).join[1].on == "hospital.ZIP"
