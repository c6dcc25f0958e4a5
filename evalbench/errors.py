"""The errors a user of evalbench can meet. Each message says what is wrong and what to do next."""


class EvalbenchError(Exception):
    """Base of every error that evalbench raises on purpose."""


class SettingsError(EvalbenchError):
    """``evalbench.toml`` or an argument that stands for it cannot be used."""


class ReadError(EvalbenchError):
    """A whole input cannot be read: missing, empty, or of no known format.

    A single bad row is not an error: it becomes a counted reject.
    """


class StoreError(EvalbenchError):
    """The lake or the ledger cannot be opened, read or written."""


class LedgerError(StoreError):
    """An event is refused: its kind is unknown, its body does not fit, or somebody was first."""


class LabelError(EvalbenchError):
    """A queue, an item or a label cannot be used, or must not be shown yet."""


class EvaluatorError(EvalbenchError):
    """An evaluator's specification or file is refused, or there is too little to train it on."""


class ReleaseError(EvalbenchError):
    """A golden case, a run, a gate or a comparison is refused: what it rests on does not hold."""


class ModelError(EvalbenchError):
    """A model cannot be called: no key, no such model, or a budget that cannot be kept."""


class NotebookError(EvalbenchError):
    """A notebook was given an unknown or missing parameter, or one of its cells failed."""


class IssueError(EvalbenchError):
    """An issue cannot be opened, or not be moved into that state yet."""


class CellError(NotebookError):
    """A cell of a notebook failed as nobody meant it to: no refusal, but a fault."""
