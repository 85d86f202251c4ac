"""The tables of the study, as published."""

import pytest

from jvade.data import published


def test_published_tables():
    assert published.load("table3_latent_dimension")["latent_dim"].tolist() == [2, 5, 10, 15, 20, 25, 30]
    table4 = published.load("table4_latent_correlation").set_index("latent")
    assert table4.loc["z2", "visits_this_year"] == 0.8097
    assert table4.isna().to_numpy().sum() == 5
    assert published.load("table5_comparison")["n_clusters"].tolist() == [10, 9, 7]
    assert len(published.load("table6_stability")) == 8
    table7 = published.load("table7_profiles").set_index("variable")
    # The share-weighted means of the types give the published overall column.
    weights = published.type_means().loc["share_of_visits"] / 100
    for name in ("age", "cost", "community"):
        assert (published.type_means().loc[name] * weights).sum() == pytest.approx(
            table7.loc[name, "overall"], rel=0.01
        )
    with pytest.raises(ValueError, match="no published table 'table8'; expected one of table3"):
        published.load("table8")
