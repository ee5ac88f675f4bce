"""The neuron core's output register: the spikes of a step until the router has taken them."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream
from amaranth.lib.wiring import Component, In, Out

from hdl.units.fire.layouts import place_layout, step_layout
from isa.configurations import Configuration


class StepOutput(Component):
    """Collects a step and offers it: a step without spikes only where its tile ends with it.

    spikes      `fired` and `negative` are those of a fire in this cycle, or mean nothing in the
                first cycle of a step. A step of several cycles leaves them here until it is
                complete; `fired` serves as its memory of who fired
    complete    the step is offered in the next cycle;   tile_end   no spikes of its tile follow

    Meant to stand behind the neurons' clock enable, steps.ready: an offer lasts until it is taken.
    """

    LATENCY = 1  # cycles from `complete` to the offer

    def __init__(self, c: Configuration) -> None:
        self.c = c
        super().__init__(
            {
                "spikes": In(1),
                "fired": In(c.neuron_lanes),
                "negative": In(c.neuron_lanes),
                "amplitude": In(3),
                "place": In(place_layout(c)),
                "complete": In(1),
                "tile_end": In(1),
                "steps": Out(stream.Signature(step_layout(c))),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        payload = self.steps.payload
        offered = Signal()
        # Whether there are spikes is seen behind the registers: they come late in their cycle.
        m.d.comb += self.steps.valid.eq(offered & (payload.fired.any() | payload.place.end))
        m.d.sync += offered.eq(self.complete)
        with m.If(self.spikes):
            m.d.sync += [
                payload.fired.eq(self.fired),
                payload.negative.eq(self.negative),
                payload.amplitude.eq(self.amplitude),
                payload.place.eq(self.place),
            ]
        m.d.sync += payload.place.end.eq(self.tile_end)
        return m
