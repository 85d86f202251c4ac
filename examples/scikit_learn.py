"""VaDE as any clustering of scikit-learn: fit, predict, score, keep.

.venv/bin/python examples/scikit_learn.py
"""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import adjusted_rand_score
from sklearn.model_selection import train_test_split

import jvade

# A table of numbers, a 0/1 column and a category; its rows are of three kinds.
rng = np.random.default_rng(0)
kind = rng.choice(3, 2000, p=[0.5, 0.3, 0.2])
visits = pd.DataFrame(
    {
        "age": rng.normal(np.array([30, 55, 70])[kind], 8),
        "cost": rng.lognormal(np.array([4.5, 5.5, 6.5])[kind], 0.4),
        "chronic": (rng.random(2000) < np.array([0.05, 0.4, 0.8])[kind]).astype(int),
        "level": np.array(["community", "secondary", "tertiary"])[(kind + (rng.random(2000) < 0.2)) % 3],
    }
)
train, test, _, kind_of_test = train_test_split(visits, kind, random_state=0)

model = jvade.VaDE(n_clusters=3, n_init=3, random_state=0).fit(train)
print(f"agreement with the kinds: {adjusted_rand_score(kind_of_test, model.predict(test)):.2f}")
print(f"bound of new rows: {model.score(test):.2f} nats a row")
print(test.groupby(model.predict(test))[["age", "cost", "chronic"]].mean().round(2))
print(*model.health_.warnings, sep="\n")

with tempfile.TemporaryDirectory() as folder:
    path = jvade.save(model, Path(folder) / "visits.jvade")
    again = jvade.load(path)
assert (again.predict(test) == model.predict(test)).all()
