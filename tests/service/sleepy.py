"""A method whose third step never ends, as a driver or a card may make one hang."""

import time

from edgecl.methods.er import ER
from edgecl.methods.registry import METHODS


@METHODS.register
class Sleepy(ER):
    """ER until it hangs."""

    name = "sleepy"
    contract = 1
    _done = 0

    def replay_term(self, *given, **named):
        Sleepy._done += 1
        if Sleepy._done > 2:
            time.sleep(1000)
        return super().replay_term(*given, **named)
