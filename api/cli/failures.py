"""How a command says that it could not be done."""


class CommandFailed(Exception):
    """The command was not carried out; the message is a sentence for the person at the terminal."""
