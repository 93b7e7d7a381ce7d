"""Learning: the curriculum, lesson pages and what a visitor has reached in them."""
