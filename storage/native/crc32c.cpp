// The hardware instruction takes 8 bytes per ~1 cycle but has a latency of 3, so one dependent chain runs at a third
// of the rate. Long inputs are cut in three lanes whose crcs are joined by multiplying with x^(8*LANE) mod P, which
// is linear in the crc and therefore four table look-ups.
#include "crc32c.h"
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#ifndef HWCAP_CRC32
#define HWCAP_CRC32 (1 << 7)
#endif
#endif

namespace edgecl {
namespace {

constexpr uint32_t kPoly = 0x82f63b78u; // reflected Castagnoli
constexpr size_t kLane = 256;           // bytes per lane and round

struct Tables {
    uint32_t byte[8][256];  // slicing by 8
    uint32_t shift[4][256]; // appends kLane zero bytes to a crc
    Tables() {
        for (uint32_t i = 0; i < 256; ++i) {
            uint32_t c = i;
            for (int k = 0; k < 8; ++k) c = (c >> 1) ^ (c & 1 ? kPoly : 0);
            byte[0][i] = c;
        }
        for (uint32_t i = 0; i < 256; ++i)
            for (int t = 1; t < 8; ++t) byte[t][i] = (byte[t - 1][i] >> 8) ^ byte[0][byte[t - 1][i] & 255];
        for (int b = 0; b < 4; ++b)
            for (uint32_t i = 0; i < 256; ++i) {
                uint32_t c = i << (8 * b);
                for (size_t k = 0; k < kLane; ++k) c = (c >> 8) ^ byte[0][c & 255];
                shift[b][i] = c;
            }
    }
};

const Tables &tables() {
    static const Tables t;
    return t;
}

inline uint64_t load8(const unsigned char *p) {
    uint64_t v;
    std::memcpy(&v, p, 8);
    return v;
}

[[maybe_unused]] inline uint32_t append_lane(const Tables &t, uint32_t c) {
    return t.shift[0][c & 255] ^ t.shift[1][c >> 8 & 255] ^ t.shift[2][c >> 16 & 255] ^ t.shift[3][c >> 24];
}

uint32_t table_raw(const unsigned char *p, size_t n, uint32_t c) {
    const Tables &t = tables();
    for (; n >= 8; p += 8, n -= 8) {
        uint64_t v = load8(p) ^ c; // little-endian hosts only, as the file format
        c = t.byte[7][v & 255] ^ t.byte[6][v >> 8 & 255] ^ t.byte[5][v >> 16 & 255] ^ t.byte[4][v >> 24 & 255] ^
            t.byte[3][v >> 32 & 255] ^ t.byte[2][v >> 40 & 255] ^ t.byte[1][v >> 48 & 255] ^ t.byte[0][v >> 56];
    }
    for (; n; --n) c = (c >> 8) ^ t.byte[0][(c ^ *p++) & 255];
    return c;
}

#if defined(__x86_64__)
#define EDGECL_CRC_TARGET __attribute__((target("sse4.2")))
#define EDGECL_CRC8(c, v) static_cast<uint32_t>(_mm_crc32_u64(c, v))
#define EDGECL_CRC1(c, v) _mm_crc32_u8(c, v)
#elif defined(__aarch64__)
#if defined(__clang__)
#define EDGECL_CRC_TARGET __attribute__((target("crc")))
#else
#define EDGECL_CRC_TARGET __attribute__((target("+crc")))
#endif
#define EDGECL_CRC8(c, v) __builtin_aarch64_crc32cx(c, v)
#define EDGECL_CRC1(c, v) __builtin_aarch64_crc32cb(c, v)
#if defined(__clang__)
#undef EDGECL_CRC8
#undef EDGECL_CRC1
#define EDGECL_CRC8(c, v) __builtin_arm_crc32cd(c, v)
#define EDGECL_CRC1(c, v) __builtin_arm_crc32cb(c, v)
#endif
#endif

#ifdef EDGECL_CRC_TARGET
EDGECL_CRC_TARGET uint32_t hardware_raw(const unsigned char *p, size_t n, uint32_t c) {
    if (n >= 3 * kLane) {
        const Tables &t = tables();
        do {
            uint32_t a = c, b = 0, d = 0;
            for (size_t i = 0; i < kLane; i += 8) {
                a = EDGECL_CRC8(a, load8(p + i));
                b = EDGECL_CRC8(b, load8(p + kLane + i));
                d = EDGECL_CRC8(d, load8(p + 2 * kLane + i));
            }
            c = append_lane(t, append_lane(t, a) ^ b) ^ d;
            p += 3 * kLane, n -= 3 * kLane;
        } while (n >= 3 * kLane);
    }
    for (; n >= 8; p += 8, n -= 8) c = EDGECL_CRC8(c, load8(p));
    for (; n; --n) c = EDGECL_CRC1(c, *p++);
    return c;
}
#endif

bool hardware() {
#if defined(__x86_64__)
    return __builtin_cpu_supports("sse4.2");
#elif defined(__aarch64__)
    return getauxval(AT_HWCAP) & HWCAP_CRC32;
#else
    return false;
#endif
}

using Raw = uint32_t (*)(const unsigned char *, size_t, uint32_t);
Raw choose() {
#ifdef EDGECL_CRC_TARGET
    if (hardware()) return hardware_raw;
#endif
    return table_raw;
}

} // namespace

uint32_t crc32c(const void *data, size_t n, uint32_t seed) {
    static const Raw raw = choose();
    return ~raw(static_cast<const unsigned char *>(data), n, ~seed);
}

uint32_t crc32c_table(const void *data, size_t n, uint32_t seed) {
    return ~table_raw(static_cast<const unsigned char *>(data), n, ~seed);
}

const char *crc32c_name() {
#if defined(__x86_64__)
    return hardware() ? "sse4.2" : "table";
#elif defined(__aarch64__)
    return hardware() ? "armv8" : "table";
#else
    return "table";
#endif
}

} // namespace edgecl
