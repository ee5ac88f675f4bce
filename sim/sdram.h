// A model of an SDR SDRAM chip that checks what a data sheet asks for.
//
// Bursts of two, sequential, without auto-precharge: what hdl/memory/sdram.py uses; anything else
// is reported too. Cells that were never written, and a bus that nobody drives, read as noise.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

struct SdramParameters {
    uint32_t row_bits, column_bits, bank_bits;
    uint32_t cas_latency, t_mrd, first_refreshes;
    double period;  // of the clock; all times in nanoseconds
    double t_rcd, t_rp, t_ras, t_ras_maximum, t_rc, t_rfc, t_rrd, t_wr, power_up, refresh_interval;
};

struct SdramPins {  // what the chip sees at a rising edge
    uint32_t cke, ras_n, cas_n, we_n, bank, address, dqm, data, drive;
};

class Sdram {
public:
    static constexpr int POSTPONED = 8;  // refreshes that may be late

    explicit Sdram(const SdramParameters& parameters) : p(parameters) {
        banks.resize(1u << p.bank_bits);
        rows.resize(std::size_t(1) << (p.bank_bits + p.row_bits));
    }

    // The first rule that was broken, in words; empty when none was.
    const std::string& error() const { return first_error; }
    uint64_t words_read() const { return reads; }
    uint64_t words_written() const { return writes; }
    uint64_t refreshes() const { return refreshed; }

    // The supply goes off and on: cells keep what they hold, everything else begins anew.
    void power_cycle() {
        const uint64_t at = now;
        for (auto& bank : banks) bank = Bank{};
        ready = precharged = false;
        done_refreshes = 0;
        started = at;
        last_activate = last_refresh = last_mode = last_drive = NEVER;
        read_at = write_at = NEVER;
        for (auto& word : bus) word.valid = false;
    }

    // One rising edge; returns what is on the data bus at the next one.
    uint16_t step(const SdramPins& pins) {
        Slot& present = bus[now % BUS];
        if (present.valid && pins.drive) fail("both sides drive the data bus");
        present.valid = false;
        dqm[now % BUS] = pins.dqm;
        const uint32_t code = pins.ras_n << 2 | pins.cas_n << 1 | pins.we_n;
        if (!pins.cke) {
            if (ready) fail("CKE fell: power down is not modelled");
        } else {
            command(code, pins);
        }
        if (write_at != NEVER && now - write_at == 1) store(pins, 1);
        overdue();
        ++now;
        const Slot& next = bus[now % BUS];
        // DQM takes two cycles to silence the output.
        const uint32_t masked = now >= 2 ? dqm[(now - 2) % BUS] : 0;
        uint16_t value = next.valid ? next.data : noise(now);
        if (masked) value ^= noise(now + 7) & ((masked & 1 ? 0xFF : 0) | (masked & 2 ? 0xFF00 : 0));
        return value;
    }

private:
    static constexpr uint64_t NEVER = ~uint64_t(0);
    static constexpr int BUS = 16;
    struct Bank {
        bool open = false;
        uint32_t row = 0;
        uint64_t activated = NEVER, precharged = NEVER, written = NEVER, accessed = NEVER;
    };
    struct Slot {
        bool valid = false;
        uint16_t data = 0;
    };

    SdramParameters p;
    std::vector<Bank> banks;
    std::vector<std::unique_ptr<uint16_t[]>> rows;
    Slot bus[BUS];
    uint32_t dqm[BUS] = {};
    std::string first_error;
    bool ready = false, precharged = false;
    uint64_t now = 0, started = 0, done_refreshes = 0, reads = 0, writes = 0, refreshed = 0;
    uint64_t ready_at = 0, refreshes_since = 0;
    uint64_t last_activate = NEVER, last_refresh = NEVER, last_mode = NEVER, last_drive = NEVER;
    uint64_t read_at = NEVER, write_at = NEVER;
    uint32_t write_bank = 0, write_column = 0;

    void fail(const std::string& what) {
        if (first_error.empty()) first_error = "cycle " + std::to_string(now) + ": " + what;
    }
    bool sooner(uint64_t then, double nanoseconds) const {
        return then != NEVER && double(now - then) * p.period < nanoseconds - 1e-6;
    }
    static uint16_t noise(uint64_t seed) {
        return uint16_t((seed + 1) * 0x9E3779B97F4A7C15ULL >> 41);
    }
    uint16_t* cells(uint32_t bank, uint32_t row) {
        auto& found = rows[std::size_t(bank) << p.row_bits | row];
        if (!found) {
            found.reset(new uint16_t[1u << p.column_bits]);
            for (uint32_t i = 0; i < 1u << p.column_bits; ++i)
                found[i] = noise((uint64_t(row) << p.bank_bits | bank) << p.column_bits | i);
        }
        return found.get();
    }

    double due() const { return double(now - ready_at) * p.period / p.refresh_interval; }

    void overdue() {
        if (!ready) return;
        if (due() - double(refreshes_since) > POSTPONED + 1) fail("refreshes are overdue");
        for (const auto& bank : banks)
            if (bank.open && double(now - bank.activated) * p.period > p.t_ras_maximum)
                fail("tRAS maximum: a row is open too long");
    }

