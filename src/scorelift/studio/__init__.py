"""A live viewer in the browser: a run seen from wherever its visitors move to."""
