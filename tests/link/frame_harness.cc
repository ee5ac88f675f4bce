// C interface of a Verilated FrameLink: bytes on one side, words on the other, random stalls.
#include <cstdint>
#include "Vtop.h"
#include "verilated.h"

#define PORT(stream, part) stream##___05F##part

struct Link {
    VerilatedContext context;
    Vtop top{&context};
    uint64_t random = 1;
    bool offering = false;

    void edge() {
        top.clk = 1;
        top.eval();
        top.clk = 0;
        top.eval();
    }
    // True in `share` of 256 cases (xorshift).
    bool chance(unsigned share) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        return (random & 255) < share;
    }
};

// Buffers of one run: how long they are, and how far the run came.
struct Run {
    const uint16_t* bytes_in;  // bit 8: without a stop bit
    int64_t bytes_in_count, bytes_in_done;
    uint8_t* bytes_out;
    int64_t bytes_out_count, bytes_out_done;
    const uint32_t* words_in;
    int64_t words_in_count, words_in_done;
    uint32_t* words_out;
    int64_t words_out_count, words_out_done;
    int64_t cycles, gap, resets;
    uint32_t idle, stall;  // of 256
};

#pragma GCC visibility push(default)
extern "C" {
Link* link_new(uint64_t seed) {
    Link* link = new Link;
    link->random = seed * 2 + 1;
    return link;
}

void link_free(Link* link) { delete link; }

void link_power_cycle(Link* link) {
    link->top.rst = 1;
    for (int i = 0; i < 2; i++) link->edge();
    link->top.rst = 0;
    link->offering = false;
}

void link_run(Link* link, Run* run) {
    Vtop& top = link->top;
    for (int64_t cycle = 0; cycle < run->cycles; cycle++) {
        bool turn = cycle % run->gap == 0;
        bool byte = turn && run->bytes_in_done < run->bytes_in_count;
        top.PORT(bytes_in, valid) = byte;
        if (byte) top.PORT(bytes_in, payload) = run->bytes_in[run->bytes_in_done++];
        top.PORT(bytes_out, ready) = turn && run->bytes_out_done < run->bytes_out_count;
        if (run->words_in_done == run->words_in_count) link->offering = false;
        else if (!link->offering) link->offering = !link->chance(run->idle);
        top.PORT(words_from_device, valid) = link->offering;
        if (link->offering)
            top.PORT(words_from_device, payload) = run->words_in[run->words_in_done];
        top.PORT(words_to_device, ready) =
            run->words_out_done < run->words_out_count && !link->chance(run->stall);
        top.eval();
        if (top.PORT(bytes_out, ready) && top.PORT(bytes_out, valid))
            run->bytes_out[run->bytes_out_done++] = top.PORT(bytes_out, payload);
        if (link->offering && top.PORT(words_from_device, ready)) {
            run->words_in_done++;
            link->offering = false;
        }
        if (top.PORT(words_to_device, ready) && top.PORT(words_to_device, valid))
            run->words_out[run->words_out_done++] = top.PORT(words_to_device, payload);
        run->resets += top.reset_device;
        link->edge();
    }
}
}
