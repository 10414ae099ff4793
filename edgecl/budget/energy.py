"""EnergyAccount: joules of training so far, measured by a sensor or modelled by a profile, and which of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..config import Config
from ..errors import BadInput, EdgeclError

if TYPE_CHECKING:
    from ..devices.sensors import EnergyMeter

PROFILE = "profile"


def energy_source(config: Config, limit: float | None) -> str | None:
    """``profile``, a sensor's name, or None when nobody asked for joules. limit : joules, or None.

    A profile of another device stands for that device; without one, or with ``host``, this machine's sensor counts.
    """
    if config.energy_source is not None:
        return config.energy_source
    if config.device not in (None, "host"):
        return PROFILE
    if limit is None:
        return None if config.device is None else PROFILE
    return "auto"


def check_energy_source(config: Config, limit: float | None, step_joules: float | None) -> str | None:
    """`energy_source`, or `BadInput` when nothing could count what was asked for."""
    source = energy_source(config, limit)
    if source is None:
        return None
    missing = "no device profile was given"
    if config.device is not None:
        missing = f"the profile '{config.device}' has no power figures"
    if source != PROFILE:
        from ..devices.sensors import Absent, open_energy_sensor

        try:
            open_energy_sensor(source).read()
            return source
        except Absent as error:
            if config.energy_source is None and step_joules is not None:
                return PROFILE
            if config.energy_source is None:
                raise _uncounted(limit, f"{missing}. {error.cause}") from error
            raise
    elif step_joules is None and (limit is not None or config.energy_source == PROFILE):
        raise _uncounted(limit, missing + ".")
    return source


def _uncounted(limit: float | None, why: str) -> BadInput:
    asked = "Joules were asked for" if limit is None else f"A limit of {limit:g} J was set"
    return BadInput(
        f"{asked}, but no sensor counts them and {why}",
        "Add --device with a profile that has power figures (edgecl devices show), or --energy-source csv:FILE.",
    )


class EnergyAccount:
    """Joules of training. None where nobody counts. What is measured is counted between `begin` and `end` only.

    source : 'measured(...)', 'modelled(PROFILE)' or why there is no figure
    """

    def __init__(self, source: str | None, step_joules: float | None, label: str | None) -> None:
        self._step_joules = step_joules if source == PROFILE else None
        self._label = label
        self.meter: EnergyMeter | None = None
        self._earlier = 0.0  # measured in the spans before this one, also before a resume
        self._start: float | None = None  # the meter's joules when this span began
        self.other_steps = 0  # beside those of the trainer (trials)
        if source not in (None, PROFILE):
            from ..devices.sensors import EnergyMeter, open_energy_sensor

            self.meter = EnergyMeter(open_energy_sensor(str(source)))

    @property
    def counts(self) -> bool:
        return self.meter is not None or self._step_joules is not None

    @property
    def source(self) -> str:
        if self.meter is not None:
            return self.meter.source
        if self._step_joules is not None:
            return str(self._label)
        return "not modelled: no device profile" if self._label is None else f"{self._label}: no power figures"

    def joules(self, steps: int, force: bool = False) -> float | None:
        """After so many steps. ``force``: read the sensor now."""
        if self.meter is not None:
            return self._earlier + (0.0 if self._start is None else self.meter.poll(force) - self._start)
        return None if self._step_joules is None else self._step_joules * (steps + self.other_steps)

    def next_step(self, steps: int) -> float:
        """Joules that one more step is expected to take, and those drawn since the sensor was last read."""
        if self.meter is None:
            return self._step_joules or 0.0
        done = self.joules(steps)
        return (done / steps if done and steps else 0.0) + self.meter.unread

    def begin(self) -> None:
        """Training goes on from here."""
        if self._start is not None:  # an error ended the span before
            self.end()
        if self.meter is not None:
            self._start = self.meter.poll(force=True)

    def end(self) -> None:
        """Training rests; what is drawn from here on is not its."""
        if self.meter is not None:
            self._earlier, self._start = self.joules(0, force=True) or 0.0, None

    def state(self) -> dict[str, Any]:
        return {"joules": None if self.meter is None else self.joules(0, force=True)}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from `state`. What was measured before stays measured, whoever measures now."""
        if self.meter is not None:
            if state["joules"] is None:
                raise EdgeclError(
                    "The run that is resumed did not measure its energy.", "Resume with --energy-source profile."
                )
            self._earlier = float(state["joules"])
