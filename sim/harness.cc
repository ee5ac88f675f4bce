// A C interface around the Verilated device: the clock loop, the link's words and the trace.
//
// Compiled with -DSPIKELET_VECTOR_LANES=V. One record of the trace is packed as
//   u64 cycle, u16 address, u8 kind, i8 exponent, i32 data[V]
// where kind is the position in the list of writers below, and is read by sim/simulated_device.py.
// External memory: -DSPIKELET_MEMORY_WORDS=n puts one of n words behind the device's port,
// -DSPIKELET_SDRAM=... the chip of sdram.h, with these parameters, behind the pins (sim/memory.py).

#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "Vtop.h"
#include "verilated.h"
#ifdef SPIKELET_SDRAM
#include "sdram.h"
#endif
#if VM_TRACE
#include "verilated_vcd_c.h"
#endif

#define EXPORT extern "C" __attribute__((visibility("default")))

// Each has ports trace_<name>_valid, _address and _data (24 bits a lane).
#define VECTOR_WRITERS(X) X(post, 0) X(vector, 1)
constexpr uint8_t KEY_VALUE_KIND = 2;
constexpr int LANES = SPIKELET_VECTOR_LANES;
// The registers that a reset passes: sim/transform.py, hdl/sdram_device.py. A word that came while
// it still acts would be taken and forgotten.
constexpr uint32_t RESET_DELAY = 2;

namespace {

// Verilator's integers up to 64 bits and its arrays of 32-bit words beyond, alike.
template <typename T>
uint32_t word_of(const T& value, int index) {
    return static_cast<uint32_t>(static_cast<uint64_t>(value) >> (32 * index));
}
template <std::size_t N>
uint32_t word_of(const VlWide<N>& value, int index) {
    return value[index];
}

// Lane `lane` of a vector of signed numbers of `BITS` bits.
template <int BITS, typename T>
int32_t lane_of(const T& value, int lane) {
    const int low = lane * BITS, index = low / 32, offset = low % 32;
    uint64_t bits = word_of(value, index);
    if (offset + BITS > 32) bits |= static_cast<uint64_t>(word_of(value, index + 1)) << 32;
    return static_cast<int32_t>(static_cast<uint32_t>(bits >> offset) << (32 - BITS)) >> (32 - BITS);
}

struct Stall {  // true with a probability; xorshift64*
    uint64_t threshold = 0, state = 1;
    bool operator()() {
        if (threshold == 0) return false;
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        return (state * 0x2545F4914F6CDD1DULL >> 32) < threshold;
    }
    void set(double probability, uint64_t seed) {
        threshold = static_cast<uint64_t>(probability * 4294967296.0);
        state = (seed * 0x9E3779B97F4A7C15ULL) | 1;
    }
};

#if defined(SPIKELET_SDRAM)
struct Memory {  // the chip behind the pins
    Sdram chip{SdramParameters{SPIKELET_SDRAM}};
    uint16_t driven = 0;
    void stalls(double, uint64_t) {}
    void reset() { chip.power_cycle(); }
    void before(Vtop& top) { top.sdram_data_in = driven; }
    void after(Vtop& top) {
        driven = chip.step({top.sdram_cke, top.sdram_ras_n, top.sdram_cas_n, top.sdram_we_n,
                            top.sdram_bank, top.sdram_address, top.sdram_dqm, top.sdram_data_out,
                            top.sdram_data_enable});
    }
    const char* error() const { return chip.error().c_str(); }
};
#elif defined(SPIKELET_MEMORY_WORDS)
struct Memory {  // words behind the device's port; one burst at a time
    std::vector<uint32_t> words = std::vector<uint32_t>(SPIKELET_MEMORY_WORDS);
    Stall stall;
    uint32_t address = 0, left = 0;
    bool writing = false, offered = false;
    std::string broken;
    void stalls(double probability, uint64_t seed) { stall.set(probability, seed); }
    void reset() { left = 0, offered = false; }
    void before(Vtop& top) {
        top.memory_request_ready = left == 0 && !stall();
        offered = left && !writing && (offered || !stall());
        top.memory_read_valid = offered;
        top.memory_read_payload = offered ? words[address] : 0;
        top.memory_write_ready = left && writing && !stall();
    }
    void after(Vtop& top) {
        if (top.memory_request_valid && top.memory_request_ready) {
            address = top.memory_address, left = top.memory_length, writing = top.memory_write;
            if (left == 0 || uint64_t(address) + left > SPIKELET_MEMORY_WORDS) {
                broken = "a burst of no words or beyond the memory";
                left = 0;
            }
            return;
        }
        if (top.memory_read_valid && top.memory_read_ready) ++address, --left, offered = false;
        if (top.memory_write_valid && top.memory_write_ready)
            words[address++] = top.memory_write_payload, --left;
    }
    const char* error() const { return broken.c_str(); }
};
#else
struct Memory {
    void stalls(double, uint64_t) {}
    void reset() {}
    void before(Vtop&) {}
    void after(Vtop&) {}
    const char* error() const { return ""; }
};
#endif

}  // namespace

struct Device {
    VerilatedContext context;
    std::unique_ptr<Vtop> top;
    uint64_t cycles = 0;
    bool offered = false;  // a word was offered and is not yet taken: it must stay
    Stall input_stall, output_stall;
    Memory memory;
    bool tracing = false;
    std::vector<uint8_t> trace;
#if VM_TRACE
    VerilatedVcdC vcd;
    uint64_t vcd_from = 1, vcd_to = 0;
#endif

