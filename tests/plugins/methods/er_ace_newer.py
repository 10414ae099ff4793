"""A method made for another contract."""

from edgecl.methods import ER


class Newer(ER):
    """ER, said to be of a later contract."""

    name = "newer"
    contract = 7
