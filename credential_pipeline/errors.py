"""The two kinds of failure: Terminal needs a person, Transient may be tried again.

Every message says what happened, where, and what to do. Nothing else belongs here: a stage's own errors
subclass one of the two where they are raised.
"""


class PipelineError(Exception):
    """Base of all errors this project raises on purpose; its text is shown to the user without a traceback."""


class Terminal(PipelineError):
    """Trying again changes nothing: a configuration, an input or a permission has to be put right first."""


class Transient(PipelineError):
    """An outage of something else (a server restarting, a full queue): the only kind that is retried."""
