// A C interface to the SDRAM model, for tests; read by sim/sdram.py.

#include "sdram.h"

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT Sdram* sdram_new(const SdramParameters* parameters) { return new Sdram(*parameters); }
EXPORT void sdram_free(Sdram* chip) { delete chip; }
EXPORT uint32_t sdram_step(Sdram* chip, const SdramPins* pins) { return chip->step(*pins); }
EXPORT void sdram_power_cycle(Sdram* chip) { chip->power_cycle(); }
EXPORT const char* sdram_error(const Sdram* chip) { return chip->error().c_str(); }
EXPORT uint64_t sdram_refreshes(const Sdram* chip) { return chip->refreshes(); }
