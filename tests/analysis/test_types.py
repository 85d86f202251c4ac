"""Types of care-seeking: the study's clusters get their own names; a file with mistakes says which."""

import math

import pytest

from jvade.analysis.types import Figure, TypesError, match, read, undecided
from jvade.data import published

GOOD = """
[[types]]
name = { en = "Old", zh = "老年" }
needs = [{ variable = "age", at_least = 60 }]
advice = [{ en = "Look.", zh = "看。", figures = ["age"] }]
"""


@pytest.mark.parametrize("number", range(1, 8))
def test_each_cluster_of_the_study_is_of_its_own_type_and_no_other(number):
    types, table = read(published.types()), published.load("table7_profiles").set_index("variable")
    table = table.rename(index={"share_of_visits": "share"})
    own = zip(table.index, table[f"cluster{number}"], table["overall"], strict=True)
    profile = {variable: Figure(value, overall) for variable, value, overall in own}
    fitting = [i for i, one in enumerate(types, 1) if all(need.met(profile) for need in one.needs)]
    assert fitting == [number]
    assert match(types, profile) == types[number - 1]  # with all of its advice
    assert not undecided(types, profile)


def test_what_is_not_known_meets_no_need():
    (old,) = read(GOOD)
    assert match([old], {"age": Figure(60.0, 50.0)}) == old
    assert match([old], {"age": Figure(59.9, 50.0)}) is None
    assert match([old], {"age": Figure(math.nan, 50.0)}) is None
    assert match([old], {}) is None
    (times,) = read(GOOD.replace("at_least = 60", "times_at_most = 2"))
    assert match([times], {"age": Figure(1.0, math.nan)}) is None
    assert match([times], {"age": Figure(1.0, 0.0)}) is None


def test_of_several_types_that_which_needs_most():
    more = GOOD.replace("needs = [", 'needs = [{ variable = "cost", at_most = 9 }, ')
    types = read(GOOD + more)
    profile = {"age": Figure(70, 50), "cost": Figure(1, 5)}
    assert match(types, profile) == types[1]
    assert match([types[0], types[0]], profile) == types[0]


def test_what_is_left_out_may_keep_a_type_from_being_told():
    (old,) = read(GOOD)
    assert undecided([old], {"age": Figure(math.nan, 50.0)})
    assert not undecided([old], {"age": Figure(70.0, 50.0)})
    assert not undecided([old], {"age": Figure(30.0, 50.0)})
    assert not undecided([old], {})  # not in these data at all
    (both,) = read(GOOD.replace("needs = [", 'needs = [{ variable = "cost", at_most = 9 }, '))
    assert not undecided([both], {"age": Figure(math.nan, 50.0), "cost": Figure(10.0, 5.0)})
    assert undecided([both], {"age": Figure(math.nan, 50.0), "cost": Figure(9.0, 5.0)})


def test_a_limit_is_open_only_where_the_number_it_asks_for_is_left_out():
    (old,) = read(GOOD)  # 60 years at least
    assert not undecided([old], {"age": Figure(30.0, math.nan)})
    assert match([old], {"age": Figure(70.0, math.nan)}) == old
    (times,) = read(GOOD.replace("at_least = 60", "times_at_least = 1.2"))
    assert undecided([times], {"age": Figure(30.0, math.nan)})
    assert undecided([times], {"age": Figure(math.nan, 50.0)})
    assert not undecided([times], {"age": Figure(30.0, 0.0)})
    (two,) = read(GOOD.replace("at_least = 60", "at_least = 60, times_at_least = 1.2"))
    assert not undecided([two], {"age": Figure(30.0, math.nan)})  # it fails by the one that is told
    assert undecided([two], {"age": Figure(70.0, math.nan)})


def test_an_advice_is_given_where_its_own_needs_are_met():
    own = 'figures = ["age"], needs = [{ variable = "cost", at_least = 5 }]'
    (old,) = read(GOOD.replace('figures = ["age"]', own))
    for cost, n in ((5.0, 1), (4.0, 0), (math.nan, 0)):
        found = match([old], {"age": Figure(70.0, 50.0), "cost": Figure(cost, 5.0)})
        assert len(found.advice) == n


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("at_least = 60", "at_lest = 60", "unknown name 'at_lest'"),
        (", at_least = 60", "", "at least one of at_least"),
        ("at_least = 60", 'at_least = "60"', "expected a number, got '60'"),
        ("at_least = 60", "at_least = nan", "expected a number"),
        ('variable = "age", ', "", "expected the name of a variable"),
        (', zh = "老年"', "", "name: expected a text under zh"),
        (', figures = ["age"]', "", "figures: expected names of variables"),
        ('needs = [{ variable = "age", at_least = 60 }]', "needs = []", "expected at least one need"),
        ('figures = ["age"]', 'figures = ["age"], needs = [{}]', "an advice: a need: expected the name"),
        ("[[types]]", "[[type]]", "unknown name 'type'"),
        ("[[types]]", "[[types]", "this is no TOML"),
        ("needs = [", "needs = 3 # [", "expected a list of tables, got int"),
    ],
)
def test_a_mistake_in_the_file_is_named(old, new, said):
    assert old in GOOD
    with pytest.raises(TypesError) as caught:
        read(GOOD.replace(old, new))
    assert any(said in problem for problem in caught.value.problems), caught.value.problems


def test_all_mistakes_are_told_at_once():
    with pytest.raises(TypesError) as caught:
        read(GOOD.replace("at_least", "least").replace("figures", "figure"))
    assert len(caught.value.problems) >= 4
