"""File formats of other programs: export and import."""
