"""Tables: from a person's file of visits, or a simulated one, to one row of inputs per visit.

Lowest first; imports run down only.

- `errors`: what a person did wrong, said in one go.
- `variables`: the inputs of the study and the table every other wing receives.
- `icd10`: the diagnosis groups.
- `mapping`: which column of a file plays which part.
- `checks`: the rules a file must obey.
- `parse`: columns of any file to typed values of ours.
- `features`: visits to inputs, history included.
- `matrix`: inputs to a scaled float32 matrix, and back.
- `published`, `cohort`: the tables of the study, and a district simulated from them.

No JAX in here. Only `features` (and `parse` and `checks` below it) needs Ibis and DuckDB.
"""
