"""Sampling: schedules, which expert runs which step, and the guider that owns both experts."""
