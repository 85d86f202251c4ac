"""Tidy columns to typed values of ours, with the rules that each column must obey.

Everything here is an Ibis expression: nothing is read yet. A value that cannot be parsed becomes missing,
and the rule beside it counts the row.
"""

# Ibis annotates less than it accepts (a list of text in `isin`, a number beside an expression):
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportOperatorIssue=false
# pyright: reportReturnType=false, reportAssignmentType=false

from dataclasses import dataclass, field

import ibis
import ibis.expr.types as ir

from jvade.data import icd10
from jvade.data.checks import Rule
from jvade.data.lookups import GROUP, NONE, ODD, POSITION, SHOWN, UNLISTED, has_few
from jvade.data.mapping import (
    Age,
    Chronic,
    Date,
    Diagnosis,
    Flag,
    Further,
    Institution,
    Join,
    Mapping,
    Outcome,
    Sex,
)
from jvade.data.tidy import UNKNOWN, code, completed_years, day, fits, matches, meets, moment, number
from jvade.data.variables import OUTCOME

# Names of our own columns hold a space, which no name in a mapping may.
CODING = "coding of "  # start of the names of code columns that become one-hot inputs
MOMENT, LEVEL, UNSURE = "visit moment", "institution level", "unknown area"
MAX_AGE = 130  # years; nobody has lived longer
YEARS = (1850, 2100)  # first and last that a date may lie in: older or later ones stand for "unknown"

# Years in one unit, and years to add, of each word a mapping may use for an age unit.
AGE_UNITS = {
    "hours": (1 / 8766, 0.0),
    "days": (1 / 365.25, 0.0),
    "weeks": (7 / 365.25, 0.0),
    "months": (1 / 12, 0.0),
    "years": (1.0, 0.0),
    "years over 100": (1.0, 100.0),
}
FILL = (
    "fill them in (in a CSV file NULL, NA and the like are blanks), leave them out with a [[filter]], or set "
    "'checks.{part}' to \"drop\""
)
CORRECT = "correct them, leave them out with a [[filter]], or set 'checks.{part}' to \"drop\""


def passes(visits: ir.Table, mapping: Mapping) -> ir.BooleanValue:
    """Return which rows of a tidy table the filters keep."""
    tests = [matches(visits[f.column], f.keep) for f in mapping.filter if f.keep]
    tests += [~matches(visits[f.column], f.drop) for f in mapping.filter if f.drop]
    return ibis.and_(ibis.literal(True), *tests)