    Device() {
#if VM_TRACE
        context.traceEverOn(true);
#endif
        top = std::make_unique<Vtop>(&context, "");
#if VM_TRACE
        top->trace(&vcd, 99);
#endif
    }

    ~Device() {
#if VM_TRACE
        if (vcd.isOpen()) vcd.close();
#endif
        top->final();
    }

    void half_cycle(int clk) {
        top->clk = clk;
        top->eval();
#if VM_TRACE
        if (cycles >= vcd_from && cycles < vcd_to && vcd.isOpen()) vcd.dump(2 * cycles + clk);
#endif
    }

    // The two halves of a cycle around what looks at the outputs; memory sees the rising edge.
    void low() {
        memory.before(*top);
        half_cycle(0);
    }
    void high() {
        memory.after(*top);
        half_cycle(1);
        ++cycles;
    }

    void put(const void* bytes, size_t count) {
        const auto* first = static_cast<const uint8_t*>(bytes);
        trace.insert(trace.end(), first, first + count);
    }

    template <typename Lane>
    void record(uint8_t kind, uint16_t address, int8_t exponent, Lane lane) {
        put(&cycles, 8);
        put(&address, 2);
        put(&kind, 1);
        put(&exponent, 1);
        for (int i = 0; i < LANES; ++i) {
            const int32_t value = lane(i);
            put(&value, 4);
        }
    }

    void sample_trace() {
#define SAMPLE(name, kind)                                                                     \
    if (top->trace_##name##_valid)                                                             \
        record(kind, top->trace_##name##_address, 0,                                           \
               [&](int i) { return lane_of<24>(top->trace_##name##_data, i); });
        VECTOR_WRITERS(SAMPLE)
#undef SAMPLE
        if (top->trace_key_value_valid)
            record(KEY_VALUE_KIND, 0, static_cast<int8_t>(top->trace_key_value_exponent),
                   [&](int i) { return lane_of<8>(top->trace_key_value_data, i); });
    }
};

EXPORT uint32_t spikelet_vector_lanes() { return LANES; }

EXPORT Device* spikelet_new() { return new Device; }

EXPORT void spikelet_free(Device* device) { delete device; }

EXPORT uint64_t spikelet_cycles(const Device* device) { return device->cycles; }

// Holds rst for some cycles; a word that was offered is withdrawn, the cycle counter goes on.
EXPORT void spikelet_reset(Device* device, uint32_t cycles) {
    Vtop& top = *device->top;
    device->offered = false;
    top.link_in_valid = 0;
    top.link_out_ready = 0;
    device->memory.reset();
    for (uint32_t i = 0; i < cycles + RESET_DELAY; ++i) {
        top.rst = i < cycles;
        device->low();
        device->high();
    }
}

// What external memory has to complain about; empty when nothing.
EXPORT const char* spikelet_memory_error(const Device* device) { return device->memory.error(); }

EXPORT void spikelet_memory_stalls(Device* device, double probability, uint64_t seed) {
    device->memory.stalls(probability, seed);
}

EXPORT void spikelet_stalls(Device* device, double input, double output, uint64_t seed) {
    device->input_stall.set(input, 2 * seed);
    device->output_stall.set(output, 2 * seed + 1);
}

// Clocks the device while it offers `words` in order and collects what comes back, until
//   - `wanted` words came (wanted > 0), or all words were taken (wanted == 0), or
//   - `capacity` words came, or `max_cycles` cycles passed.
// Returns the cycles. A word offered and not taken must be the first of the next call.
EXPORT uint64_t spikelet_run(Device* device, const uint32_t* words, size_t count, size_t* consumed,
                             uint32_t* output, size_t capacity, size_t* produced, size_t wanted,
                             uint64_t max_cycles) {
    Vtop& top = *device->top;
    const uint64_t start = device->cycles;
    size_t in = 0, out = 0;
    const auto finished = [&] { return wanted ? out >= wanted : in == count; };
    while (device->cycles - start < max_cycles && out < capacity && !finished()) {
        device->offered = in < count && (device->offered || !device->input_stall());
        top.link_in_valid = device->offered;
        top.link_in_payload = device->offered ? words[in] : 0;
        top.link_out_ready = !device->output_stall();
        device->low();
        if (device->offered && top.link_in_ready) {
            ++in;
            device->offered = false;
        }
        if (top.link_out_ready && top.link_out_valid) output[out++] = top.link_out_payload;
        if (device->tracing) device->sample_trace();
        device->high();
    }
    *consumed = in;
    *produced = out;
    return device->cycles - start;
}

EXPORT void spikelet_trace_enable(Device* device, int on) { device->tracing = on; }

EXPORT size_t spikelet_trace_bytes(const Device* device) { return device->trace.size(); }

// Copies all records (spikelet_trace_bytes of them) and forgets them.
EXPORT void spikelet_trace_take(Device* device, uint8_t* target) {
    std::memcpy(target, device->trace.data(), device->trace.size());
    device->trace.clear();
}

// Writes a VCD of the cycles from `from` up to, not including, `to`; 0 when built without --trace.
EXPORT int spikelet_vcd(Device* device, const char* path, uint64_t from, uint64_t to) {
#if VM_TRACE
    if (device->vcd.isOpen()) device->vcd.close();
    device->vcd.open(path);
    device->vcd_from = from;
    device->vcd_to = to;
    return device->vcd.isOpen();
#else
    (void)device, (void)path, (void)from, (void)to;
    return 0;
#endif
}

EXPORT void spikelet_vcd_close(Device* device) {
#if VM_TRACE
    if (device->vcd.isOpen()) device->vcd.close();
#else
    (void)device;
#endif
}
