"""What the study does not publish and a district must have: every such number is ours, and stands here.

Table 7 gives means within types. Spreads, the way traits go together, what kinds of visit one patient makes,
the shape of the year, places, institutions and single codes are chosen to be plausible. Types overlap:
`AGE_SD`, `COST_LOG_SD` and `REGULARITY` were set by trial so that a classifier that is shown the types agrees
with them, on patients it has not seen, to an adjusted Rand index between 0.50 and 0.65 (it is 0.53, see
`benchmarks/ceiling.py`), which no clustering can be expected to pass. No clustering was looked at. Types are
numbered from 1 to 7 as in Table 7, and by position here.
"""

import numpy as np

#: Visits in the study and patients behind them (section 2.1); 1.8 % of the visits have no cost.
STUDY_VISITS, STUDY_PATIENTS, MISSING_COST = 3_650_000, 570_000, 0.018
#: Share of a patient's visits that are of the patient's home type. The others are of any type with the same
#: figure here, in proportion to its share: the young do not turn up among the visits of the old.
STAY = 0.85
GENERATION = np.array([1, 0, 0, 1, 1, 1, 1])
#: How regularly patients of a home type come, beside each other: shape of the negative binomial number of
#: their visits. Where it is above 1, visits are spaced over the year; the others fall at random. The old with
#: severe or chronic conditions (types 1 and 5) come for their next treatment.
REGULARITY = (6.0, 1.0, 1.0, 1.0, 6.0, 1.0, 1.0)

#: Age on 1 January: a Beta distribution stretched to 105 years, with this standard deviation (years) by home
#: type. That of type 3 is wide: it holds the children too.
AGE_LIMIT, AGE_SD = 105.0, (10.0, 10.0, 17.0, 11.0, 9.0, 10.0, 10.0)
#: Correlations behind the traits (a Gaussian copula): age with each condition, and the two conditions.
AGE_HYPERTENSION, AGE_DIABETES, HYPERTENSION_DIABETES = 0.5, 0.35, 0.4
#: Cost is log-normal, as costs are: standard deviation of its natural logarithm by type of visit.
COST_LOG_SD = (1.0, 0.8, 0.7, 0.8, 0.6, 0.6, 0.6)
#: How busy the days from Monday to Sunday are, beside each other.
WEEKDAYS = (1.2, 1.1, 1.1, 1.05, 1.05, 0.8, 0.7)

#: The home district's sub-districts: zone, and share of the zone's patients.
SUBDISTRICTS = {
    "A01": ("inner", 0.32),
    "A02": ("inner", 0.27),
    "A03": ("inner", 0.23),
    "A04": ("inner", 0.18),
    "A05": ("middle", 0.26),
    "A06": ("middle", 0.23),
    "A07": ("middle", 0.20),
    "A08": ("middle", 0.17),
    "A09": ("middle", 0.14),
    "A10": ("outer", 0.60),
    "A11": ("outer", 0.40),
}
ZONES = ("inner", "middle", "outer")
#: The other districts by what they are as a destination (Table 7); each is one area.
DESTINATIONS = {
    "city_centre": ("C1", "C2", "C3", "C4", "C5", "C6", "C7"),
    "adjacent_suburb": ("N1", "N2", "N3"),
    "non_adjacent_suburb": ("S1", "S2", "S3", "S4", "S5"),
}
#: Kinds of institution: level, and whether it is a specialty hospital.
KINDS = (
    ("municipal", 0),
    ("municipal", 1),
    ("tertiary", 0),
    ("tertiary", 1),
    ("secondary", 0),
    ("secondary", 1),
    ("community", 0),
)
#: Institutions of each kind (columns) in the home district and at each destination (rows). Municipal
#: hospitals stand in the city centre. The numbers decide who meets whom: Table 7 gives only the shares of
#: levels and of destinations, and visits spread over the institutions as far as those shares allow.
INSTITUTIONS = np.array(
    [
        [1, 0, 2, 1, 5, 2, 22],
        [14, 8, 7, 4, 6, 4, 4],
        [2, 1, 3, 1, 6, 2, 4],
        [4, 1, 5, 2, 10, 3, 6],
    ]
)
#: Shares of visits to a community centre at home that go to the patient's own sub-district, and of all visits
#: that go to the patient's usual institution of its kind and place.
OWN_SUBDISTRICT, USUAL = 0.85, 0.7

