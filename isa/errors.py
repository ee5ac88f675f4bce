"""The one exception that means "the user can mend this": its text is the whole message."""


class SpikeletError(Exception):
    """A mistake that a user can mend.

    The command line prints the text as a single line and exits with code 2. The text says what is
    wrong and what to do about it.
    """
