"""A small device with the ports that the harness expects: it answers words and traces each."""

from amaranth.hdl import Module, Mux
from amaranth.lib import fifo, memory, wiring
from amaranth.lib.wiring import In, Out


class FakeDevice(wiring.Component):
    """Answers each word of the link, through a FIFO of 4, with a row of a memory of 8 rows.

    The row is that at the word's lowest 3 bits, plus the word; afterwards those bytes of the row
    which the word's highest 4 bits name are replaced by the word's.
    A word that enters is traced by the post writer: address is its low half, data of lane i the
    word rotated right by i, low 24 bits. A word that leaves is traced by the vector writer with
    data = word + i; one whose bit 31 is set also by the key/value writer, with codes word + i and
    exponent the low byte.
    """

    def __init__(self, vector_lanes: int) -> None:
        self.vector_lanes = vector_lanes
        members = {
            "link_in_payload": In(32), "link_in_valid": In(1), "link_in_ready": Out(1),
            "link_out_payload": Out(32), "link_out_valid": Out(1), "link_out_ready": In(1),
            "trace_key_value_valid": Out(1),
            "trace_key_value_data": Out(8 * vector_lanes), "trace_key_value_exponent": Out(8),
        }  # fmt: skip
        for writer in ("post", "vector"):
            members |= {
                f"trace_{writer}_valid": Out(1),
                f"trace_{writer}_address": Out(16),
                f"trace_{writer}_data": Out(24 * vector_lanes),
            }
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        m.submodules.words = words = fifo.SyncFIFOBuffered(width=32, depth=4)
        word, left = self.link_in_payload, self.link_out_payload
        m.submodules.rows = rows = memory.Memory(shape=32, depth=8, init=[])
        write, read = rows.write_port(granularity=8), rows.read_port(domain="comb")
        m.d.comb += [
            read.addr.eq(word),
            write.addr.eq(word),
            write.data.eq(word),
            write.en.eq(Mux(self.trace_post_valid, word[28:], 0)),
            words.w_data.eq(read.data + word),
            words.w_en.eq(self.link_in_valid),
            self.link_in_ready.eq(words.w_rdy),
            left.eq(words.r_data),
            self.link_out_valid.eq(words.r_rdy),
            words.r_en.eq(self.link_out_ready),
            self.trace_post_valid.eq(self.link_in_valid & self.link_in_ready),
            self.trace_post_address.eq(word[:16]),
            self.trace_vector_valid.eq(self.link_out_valid & self.link_out_ready),
            self.trace_vector_address.eq(left[:16]),
            self.trace_key_value_valid.eq(self.trace_vector_valid & left[31]),
            self.trace_key_value_exponent.eq(left[:8]),
        ]
        for i in range(self.vector_lanes):
            m.d.comb += [
                self.trace_post_data.word_select(i, 24).eq(word.rotate_right(i % 32)),
                self.trace_vector_data.word_select(i, 24).eq(left + i),
                self.trace_key_value_data.word_select(i, 8).eq(left + i),
            ]
        return m
