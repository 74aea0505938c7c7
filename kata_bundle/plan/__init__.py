"""Planning: which components a selection needs and why. Pure functions over frozen values; no files, no network, no clock."""