    void command(uint32_t code, const SdramPins& pins) {
        if (code == 7) return;
        if (!ready && double(now - started) * p.period < p.power_up - 1e-6)
            fail("a command before the power-up time is over");
        if (last_mode != NEVER && now - last_mode < p.t_mrd) fail("tMRD: too soon after the mode");
        if (sooner(last_refresh, p.t_rfc)) fail("tRFC: a command during a refresh");
        if ((read_at != NEVER && now - read_at < 2) || (write_at != NEVER && now - write_at < 2))
            if (code >= 4) fail("a command cuts a burst short");
        switch (code) {
            case 0: return load_mode(pins);
            case 1: return refresh();
            case 2: return precharge(pins);
            case 3: return activate(pins);
            case 4: return access(pins, true);
            case 5: return access(pins, false);
            default: fail("BURST TERMINATE is not modelled");
        }
    }

    void load_mode(const SdramPins& pins) {
        for (const auto& bank : banks) {
            if (bank.open) fail("mode register: a bank is open");
            if (sooner(bank.precharged, p.t_rp)) fail("tRP: mode register too soon");
        }
        if (!precharged) fail("mode register before PRECHARGE of all banks");
        if (done_refreshes < p.first_refreshes) fail("mode register before the first refreshes");
        if (pins.bank != 0 || pins.address != (1 | p.cas_latency << 4))
            fail("mode register: not bursts of two with the CAS latency of the model");
        last_mode = now;
        if (!ready) ready_at = now, refreshes_since = 0;
        ready = true;
    }

    void refresh() {
        for (const auto& bank : banks) {
            if (bank.open) fail("REFRESH while a bank is open");
            if (sooner(bank.precharged, p.t_rp)) fail("tRP: REFRESH too soon after PRECHARGE");
            if (sooner(bank.activated, p.t_rc)) fail("tRC: REFRESH too soon after ACTIVATE");
        }
        if (!precharged) fail("REFRESH before PRECHARGE of all banks");
        last_refresh = now;
        ++done_refreshes, ++refreshed;
        if (double(refreshes_since) < due() + POSTPONED) ++refreshes_since;
    }

    void precharge(const SdramPins& pins) {
        const bool all = pins.address >> 10 & 1;
        if (all) precharged = true;
        for (uint32_t i = 0; i < banks.size(); ++i) {
            Bank& bank = banks[i];
            if (!all && i != pins.bank) continue;
            if (!bank.open) continue;
            if (sooner(bank.activated, p.t_ras)) fail("tRAS: PRECHARGE too soon after ACTIVATE");
            if (bank.written != NEVER && (sooner(bank.written, p.t_wr) || now - bank.written < 2))
                fail("tWR: PRECHARGE too soon after the last word written");
            if (bank.accessed != NEVER && now - bank.accessed < 2) fail("PRECHARGE cuts a burst");
            bank.open = false;
            bank.precharged = now;
        }
    }

    void activate(const SdramPins& pins) {
        Bank& bank = banks[pins.bank];
        if (!ready) fail("ACTIVATE before the mode register is loaded");
        if (bank.open) fail("ACTIVATE of a bank that is open");
        if (sooner(bank.precharged, p.t_rp)) fail("tRP: ACTIVATE too soon after PRECHARGE");
        if (sooner(bank.activated, p.t_rc)) fail("tRC: ACTIVATE too soon after ACTIVATE");
        if (sooner(last_activate, p.t_rrd)) fail("tRRD: ACTIVATE too soon after another bank's");
        bank = Bank{true, pins.address, now, bank.precharged, NEVER, NEVER};
        last_activate = now;
    }

    void access(const SdramPins& pins, bool write) {
        Bank& bank = banks[pins.bank];
        const uint32_t column = pins.address & ((1u << p.column_bits) - 1);
        if (pins.address >> 10 & 1) fail("auto-precharge is not modelled");
        if (!bank.open) return fail("READ or WRITE of a bank that is closed");
        if (sooner(bank.activated, p.t_rcd)) fail("tRCD: READ or WRITE too soon after ACTIVATE");
        bank.accessed = now;
        if (write) {
            ++writes;
            write_at = now, write_bank = pins.bank, write_column = column;
            for (int i = 0; i < BUS; ++i)
                if (bus[(now + i) % BUS].valid) fail("WRITE while read words are on their way");
            store(pins, 0);
            return;
        }
        ++reads;
        read_at = now;
        for (uint32_t i = 0; i < 2; ++i)
            bus[(now + p.cas_latency + i) % BUS] = {true, cells(pins.bank, bank.row)[column ^ i]};
    }

    void store(const SdramPins& pins, uint32_t beat) {
        if (!pins.drive) fail("a word to be written is not driven");
        Bank& bank = banks[write_bank];
        bank.written = now;
        uint16_t& cell = cells(write_bank, bank.row)[write_column ^ beat];
        const uint16_t mask = (pins.dqm & 1 ? 0 : 0xFF) | (pins.dqm & 2 ? 0 : 0xFF00);
        cell = (cell & ~mask) | (pins.data & mask);
    }
};
