"""Tables about a clustering: indices, comparison, profiles. NumPy, pandas and scikit-learn only."""
