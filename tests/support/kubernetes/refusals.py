"""What a refusal says to people, without what the server puts around it.

Belongs here: taking the words out. Does not belong here: asking. A newcomer would get wrong: the server names the type of what it refuses
(``"object"``) by a rule, in words that differ between its versions, and says in the end that other rules were not looked at.
"""

import re

from tests.support.kubernetes.api import Refused

_AROUND = re.compile(r'^Invalid value: ("(object|string|array|map|null)": )?')
_STRICT = "strict decoding error: "
_NOT_LOOKED_AT = "some validation rules were not checked"


def words(refused: Refused) -> str:
    """``field: message`` of each fault, or what is unknown."""
    if _STRICT in refused.message:
        return refused.message.partition(_STRICT)[2]
    faults = []
    for cause in refused.causes:
        field, message = cause.get("field", ""), cause["message"]
        if _NOT_LOOKED_AT not in message:
            # a rule of the whole object has no field
            place = "" if field == "<nil>" else f"{field}: "
            faults.append(place + _AROUND.sub("", message))
    return "; ".join(faults)