@dataclass
class Parser:
    """Gathers typed columns and rules from a tidy table.

    Args:
        visits: the table, as `lookups.gather` returns it.
        codes: of its columns, likewise.
        mapping: which column plays which part.

    Attributes:
        values: typed columns by our names.
        rules: what the rows must not do.
    """

    visits: ir.Table
    codes: dict[str, list[str]]
    mapping: Mapping
    values: dict[str, ir.Value] = field(default_factory=dict)
    rules: list[Rule] = field(default_factory=list)
    #: Columns of text that are read as numbers with decimal commas.
    commas: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        mapping = self.mapping
        for join in mapping.join:
            self._join(join)
        if mapping.patient:
            patient = self._filled("patient", mapping.patient)
            self.values["patient"] = patient if patient.type().is_integer() else code(patient)
        if mapping.date:
            self._date(mapping.date)
        if mapping.patient and mapping.visit:
            self._visit(mapping.visit)
        self._age(mapping.age)
        self._sex(mapping.sex)
        self._outcome(mapping.outcome)
        self._cost(mapping.cost.column)
        self._institution(mapping.institution)
        if mapping.diagnosis:
            self.values |= {GROUP: self.visits[GROUP], ODD: self.visits[ODD]}
        self._chronic(mapping.chronic, mapping.diagnosis)
        if mapping.subdistrict:
            self.values[f"{CODING}subdistrict"] = self.visits[POSITION + mapping.subdistrict.column]
        for part in mapping.further:
            self._further(part)
        for name, column in mapping.describe.items():
            few = has_few(self.codes, column)
            self.values[name] = self.visits[POSITION + column] if few else code(self.visits[column])

    def _forbid(
        self, part: str, column: str, rule: str, broken: ir.BooleanValue, advice: str = CORRECT
    ) -> None:
        """Add a rule; a row where `broken` cannot be told does not break it."""
        drops = self.mapping.checks.get(part) == "drop"
        early = part in ("patient", "date", "outcome", *(join.name for join in self.mapping.join))
        advice = advice.format(part=part)
        self.rules.append(Rule(column, rule, advice, broken, drops, early))

    def _filled(self, part: str, column: str) -> ir.Value:
        """Return a column that must not be blank."""
        self._forbid(part, column, "a blank", self.visits[column].isnull(), FILL)
        return self.visits[column]

    def _number(self, part: str, column: str) -> ir.FloatingValue:
        """Return a column of numbers that may be blank."""
        join, dot, _ = column.partition(".")
        decimal = self.mapping.written(join if dot else "").decimal
        value = number(self.visits[column], decimal)
        if decimal == "," and self.visits[column].type().is_string():
            self.commas.append(column)
        broken = self.visits[column].notnull() & value.isnull()
        sign, other = ("point", ",") if decimal == "." else ("comma", ".")
        advice = (
            f"write digits and a decimal {sign} only, at most 1e30; where the sign is the other one, write "
            f'csv.decimal = "{other}" at the top of the mapping; or set '
            "'checks.{part}' to \"drop\""
        )
        self._forbid(part, column, "not a number", broken, advice)
        return value

    def _moment(self, part: str, column: str, form: str, key: str) -> ir.TimestampValue:
        """Return a column of dates that must not be blank."""
        written = self._filled(part, column)
        value = moment(self.visits[column], form)
        if value.type() != self.visits[column].type():  # it had to be parsed
            advice = f'correct them, or say in {key} how dates are written, for example "%Y%m%d"'
            broken = written.notnull() & value.isnull()
            self._forbid(part, column, f"not a date written as {form or '%Y-%m-%d'}", broken, advice)
        outside = (value < ibis.date(YEARS[0], 1, 1)) | (value >= ibis.date(YEARS[1] + 1, 1, 1))
        self._forbid(part, column, f"a date before {YEARS[0]} or after {YEARS[1]}", outside)
        return value

    def _join(self, join: Join) -> None:
        """Add the rule that a side table lists every code."""
        advice = "add them to the side table, or set 'checks.{part}' to \"drop\""
        broken = self.visits[UNLISTED + join.name]
        self._forbid(join.name, join.on, "a code that the side table does not list", broken, advice)

    def _date(self, date: Date) -> None:
        """Add the visit moment: the date, with the time of day where the column has one."""
        self.values[MOMENT] = self._moment("date", date.column, date.format, "'date.format'")

    def _visit(self, column: str) -> None:
        """Add what orders the visits of one day: the number of the visit, or its text where it has none."""
        visit = self.visits[column]
        if visit.type().is_numeric():
            self.values["visit number"] = visit
            return
        text = code(visit)
        digits = ibis.ifelse(fits(text, "^-?[0-9]{1,18}$"), text, ibis.null("string"))
        self.values |= {"visit number": digits.try_cast("int64"), "visit text": text}

    def _age(self, age: Age) -> None:
        """Add `age` in years."""
        if age.birth:
            birth = self._moment("age", age.birth, age.birth_format, "'age.birth_format'")
            visit = self.values[MOMENT]
            value = completed_years(day(birth), day(visit)).cast("float64")
            self._forbid("age", age.birth, "a birth after the visit", day(birth) > day(visit))
        else:
            self._filled("age", age.column)
            value = self._number("age", age.column)
        if age.unit_column:
            unit = code(self._filled("age", age.unit_column))
            known = {key: AGE_UNITS[word] for key, word in age.units.items()}
            unknown = unit.notin(list(known))
            self._forbid("age", age.unit_column, "an age unit that 'age.units' does not list", unknown)
            value = ibis.cases(*((unit == key, value * times + plus) for key, (times, plus) in known.items()))
        column = age.column or age.birth
        if age.column:
            self._forbid("age", column, "an age below 0", value < 0)
        advice = "check the unit; " + CORRECT
        self._forbid("age", column, f"an age over {MAX_AGE} years", value > MAX_AGE, advice)
        self.values["age"] = value.cast("float32")

    def _sex(self, sex: Sex) -> None:
        """Add `female`."""
        value = self._filled("sex", sex.column)
        female, male = matches(value, sex.female), matches(value, sex.male)
        advice = (
            "list the codes in [sex], leave the rows out with a [[filter]], or set 'checks.sex' to \"drop\""
        )
        unknown = value.notnull() & ~female & ~male
        self._forbid(
            "sex", sex.column, "a code that [sex] lists neither as female nor as male", unknown, advice
        )
        self.values["female"] = female

    def _outcome(self, outcome: Outcome) -> None:
        """Add `cross_district`."""
        if outcome.column:
            self.values[OUTCOME] = matches(self._filled("outcome", outcome.column), outcome.yes)
            return
        residence = code(self._filled("outcome", outcome.residence))
        place = code(self._filled("outcome", outcome.place))
        self.values[OUTCOME] = (residence != place).fill_null(False)
        self.values[UNSURE] = (residence.isin(UNKNOWN) | place.isin(UNKNOWN)).fill_null(False)

    def _cost(self, column: str) -> None:
        """Add `cost`; a visit without one is dropped and counted (section 2.1)."""
        cost = self._number("cost", column)
        self.values["cost"] = cost.cast("float32")
        self._forbid("cost", column, "a cost below 0", cost < 0)
        blank = self.visits[column].isnull()
        self.rules.append(Rule(column, "no cost", "", blank, drops=True))

    def _institution(self, part: Institution) -> None:
        """Add the position of the first level that fits, and the specialty flag."""
        levels = [(meets(self.visits, level.when), i) for i, level in enumerate(part.level)]
        default = len(levels) if part.default else NONE
        if levels:
            self.values[LEVEL] = ibis.cases(*levels, else_=default).cast("int8")
        elif part.default:
            self.values[LEVEL] = ibis.literal(0, "int8")
        if part.specialty:
            self.values["specialty"] = meets(self.visits, part.specialty)

    def _chronic(self, part: Chronic, diagnosis: Diagnosis | None) -> None:
        """Add the chronic conditions, as this visit alone shows them."""
        for name in icd10.CHRONIC_RANGES:
            source = getattr(part, name)
            if isinstance(source, Flag):
                self.values[name] = matches(self.visits[source.column], source.yes)
            elif source and diagnosis:
                columns = (diagnosis.principal, *diagnosis.others)
                shown = [self.visits[SHOWN.format(condition=name, column=column)] for column in columns]
                self.values[name] = ibis.or_(*(one.fill_null(False) for one in shown))

    def _further(self, part: Further) -> None:
        """Add an input the study does not have, or its codes."""
        if part.kind == "numeric":
            self.values[part.name] = self._number(part.name, part.column)
        elif part.kind == "binary":
            self.values[part.name] = matches(self.visits[part.column], part.yes)
        else:
            self.values[CODING + part.name] = self.visits[POSITION + part.column]
