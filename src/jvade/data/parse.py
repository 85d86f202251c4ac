"""Columns of any file to typed values of ours, with the rules that each column must obey.

Everything here is an Ibis expression: nothing is read yet. A value that cannot be parsed becomes missing,
and the rule beside it counts the row.
"""

# Ibis annotates less than it accepts (a list of text in `isin`, a number beside an expression):
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportOperatorIssue=false
# pyright: reportReturnType=false, reportAssignmentType=false

from dataclasses import dataclass, field

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir

from jvade.data import icd10
from jvade.data.checks import Rule, usable
from jvade.data.mapping import (
    Age,
    Chronic,
    Codes,
    Date,
    Diagnosis,
    Flag,
    Further,
    Institution,
    Mapping,
    Outcome,
    Sex,
    columns_used,
)
from jvade.data.variables import OUTCOME

# Names of our own columns hold a space, which no name in a mapping may.
ROW = "jvade row number"  # column of `clean`
CATEGORY = "category of "  # start of the names of its columns of ICD-10 categories
CODING = "coding of "  # start of the names of code columns that become one-hot inputs
MAX_AGE = 130  # years; nobody has lived longer
LARGEST = 1e30  # of any number; inputs are float32, which ends at 3.4e38

# Years in one unit, and years to add, of each word a mapping may use for an age unit.
AGE_UNITS = {
    "hours": (1 / 8766, 0.0),
    "days": (1 / 365.25, 0.0),
    "weeks": (7 / 365.25, 0.0),
    "months": (1 / 12, 0.0),
    "years": (1.0, 0.0),
    "years over 100": (1.0, 100.0),
}
FILL = "fill them in, or leave them out with a [[filter]]"
CORRECT = "correct them, or leave them out with a [[filter]]"


@ibis.udf.scalar.builtin(name="try_strptime")
def _try_strptime(text: dt.string, form: dt.string) -> dt.timestamp:  # pyright: ignore[reportInvalidTypeForm]
    """Return the moment a text stands for, or null."""


def clean(raw: ir.Table, mapping: Mapping) -> ir.Table:
    """Return the columns a mapping names, each tidied once, with the row numbers as column `ROW`.

    Text loses the spaces around it; blanks, and the NaN that pandas writes, are missing; whole numbers that
    a gap in their column has turned into 3.0 are 3 again. A column the file lacks or cannot use is empty, so
    that it does not hide what is wrong with the others. Diagnosis columns are joined by their categories.
    """
    types = raw.schema()
    columns: dict[str, ir.Value] = {ROW: ibis.row_number() + 1}
    for name, _ in columns_used(mapping):
        if name not in types or not usable(types[name]):
            columns[name] = ibis.null("string")
        elif types[name].is_floating():
            columns[name] = raw[name].nullif(float("nan"))
        elif types[name].is_string() or types[name].is_boolean():
            value = raw[name].cast("string").strip().nullif("").nullif("nan").nullif("NaN")
            # Few texts end so; the test spares the rest a regular expression.
            whole = value.re_replace(r"^(-?[0-9]+)\.0$", r"\1")
            columns[name] = ibis.ifelse(value.endswith(".0"), whole, value)
        else:
            columns[name] = raw[name]
    diagnosis = mapping.diagnosis
    for name in (diagnosis.principal, *diagnosis.others) if diagnosis else ():
        value = code(columns[name]).replace(" ", "").upper()
        real = value.re_search(icd10.PATTERN)  # as icd10.category
        columns[CATEGORY + name] = ibis.ifelse(real, value.left(3), ibis.null("string"))
    return raw.select(**columns)


def code(column: ir.Value) -> ir.StringValue:
    """Return a clean column as codes."""
    written = column.cast("string")
    # A Parquet file of pandas: whole numbers with gaps.
    return written.re_replace(r"\.0$", "") if column.type().is_floating() else written


