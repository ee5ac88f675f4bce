// A C interface around a Verilated board: its clock, its UART pins, and bytes from and to a file
// descriptor (a pseudo-terminal's master). Everything else of the board is reached over the pins.
//
// Compiled with -DPIN_CLOCK=, -DPIN_RX=, -DPIN_TX= and, where there are LEDs, -DPIN_LEDS=: ports of
// the top; with -DSPIKELET_SDRAM=, the parameters of the chip at the ports sdram_* (sim/memory.py).

#include <algorithm>
#include <cstdint>
#include <deque>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include <unistd.h>
#ifdef __linux__
#include <sys/ioctl.h>
#endif

#include "Vtop.h"
#include "verilated.h"
#ifdef SPIKELET_SDRAM
#include "../sdram.h"
#endif

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace {

constexpr double NEVER = std::numeric_limits<double>::infinity();
constexpr uint64_t POLL_CYCLES = 512;     // between two looks at the file descriptor
constexpr size_t KEPT_BYTES = 1 << 16;    // for a host that does not read; what is more is lost
constexpr size_t TAKEN_BYTES = 1 << 12;   // read from the host at a time
constexpr int FRAME_BITS = 10;            // start, 8 data bits (lowest first), stop

// Bits a second that the host has set at its end of a pseudo-terminal; 0 where it cannot be told.
double host_baud(int file) {
#ifdef __linux__
    struct {  // termios2, which no header has beside that of the C library
        uint32_t modes[4];
        uint8_t characters[20];
        uint32_t in, out;
    } settings;
    constexpr unsigned long GET = 0x802C542A;  // TCGETS2
    if (::ioctl(file, GET, &settings) == 0) return settings.out;
#endif
    (void)file;
    return 0;
}

// What goes wrong on a line: each with its probability, a bit or a byte at a time.
struct Faults {
    double flip = 0, drop = 0, insert = 0;
    uint64_t flipped = 0, dropped = 0, inserted = 0;
    std::mt19937_64 random;

    bool happens(double probability, uint64_t& count) {
        if (probability <= 0 || std::uniform_real_distribution<>()(random) >= probability)
            return false;
        ++count;
        return true;
    }
    uint8_t byte() { return static_cast<uint8_t>(random() >> 32); }
};

// Bytes to levels of the pin rx.
struct Sender {
    std::deque<uint8_t> waiting;
    Faults faults;
    double bit_cycles = 0, next = NEVER;  // when the level changes
    uint32_t frame = 0;                   // levels still to come, lowest first
    int left = 0;
    uint64_t bytes = 0;

    bool idle() const { return left == 0 && waiting.empty(); }

    void start(uint64_t now) {
        if (next == NEVER && !waiting.empty()) next = static_cast<double>(now);
    }

    // The level from now on; called when `next` has come.
    int step() {
        if (left == 0) load();
        if (left == 0) {
            next = NEVER;
            return 1;
        }
        next += bit_cycles;
        const int level = frame & 1;
        frame >>= 1;
        --left;
        return level;
    }

    void load() {
        while (!waiting.empty() && faults.happens(faults.drop, faults.dropped)) waiting.pop_front();
        if (waiting.empty()) return;
        uint8_t byte;
        if (faults.happens(faults.insert, faults.inserted)) {
            byte = faults.byte();
        } else {
            byte = waiting.front();
            waiting.pop_front();
        }
        ++bytes;
        frame = static_cast<uint32_t>(byte) << 1 | 1u << (FRAME_BITS - 1);
        left = FRAME_BITS;
        for (int bit = 0; bit < FRAME_BITS; ++bit)
            if (faults.happens(faults.flip, faults.flipped)) frame ^= 1u << bit;
    }
};

// Levels of the pin tx to bytes: each bit is sampled once, in its middle.
struct Receiver {
    std::vector<uint8_t> received;
    Faults faults;
    double bit_cycles = 0, next = NEVER;  // when the next bit is sampled
    uint32_t frame = 0;
    int count = 0, before = 1;
    uint64_t bytes = 0, framing_errors = 0, lost = 0;

    void level(int value, uint64_t now) {
        if (next == NEVER) {
            if (before && !value) next = static_cast<double>(now) + 0.5 * bit_cycles;
        } else if (static_cast<double>(now) >= next) {
            sample(value);
        }
        before = value;
    }

    void sample(int value) {
        next += bit_cycles;
        if (count == 0 && value) {  // no start bit after all: a glitch
            next = NEVER;
            return;
        }
        if (count > 0 && count < FRAME_BITS - 1 && faults.happens(faults.flip, faults.flipped))
            value ^= 1;
        frame |= static_cast<uint32_t>(value) << count;
        if (++count < FRAME_BITS) return;
        framing_errors += !value;
        take(static_cast<uint8_t>(frame >> 1));
        frame = count = 0;
        next = NEVER;
    }

    void take(uint8_t byte) {
        ++bytes;
        if (faults.happens(faults.insert, faults.inserted)) keep(faults.byte());
        if (!faults.happens(faults.drop, faults.dropped)) keep(byte);
    }

    void keep(uint8_t byte) {
        if (received.size() < KEPT_BYTES) received.push_back(byte);
        else ++lost;
    }
};

#ifdef SPIKELET_SDRAM
// The chip at the board's pins; what it holds survives neither a new board nor its power.
struct Chip {
    Sdram chip{SdramParameters{SPIKELET_SDRAM}};
    uint16_t driven = 0;
    void before(Vtop& top) const { top.sdram_data_in = driven; }
    void after(Vtop& top) {
        driven = chip.step({top.sdram_cke, top.sdram_ras_n, top.sdram_cas_n, top.sdram_we_n,
                            top.sdram_bank, top.sdram_address, top.sdram_dqm, top.sdram_data_out,
                            top.sdram_data_enable});
    }
    const char* error() const { return chip.error().c_str(); }
};
#else
struct Chip {
    void before(Vtop&) const {}
    void after(Vtop&) {}
    const char* error() const { return ""; }
};
#endif

}  // namespace

