"""The areas of some configurations, as `spikelet build` measured them after synthesis.

They are devices with the serial link and without a model, each of which was also routed. A message
about a configuration that does not fit names those that would. Nothing else uses the numbers, since
the area of what is being built is always measured.
"""

from hdl.boards.board import Family
from host.flow.area import Area, Part

RECORDED: dict[tuple[Family, str], Area] = {
    (Family.ecp5, "ulx3s_25f"): Area(18_689, 12_794, 49),
    (Family.ecp5, "sdram_25f"): Area(19_906, 13_554, 49),
}


def fitting(family: Family, part: Part) -> list[str]:
    """Recorded configurations that fit a part, the largest first, as words for a message."""
    areas = [(name, a) for (f, name), a in RECORDED.items() if f is family and not a.lacking(part)]
    areas.sort(key=lambda pair: -pair[1].logic)
    return [f"--config {name} ({a.logic:,} logic cells, {a.blocks} block RAMs)"
            for name, a in areas]
