"""What the earlier visits of a patient say about a visit (x6 to x8 of Table 2).

Visits of one day are in the order of their time of day, where the date has one, then of their visit number,
then of the file. "Earlier" never includes the visit itself.
"""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false

from collections.abc import Sequence

import ibis
import ibis.expr.types as ir

from jvade.data.engines import ROW, named
from jvade.data.parse import MOMENT
from jvade.data.tidy import day
from jvade.data.variables import FIRST_VISIT, OUTCOME

ORDER = (MOMENT, "visit number", "visit text", ROW)


def tell(
    visits: ir.Table,
    apart: ir.BooleanValue | None,
    chronic: Sequence[str],
    counts_this_visit: bool,
    one_year: bool,
) -> ir.Table:
    """Add its history to each visit.

    Args:
        visits: typed visits, also those dropped later: a visit without a cost is still one that a later one
            can look back on.
        apart: true for those that have no place in a history, for want of a patient, a date or an outcome.
        chronic: names of the conditions that a diagnosis shows: they hold from then on.
        counts_this_visit: whether `crossed_before` includes the visit itself, which lets the outcome into
            an input.
        one_year: whether all visits lie in one calendar year.

    Returns:
        The visits with `patient` (now the number of the row of the patient's first visit, which says
        nothing about who it is), `visits_this_year` (earlier visits in the calendar year of this one),
        `days_since_last_visit` (missing for a first visit), `crossed_before` and `first_visit` (in the
        data), without the columns that gave the order.
    """
    order = [name for name in ORDER if name in visits.columns]
    date = day(visits[MOMENT])
    # Each row that is apart is a patient of its own: together they could be too many for one window.
    alone = [] if apart is None else [ibis.ifelse(apart, visits[ROW], ibis.null(visits[ROW].type()))]
    one = [visits["patient"], *alone]
    patient = ibis.window(group_by=one, order_by=order)
    year = ibis.window(group_by=[*one, visits[MOMENT].year()], order_by=order)
    so_far = ibis.window(group_by=one, order_by=order, preceding=None, following=0)
    earlier = ibis.window(group_by=one, order_by=order, preceding=(None, 1))
    crossed = visits[OUTCOME].any().over(so_far if counts_this_visit else earlier)
    told = {
        "patient": visits[ROW].first().over(patient),
        "visits_this_year": ibis.row_number().over(patient if one_year else year).cast("int32"),
        "days_since_last_visit": date.delta(date.lag().over(patient), unit="day").try_cast("int32"),
        "crossed_before": crossed.fill_null(False),
        FIRST_VISIT.name: ibis.row_number().over(patient) == 0,
        **{name: visits[name].any().over(so_far) for name in chronic},
    }
    rest = {name: visits[name] for name in visits.columns if name not in ("visit number", "visit text")}
    return visits.select(named(rest | told))