#: Percent of visits by type with a diagnosis of a chapter that Table 7 leaves out.
UNPUBLISHED = {
    "perinatal": (0.0, 0.0, 0.05, 0.0, 0.0, 0.0, 0.0),
    "congenital": (0.2, 0.3, 0.4, 0.2, 0.1, 0.1, 0.1),
}
#: Who has which diagnosis, beside the other patients of the type: odds by who the patient is. Odds of nothing
#: exclude; the shares of Table 7 hold whatever the odds.
INFANT, CHILD, FERTILE, OTHER = range(4)  # stages of life; women of the ages below, everybody else
INFANT_BELOW, CHILD_BELOW, FERTILE_AGES = 2, 15, (15, 50)
STAGE_ODDS = {
    "pregnancy": (0.0, 0.0, 1.0, 0.0),
    "perinatal": (1.0, 0.0, 0.0, 0.0),
    "congenital": (8.0, 3.0, 1.0, 1.0),
    "respiratory": (3.0, 2.5, 1.0, 1.0),
    "malignant_neoplasm": (0.05, 0.05, 1.0, 1.0),
    "circulatory": (0.05, 0.1, 0.6, 1.0),
    "musculoskeletal": (0.05, 0.3, 1.0, 1.0),
    "endocrine": (0.2, 0.4, 1.0, 1.0),
}
CONDITION_ODDS = {"circulatory": (3.0, 1.0), "endocrine": (1.0, 3.0)}  # with hypertension, with diabetes
#: Codes by chapter, with their weights. Essential hypertension and diabetes are likelier on their register.
CODES = {
    "malignant_neoplasm": {
        "C34.900": 5,
        "C50.900": 4,
        "C18.900": 3,
        "C16.900x001": 3,
        "C73.x00": 3,
        "C20.x00": 2,
        "C22.900": 2,
    },
    "other_neoplasm": {"D17.900": 3, "D12.600": 3, "D18.000": 3, "D22.900": 2, "D34.x00": 2, "D48.900": 1},
    "endocrine": {
        "E11.900": 6,
        "E11.900x001": 2,
        "E78.500": 6,
        "E04.101": 2,
        "E05.900": 1,
        "E03.900": 1,
        "E79.000x001": 1,
    },
    "mental": {"F41.900": 3, "F32.900": 3, "F51.000": 2, "F20.900": 1, "F45.900": 1},
    "eye": {"H10.900": 3, "H04.100x001": 3, "H52.100": 2, "H26.900": 2, "H40.900": 1},
    "circulatory": {
        "I10.x00": 12,
        "I10.x00x002": 4,
        "I25.100": 4,
        "I25.103": 4,
        "I49.900": 2,
        "I48.x00": 1,
        "I63.900": 2,
        "I69.300": 2,
        "I83.900": 1,
    },
    "respiratory": {
        "J06.900": 10,
        "J20.900": 4,
        "J40.x00": 3,
        "J30.400": 2,
        "J02.900": 3,
        "J18.900": 2,
        "J45.900": 2,
        "J31.200": 1,
    },
    "digestive": {
        "K29.500": 4,
        "K29.700": 3,
        "K04.900": 3,
        "K05.300": 3,
        "K30.x00": 2,
        "K21.900": 2,
        "K76.000": 1,
        "K59.000": 1,
    },
    "skin": {"L30.900": 5, "L50.900": 3, "L23.900": 2, "L70.000": 1, "L20.900": 1},
    "musculoskeletal": {"M54.500": 4, "M47.800": 3, "M17.900": 3, "M75.000": 2, "M79.100": 2, "M10.900": 1},
    "pregnancy": {"O26.900": 5, "O20.000": 2, "O21.000": 1, "O24.900": 1, "O99.000": 1},
    "perinatal": {"P59.900": 3, "P92.900": 1, "P39.900": 1},
    "congenital": {"Q21.100": 2, "Q18.100": 1, "Q38.100": 1, "Q66.800": 1},
    "symptoms": {"R05.x00": 4, "R42.x00": 3, "R10.400": 3, "R51.x00": 3, "R50.900": 3, "R07.400": 1},
    "health_factors": {"Z00.000": 4, "Z01.800": 2, "Z48.800": 3, "Z51.100": 1, "Z76.000x001": 4},
    "no flag": {
        "A09.900": 3,
        "B35.300": 2,
        "B02.900": 1,
        "D50.900": 1,
        "G47.000": 4,
        "G62.900": 1,
        "H65.900": 1,
        "H81.100": 2,
        "H93.100": 1,
        "N18.900": 2,
        "N20.000": 2,
        "N39.000": 3,
        "S61.900": 2,
        "S93.400": 2,
        "T14.900": 1,
    },
}
CODE_ODDS = {"I10": (6.0, 1.0), "E11": (1.0, 8.0)}  # with hypertension, with diabetes
