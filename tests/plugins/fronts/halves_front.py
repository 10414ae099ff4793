"""A front of somebody else's: the mean of neighbouring values of a signal."""


from edgecl.errors import BadInput
from edgecl.fronts import Front
from edgecl.options import option
from edgecl.parsing import count


class Halves(Front):
    """Means of ``each`` neighbouring values."""

    name = "halves"
    contract = 1
    each: int = option(2, count(1), "values in a mean")

    def prepare(self, shape, dtype):
        if len(shape) != 3 or shape[1] != 1 or dtype != "float32" or shape[2] % self.each:
            raise BadInput(f"'halves' takes no {dtype} of shape {shape}.", "Give signals of whole groups.")
        self.shape = (shape[0], 1, shape[2] // self.each)
        self.flops = shape[0] * shape[2]

    def __call__(self, x):
        return x.reshape(len(x), *self.shape, self.each).mean(axis=4)