def number(column: ir.Value) -> ir.FloatingValue:
    """Return a clean column as numbers up to `LARGEST`; anything else is missing."""
    value = column.cast("float64") if column.type().is_numeric() else code(column).try_cast("float64")
    return ibis.ifelse(value.isnan() | (value.abs() > LARGEST), ibis.null("float64"), value)


def matches(column: ir.Value, codes: Codes) -> ir.BooleanValue:
    """Return whether a clean column holds one of the codes; "1*" is any that begins with 1, "" a blank."""
    value = code(column)
    tests = [value.isin([c for c in codes if c and not c.endswith("*")])]
    tests += [value.startswith(c[:-1]) for c in codes if c.endswith("*")]
    found = ibis.or_(*tests).fill_null(False)
    return found | value.isnull() if "" in codes else found


def meets(visits: ir.Table, when: dict[str, Codes]) -> ir.BooleanValue:
    """Return whether every column of `when` holds one of its codes."""
    return ibis.and_(*(matches(visits[column], codes) for column, codes in when.items()))


def passes(visits: ir.Table, mapping: Mapping) -> ir.BooleanValue:
    """Return which rows of a clean table the filters keep."""
    tests = [matches(visits[f.column], f.keep) for f in mapping.filter if f.keep]
    tests += [~matches(visits[f.column], f.drop) for f in mapping.filter if f.drop]
    return ibis.and_(ibis.literal(True), *tests)


