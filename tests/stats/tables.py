"""What tests of statistics do to tables."""


def pick(frame, **where):
    """Return the first row with these values, by column."""
    return frame.filter(**where).row(0, named=True)
