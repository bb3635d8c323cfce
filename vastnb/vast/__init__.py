"""Vast.ai as we know it: its query language, its records and units, its endpoints."""
