"""torch's optimizers without torch.compile: their methods import all of it (torch._dynamo) to keep it away from them.

That costs each launch a second or two and 150 MiB, for nothing here. The methods below are torch's own, unwrapped.
"""

import inspect

import torch
from torch.optim import Optimizer


class Eager(Optimizer):
    """A base for optimizers beside a class of torch's: class SGD(Eager, torch.optim.SGD)."""

    add_param_group = inspect.unwrap(Optimizer.add_param_group)
    zero_grad = inspect.unwrap(Optimizer.zero_grad)
    state_dict = inspect.unwrap(Optimizer.state_dict)
    load_state_dict = inspect.unwrap(Optimizer.load_state_dict)


class SGD(Eager, torch.optim.SGD):
    """torch.optim.SGD."""

    step = torch.no_grad()(inspect.unwrap(torch.optim.SGD.step))


class Adam(Eager, torch.optim.Adam):
    """torch.optim.Adam."""

    step = torch.no_grad()(inspect.unwrap(torch.optim.Adam.step))
