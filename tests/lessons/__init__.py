"""Lessons: reading them, judging goals, playing them."""
