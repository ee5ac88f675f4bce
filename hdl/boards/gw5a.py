"""Boards with an FPGA of Gowin's GW5A series, which Amaranth 0.5's platform does not know."""

from amaranth_boards.tang_mega_138k_pro_dock import TangMega138kProDockPlatform


class TangMega138kPro(TangMega138kProDockPlatform):
    """The pins of amaranth-boards, with the family's name in the open tools."""

    family = "GW5AST-138C"

    def parse_part(self) -> None:
        """Sets what Amaranth reads from a part's name: the part of it that it asks for where no
        on-chip oscillator is used."""
        self.series, size = self.family.split("-")
        self.size, self.subseries_f = size[:-1], size[-1]
