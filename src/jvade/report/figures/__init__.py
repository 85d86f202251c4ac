"""Figures from tables, in one style; nothing is computed here."""
