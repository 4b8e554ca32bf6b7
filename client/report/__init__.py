"""The report of a study: one HTML file beside its clips, which opens anywhere."""
