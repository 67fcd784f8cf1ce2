"""The one error that a user can cause and mend."""


class SwarError(Exception):
    """A fault of the input, the settings or the machine, in one line.

    The message names the thing and the remedy; the command line prints it
    without a traceback and exits with status 2.
    """