@dataclass
class Parser:
    """Gathers typed columns and rules from a clean table.

    Args:
        visits: the table.

    Attributes:
        values: typed columns by our names.
        rules: what the rows must not do.
    """

    visits: ir.Table
    values: dict[str, ir.Value] = field(default_factory=dict)
    rules: list[Rule] = field(default_factory=list)

    def read(self, mapping: Mapping) -> None:
        """Add every column the mapping provides."""
        if mapping.patient:
            self.values["patient"] = self._filled(mapping.patient)
        if mapping.visit:
            visit = code(self.visits[mapping.visit])
            # In the order of numbers where they are numbers, else in that of texts.
            self.values |= {"visit number": visit.try_cast("int64"), "visit text": visit}
        if mapping.date:
            self._date(mapping.date)
        self._age(mapping.age)
        self._sex(mapping.sex)
        self._outcome(mapping.outcome)
        self.values["cost"] = cost = self._number(mapping.cost.column)
        self._forbid(mapping.cost.column, "a cost below 0", cost < 0)
        self._institution(mapping.institution)
        if mapping.diagnosis:
            self._diagnosis(mapping.diagnosis)
        self._chronic(mapping.chronic, mapping.diagnosis)
        if mapping.subdistrict:
            self.values[f"{CODING}subdistrict"] = code(self.visits[mapping.subdistrict.column])
        for part in mapping.further:
            self._further(part)

    def _forbid(self, column: str, rule: str, broken: ir.BooleanValue, advice: str = CORRECT) -> None:
        """Add a rule; a row where `broken` cannot be told does not break it."""
        self.rules.append(Rule(column, rule, advice, broken.fill_null(False)))

    def _filled(self, column: str) -> ir.StringValue:
        """Return a column of codes that must not be blank."""
        value = code(self.visits[column])
        self._forbid(column, "a blank", value.isnull(), FILL)
        return value

    def _number(self, column: str) -> ir.FloatingValue:
        """Return a column of numbers that may be blank."""
        value = number(self.visits[column])
        broken = self.visits[column].notnull() & value.isnull()
        self._forbid(column, "not a number", broken, "write digits and a decimal point only, at most 1e30")
        return value

    def _date(self, date: Date) -> None:
        """Add the visit moment: the date, with the time of day where the column has one."""
        written = self._filled(date.column)
        typed = self.visits[date.column]
        if typed.type().is_date() or typed.type().is_timestamp():
            moment = typed.cast("timestamp")
        elif date.format:
            moment = _try_strptime(written, date.format)
        else:
            moment = written.try_cast("timestamp")
        advice = 'correct them, or say in [date] how dates are written, for example format = "%Y%m%d"'
        broken = written.notnull() & moment.isnull()
        self._forbid(date.column, f"not a date written as {date.format or '%Y-%m-%d'}", broken, advice)
        self.values["visit moment"] = moment

    def _age(self, age: Age) -> None:
        """Add `age` in years."""
        self._filled(age.column)
        value = self._number(age.column)
        if age.unit_column:
            unit = self._filled(age.unit_column)
            known = {key: AGE_UNITS[word] for key, word in age.units.items()}
            self._forbid(
                age.unit_column, "an age unit that 'age.units' does not list", unit.notin(list(known))
            )
            value = ibis.cases(*((unit == key, value * times + plus) for key, (times, plus) in known.items()))
        self._forbid(age.column, "an age below 0", value < 0)
        self._forbid(
            age.column, f"an age over {MAX_AGE} years", value > MAX_AGE, "check the unit; " + CORRECT
        )
        self.values["age"] = value

    def _sex(self, sex: Sex) -> None:
        """Add `female`."""
        value = self._filled(sex.column)
        female, male = matches(value, sex.female), matches(value, sex.male)
        advice = "list the codes in [sex], or leave the rows out with a [[filter]]"
        unknown = value.notnull() & ~female & ~male
        self._forbid(sex.column, "a code that [sex] lists neither as female nor as male", unknown, advice)
        self.values["female"] = female

    def _outcome(self, outcome: Outcome) -> None:
        """Add `cross_district`, and `residence` and `place` where the mapping has them."""
        if outcome.column:
            self.values[OUTCOME] = matches(self._filled(outcome.column), outcome.yes)
            return
        residence, place = self._filled(outcome.residence), self._filled(outcome.place)
        crossed = (residence != place).fill_null(False)
        self.values |= {"residence": residence, "place": place, OUTCOME: crossed}

    def _institution(self, part: Institution) -> None:
        """Add one flag per level, at most one of them true in a row, the specialty flag and the id."""
        taken: ir.BooleanValue = ibis.literal(False)
        for level in part.level:
            fits = meets(self.visits, level.when)
            self.values[level.name] = fits & ~taken
            taken = taken | fits
        if part.default:
            self.values[part.default] = ~taken
        if part.specialty:
            self.values["specialty"] = meets(self.visits, part.specialty)
        if part.id:
            self.values["institution"] = code(self.visits[part.id])

    def _diagnosis(self, part: Diagnosis) -> None:
        """Add one flag per diagnosis group, and an odd code for a principal code that is not ICD-10."""
        category = self.visits[CATEGORY + part.principal]
        for name, ranges in icd10.DIAGNOSIS_RANGES.items():
            self.values[name] = icd10.in_ranges(category, ranges).fill_null(False)
        self.values["odd code"] = self.visits[part.principal].notnull() & category.isnull()

    def _chronic(self, part: Chronic, diagnosis: Diagnosis | None) -> None:
        """Add the chronic conditions, as this visit alone shows them."""
        for name, ranges in icd10.CHRONIC_RANGES.items():
            source = getattr(part, name)
            if isinstance(source, Flag):
                self.values[name] = matches(self.visits[source.column], source.yes)
            elif source and diagnosis:
                codes = [self.visits[CATEGORY + c] for c in (diagnosis.principal, *diagnosis.others)]
                self.values[name] = ibis.or_(*(icd10.in_ranges(c, ranges).fill_null(False) for c in codes))

    def _further(self, part: Further) -> None:
        """Add an input the study does not have, or its codes."""
        if part.kind == "numeric":
            self.values[part.name] = self._number(part.column)
        elif part.kind == "binary":
            self.values[part.name] = matches(self.visits[part.column], part.yes)
        else:
            self.values[CODING + part.name] = code(self.visits[part.column])
