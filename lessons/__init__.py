"""What is taught: lessons as data, the goals they set, and a player that works through them without a browser.

Knows the engine, not the site. ``catalog.load`` reads the lessons, ``goals.evaluate_all`` judges a lab, ``play`` runs them.
"""
