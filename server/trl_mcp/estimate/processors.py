"""How long a training takes on processors alone: a rough guess, which small models need no more than."""

import math
from dataclasses import replace

from trl_mcp.estimate.duration import Job, download_gb, judging_s, padded_length
from trl_mcp.estimate.money import cost
from trl_mcp.estimate.options import Option
from trl_mcp.estimate.setup import METHODS
from trl_mcp.values import Flavor, ModelShape

#: Assumed, from tiny models on two cores: float32 operations a second and core, seconds to start the work of a layer,
#: to begin and end (container, packages, push), GB/s of the network; nine in ten runs within four times.
_FLOPS, _LAYER_S, _AROUND_S, _NETWORK_GBS = 20e9, 0.002, 180.0, 0.1
_LATE = 4.0
_QUARTER_HOUR_S = 900
NOTE = "hours without a GPU are a rough guess (20 GFLOP/s a core, nine in ten within four times that)"


def with_hours(found: Option, shape: ModelShape, job: Job, flavor: Flavor) -> Option:
    """Return an option on a machine without GPU with its hours, price and timeout."""
    training = _seconds(found, shape, job, flavor)
    around = _AROUND_S + download_gb(shape, job) / _NETWORK_GBS
    expected, late = training + around, _LATE * training + 2 * around
    price = flavor.micro_usd_per_minute
    return replace(
        found,
        hours_low=expected / 3600,
        hours_high=late / 3600,
        usd_expected=cost(price, expected),
        usd_p90=cost(price, late),
        timeout_s=math.ceil((late + _QUARTER_HOUR_S) / _QUARTER_HOUR_S) * _QUARTER_HOUR_S,
        micro_usd_per_minute=price,
    )


def _seconds(found: Option, shape: ModelShape, job: Job, flavor: Flavor) -> float:
    method, rate = METHODS[job.method], _FLOPS * max(1, flavor.vcpu)
    passed = max(1, found.device_batch * method.sequences)
    active = shape.active_parameters or shape.parameters
    tokens = job.sequences * padded_length(job.tokens_per_row, job.longest, passed)
    forward_and_back = (6 if found.tuning == "full" else 4) * (1 + method.values) + 2 * method.passes
    starts = math.ceil(job.sequences / passed) * shape.layers * _LAYER_S * (3 + method.passes)
    one = tokens * forward_and_back * active / rate + starts
    if method.generates:
        one += job.completion * (2 * active * job.sequences / rate + shape.layers * _LAYER_S)
    return (one + judging_s(job)) * job.steps
