"""Write visits.csv: 2,000 made-up visits, to try `--visits` and `--mapping` on. No real person is in it.

python examples/make_visits.py
"""

from pathlib import Path

import numpy as np
import pandas as pd

N_PATIENTS, N_VISITS, SEED = 400, 2_000, 1
LEVELS = ("community", "secondary", "tertiary", "municipal")
#: ICD-10 codes as Chinese hospitals write them, by age of the patient.
YOUNG, OLD = (
    ("J06.900", "K29.500", "L20.900", "O80.000"),
    ("I10.x00", "E11.900", "C16.900x001", "M17.900", "J44.900"),
)


def visits() -> pd.DataFrame:
    """Return the table, in order of visit number."""
    rng = np.random.default_rng(SEED)
    age, sex = rng.integers(1, 95, N_PATIENTS), rng.choice(["F", "M"], N_PATIENTS)
    street = rng.integers(1, 12, N_PATIENTS)
    who = np.sort(rng.choice(N_PATIENTS, N_VISITS, p=rng.dirichlet(np.full(N_PATIENTS, 0.7))))
    old = age[who] > 50
    crosses = rng.random(N_VISITS) < np.where(old, 0.06, 0.2)
    level = np.where(
        crosses,
        rng.choice(LEVELS, N_VISITS, p=[0.05, 0.3, 0.35, 0.3]),
        rng.choice(LEVELS, N_VISITS, p=[0.7, 0.2, 0.08, 0.02]),
    )
    cost = rng.lognormal(np.where(crosses, 6.2, 5.0), 0.8).round(2)
    table = pd.DataFrame(
        {
            "patient": [f"P{i:04d}" for i in who],
            "date": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 366, N_VISITS), unit="D"),
            "age": age[who],
            "sex": sex[who],
            "street": [f"S{i:02d}" for i in street[who]],
            "home_district": "A",
            "hospital_district": np.where(crosses, rng.choice(["B", "C", "D"], N_VISITS), "A"),
            "hospital_level": level,
            "specialty_hospital": np.where(
                (level != "community") & (rng.random(N_VISITS) < 0.1), "yes", "no"
            ),
            "cost": np.where(rng.random(N_VISITS) < 0.018, np.nan, cost),
            "diagnosis": np.where(old, rng.choice(OLD, N_VISITS), rng.choice(YOUNG, N_VISITS)),
        }
    )
    return table.sample(frac=1, random_state=SEED).sort_values("date", kind="stable")


if __name__ == "__main__":
    visits().to_csv(Path(__file__).with_name("visits.csv"), index=False)
