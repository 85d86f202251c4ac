"""The study: its settings and presets, and the pipeline from visits to tables and figures."""
