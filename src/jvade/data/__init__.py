"""Tables: from a person's file of visits, or a simulated one, to one row of inputs per visit.

Lowest first; imports run down only.

- `errors`: what a person did wrong, said in one go.
- `variables`: the inputs of the study and the table every other wing receives.
- `icd10`: the diagnosis groups.
- `mapping`: which column of a file plays which part.
- `files`: which files hold tables.
- `engines`, `source`: where tables are computed, and files as tables.
- `checks`: the rules a file must obey, tried in one pass.
- `dates`, `tidy`, `lookups`, `parse`: columns of any file, and of its side tables, to typed values of ours.
- `onehot`, `history`, `features`: visits to inputs, history included.
- `draft`: a first mapping of a file, from its columns.
- `matrix`: inputs to a scaled float32 matrix, and back; what a model keeps of them.
- `published`, `district`: the tables of the study, and a district simulated from them.

No JAX in here. Only `features`, `draft` and what lies below them need Ibis and DuckDB.
"""
