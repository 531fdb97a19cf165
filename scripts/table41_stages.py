from stages import Interrupted, Stages  # noqa: F401