struct Board {
    VerilatedContext context;
    std::unique_ptr<Vtop> top;
    std::unique_ptr<Chip> chip;
    uint64_t cycles = 0, active = 0;  // `active`: when a pin of the UART last moved
    double clock_hz = 0;
    int file = -1;
    Sender sender;
    Receiver receiver;

    // Power on: every register and memory begins with its initial value.
    void start() {
        top = std::make_unique<Vtop>(&context, "");
        top->PIN_RX = 1;
        chip = std::make_unique<Chip>();
    }

    void cycle() {
        top->PIN_CLOCK = 0;
        chip->before(*top);
        top->eval();
        chip->after(*top);  // what the pins are before the edge
        top->PIN_CLOCK = 1;
        top->eval();
        ++cycles;
    }

    void set_baud(double baud) { sender.bit_cycles = receiver.bit_cycles = clock_hz / baud; }

    void exchange() {
        auto& bytes = receiver.received;
        if (file >= 0 && !bytes.empty()) {
            const ssize_t written = ::write(file, bytes.data(), bytes.size());
            if (written > 0) bytes.erase(bytes.begin(), bytes.begin() + written);
        }
        if (file >= 0 && sender.waiting.empty()) {
            uint8_t buffer[TAKEN_BYTES];
            const ssize_t count = ::read(file, buffer, sizeof buffer);
            if (count > 0) {
                sender.waiting.insert(sender.waiting.end(), buffer, buffer + count);
                if (const double baud = host_baud(file)) set_baud(baud);
            }
        }
        sender.start(cycles);
    }
};

EXPORT Board* spikelet_board_new(double clock_hz, double baud) {
    auto* board = new Board;
    board->clock_hz = clock_hz;
    board->set_baud(baud);
    board->start();
    return board;
}

EXPORT void spikelet_board_free(Board* board) { delete board; }

// The host's baud rate, which need not be the board's; a pseudo-terminal tells it by itself.
EXPORT void spikelet_board_baud(Board* board, double baud) { board->set_baud(baud); }

// Bytes come from and go to this file descriptor, which must not block; -1: none.
EXPORT void spikelet_board_attach(Board* board, int file) { board->file = file; }

// Forgets what is on its way to and from the host.
EXPORT void spikelet_board_forget(Board* board) {
    board->sender.waiting.clear();
    board->receiver.received.clear();
}

// Probabilities: a bit flips, a byte is dropped, a byte is inserted before one.
EXPORT void spikelet_board_faults(Board* board, int to_host, double flip, double drop,
                                  double insert, uint64_t seed) {
    Faults& faults = to_host ? board->receiver.faults : board->sender.faults;
    faults.flip = flip;
    faults.drop = drop;
    faults.insert = insert;
    faults.random.seed(2 * seed + static_cast<uint64_t>(to_host));
}

// Takes the power away and gives it back.
EXPORT void spikelet_board_restart(Board* board) { board->start(); }

EXPORT uint32_t spikelet_board_leds(const Board* board) {
#ifdef PIN_LEDS
    return board->top->PIN_LEDS;
#else
    return 0;
#endif
}

// The first rule of the memory chip that was broken, in words; empty when none was.
EXPORT const char* spikelet_board_error(const Board* board) { return board->chip->error(); }

// Runs for `count` cycles. Returns 1 when no pin of the UART has moved for `quiet` cycles.
EXPORT int spikelet_board_run(Board* board, uint64_t count, uint64_t quiet) {
    Vtop& top = *board->top;
    Sender& sender = board->sender;
    const uint64_t end = board->cycles + count;
    int before = top.PIN_TX;
    while (board->cycles < end) {
        board->exchange();
        const uint64_t until = std::min(end, board->cycles + POLL_CYCLES);
        while (board->cycles < until) {
            if (static_cast<double>(board->cycles) >= sender.next) {
                if (sender.idle()) board->exchange();  // a byte may follow at once
                top.PIN_RX = sender.step();
                board->active = board->cycles;
            }
            board->cycle();
            const int level = top.PIN_TX;
            if (level != before) board->active = board->cycles;
            before = level;
            board->receiver.level(level, board->cycles);
        }
    }
    board->exchange();
    return board->cycles - board->active > quiet && sender.idle();
}

// cycles; bytes, bits flipped, bytes dropped and inserted to the board; the same to the host;
// framing errors and lost bytes to the host.
EXPORT void spikelet_board_counts(const Board* board, uint64_t* counts) {
    const auto put = [&](uint64_t bytes, const Faults& faults) {
        *counts++ = bytes;
        *counts++ = faults.flipped;
        *counts++ = faults.dropped;
        *counts++ = faults.inserted;
    };
    *counts++ = board->cycles;
    put(board->sender.bytes, board->sender.faults);
    put(board->receiver.bytes, board->receiver.faults);
    *counts++ = board->receiver.framing_errors;
    *counts++ = board->receiver.lost;
}
