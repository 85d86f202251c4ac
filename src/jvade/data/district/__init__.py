"""The simulated district: patients first, their visits in time, Table 7 of the study as the outcome.

Lowest first; imports run down only.

- `choices`: every number that the study does not publish.
- `visiting`, `calibration`: the equations from Table 7 to what is drawn from.
- `evenly`, `codes`, `places`: draws that meet their shares; diagnoses; areas and institutions.
- `draw`: patients and visits, block by block.
- `inputs`: the 38 inputs of a block, for checks.
- `tables`: the raw tables as files; the only one that needs pyarrow.
"""
