"""Files of other programs, read as events: pure, record by record, and nothing is sent from here.

A newcomer would get wrong: an id follows from the program and its own id of the thing, so a second import of the same file finds everything
there already; and a record that cannot be read is an outcome with its line, not an exception, for its neighbours are good.
"""

from kalends.foreign.formats import FORMATS, Format, read

__all__ = ["FORMATS", "Format", "read"]
