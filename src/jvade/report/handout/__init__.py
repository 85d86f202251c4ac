"""The report that is handed on: one file of HTML that needs nothing beside it, and its tables."""
