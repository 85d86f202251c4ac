"""What the study found, held against a run: each claim, our numbers, what may explain a difference."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from jvade.paper.stage import Study
from jvade.paper.stages.comparison import VADE, rates_of

#: Said of every claim: the cohort is another one.
OTHER_DATA = "the visits are other visits"


class Claim(NamedTuple):
    """One finding of the study.

    Args:
        part: where the study says it.
        published: what it says.
        ours: what we found, in numbers.
        agrees: whether ours has the same shape; None where it cannot be told.
        why: what may explain a difference.
    """

    part: str
    published: str
    ours: str
    agrees: bool | None
    why: str = ""


def hold(study: Study, current: list[str]) -> list[Claim]:
    """Return the claims that the finished stages can be held against."""
    found = []
    for stage, one in (
        ("sensitivity", _dimensions),
        ("number-of-clusters", _number),
        ("latents", _latents),
        ("comparison", _comparison),
        ("stability", _stability),
        ("profiles", _residence),
    ):
        if stage in current:
            found += one(study)
    return found


def _dimensions(study: Study) -> list[Claim]:
    table = study.outcome("sensitivity").tables["table3_sensitivity"]
    claims = []
    for chosen_by, one in table.groupby("chosen_by", sort=True):
        one = one.sort_values("latent_dim")
        dims = one["latent_dim"].to_numpy()
        best = {
            "silhouette": _highest(dims, one["silhouette"].to_numpy(float)),
            "Davies-Bouldin": _highest(dims, -one["davies_bouldin"].to_numpy(float)),
            "Calinski-Harabasz": _highest(dims, one["calinski_harabasz"].to_numpy(float)),
        }
        falls = float(one.loc[:, "latent_dim"].corr(one["silhouette"], method="spearman"))
        known = None not in best.values() and not np.isnan(falls)
        claims.append(
            Claim(
                "Table 3",
                "all three indices are best at 2 latents, and fall with more (K by"
                f" {str(chosen_by).replace('bic', 'BIC')})",
                "best at "
                + ", ".join(f"{'none' if d is None else d} by {name}" for name, d in best.items())
                + f"; rank correlation of latents and silhouette {falls:.2f}",
                set(best.values()) == {2} and falls < 0 if known else None,
                "the study does not say how it chose K for each number of latents; " + OTHER_DATA,
            )
        )
    return claims


def _highest(dims: np.ndarray, values: np.ndarray) -> int | None:
    """Return the number of latents with the highest value; None where none has one."""
    return None if np.isnan(values).all() else int(dims[np.nanargmax(values)])


def _holds(agrees: bool, *numbers: float) -> bool | None:
    """Return whether a claim agrees; None where a number it compares is blank."""
    return None if np.isnan(numbers).any() else bool(agrees)


def _number(study: Study) -> list[Claim]:
    values = study.outcome("number-of-clusters").values
    curve = study.outcome("number-of-clusters").tables["fig4_number_of_clusters"]
    sizes = curve["n_clusters"].to_numpy()
    low, high = int(sizes.min()), int(sizes.max())
    elbow = "none" if values["elbow"] is None else f"{values['elbow']:.0f}"
    return [
        Claim(
            "Fig 4",
            "BIC is lowest at 7 clusters",
            f"BIC is lowest at {values['lowest_bic']} of {low} to {high}, ICL at {values['lowest_icl']},"
            f" elbow {elbow}",
            values["lowest_bic"] == 7,
            "BIC of latents that are no Gaussians keeps falling with K, the more visits the longer; the"
            " ranges of K and the noise variance are not published",
        )
    ]


def _latents(study: Study) -> list[Claim]:
    table = study.outcome("latents").tables["table4_beside_published"].dropna(subset=["published"])
    known = table.dropna(subset=["ours"])
    same = int((np.sign(known["ours"]) == np.sign(known["published"])).sum())
    strong = int(known["shown"].to_numpy(bool).sum())
    return [
        Claim(
            "Table 4",
            f"{len(table)} correlations, of age, hypertension, visits, gap, community and circulatory"
            " diseases",
            f"{same} of {len(known)} have the same sign after matching, {strong} are as large as 0.3",
            same == len(known) == strong if len(known) else None,
            "latents are free to turn: any two directions of a plane carry the same clusters",
        )
    ]


def _comparison(study: Study) -> list[Claim]:
    found = study.outcome("comparison")
    table = found.tables["table5_comparison"].set_index("method")
    raw, latent, vade = table.loc["K-Means"], table.loc["VAE + K-Means"], table.loc[VADE]
    rates = rates_of(found.tables["table5_cross_rates"], VADE)
    ratios = rates.drop(index="overall").loc[:, "ratio"]
    top = ratios.dropna().nlargest(3)
    return [
        Claim(
            "Table 5",
            "K-Means on the inputs is worst by far",
            f"silhouette {raw['silhouette']:.3f} against {latent['silhouette']:.3f} and"
            f" {vade['silhouette']:.3f}; Davies-Bouldin {raw['davies_bouldin']:.2f} against"
            f" {latent['davies_bouldin']:.2f} and {vade['davies_bouldin']:.2f}; each in its own space",
            _holds(
                raw["silhouette"] < min(latent["silhouette"], vade["silhouette"])
                and raw["davies_bouldin"] > max(latent["davies_bouldin"], vade["davies_bouldin"]),
                *(one[name] for one in (raw, latent, vade) for name in ("silhouette", "davies_bouldin")),
            ),
            "38 dimensions against 2: the spaces differ more than the methods, see the common space",
        ),
        Claim(
            "Table 5",
            "Davies-Bouldin of VaDE is below that of VAE + K-Means (0.841 against 0.872)",
            f"{vade['davies_bouldin']:.3f} against {latent['davies_bouldin']:.3f}",
            _holds(
                vade["davies_bouldin"] < latent["davies_bouldin"],
                vade["davies_bouldin"],
                latent["davies_bouldin"],
            ),
            "clusters of a mixture overlap where K-Means draws borders: the index likes borders",
        ),
        Claim(
            "Tables 5 and 7",
            "the three highest clusters cross at least 2.5 times as often as all visits (4.7, 2.7 and 2.6"
            " times)",
            ", ".join(f"{ratio:.1f}" for ratio in top) + " times",
            # A blank one of fewer than three may be the third.
            None if len(top) < 3 and ratios.isna().any() else len(top) == 3 and bool((top >= 2.5).all()),
            OTHER_DATA + "; the noise variance of the decoder, which is not published, decides how fine the"
            " clusters are",
        ),
    ]


def _stability(study: Study) -> list[Claim]:
    found = study.outcome("stability")
    table = found.tables["table6_stability"].set_index("seed")
    spread = table.loc["cv", ["silhouette", "calinski_harabasz", "davies_bouldin"]].astype(float)
    known, ari = int(table.loc[["cv"], "n_runs"].iloc[0]), found.values["ari_mean"]
    return [
        Claim(
            "Table 6",
            "the CV over five seeds is below 0.3 for every index (0.013, 0.015 and 0.030)",
            ", ".join(f"{value:.3f}" for value in spread)
            + (
                ""
                if ari is None
                else (
                    f"; but runs agree only at a mean ARI of {ari:.2f}"
                    if ari < 0.8
                    else f"; mean ARI {ari:.2f}"
                )
            ),
            None if known < 2 else bool((spread < 0.3).all()),
            "seeds that end in different clusterings can have the same indices",
        )
    ]


def _residence(study: Study) -> list[Claim]:
    strength = study.outcome("profiles").values.get("cramers_v_residence")
    if strength is None:
        return []
    return [
        Claim(
            "section 4.1.2",
            "no type is concentrated in one sub-district",
            f"Cramér's V of cluster and sub-district {strength:.3f} (0: none, 1: complete)",
            strength < 0.1,
            (
                "the simulated district draws the sub-district by zone and type"
                if study.settings.visits is None
                else OTHER_DATA
            ),
        )
    ]


def as_table(claims: list[Claim]) -> pd.DataFrame:
    """Return claims as a table for the page."""
    signs = {True: "agrees", False: "differs", None: "open"}
    return pd.DataFrame(
        [
            {
                "study": one.part,
                "it says": one.published,
                "this run": one.ours,
                "": signs[one.agrees],
                "what may explain it": "" if one.agrees else one.why,
            }
            for one in claims
        ]
    )
