// CRC-32C (Castagnoli), the checksum of every record, segment header and footer.
#pragma once
#include <cstddef>
#include <cstdint>

namespace edgecl {

// crc of `n` bytes continuing from `seed` (0 at the start). Hardware instructions where the CPU has them.
uint32_t crc32c(const void *data, size_t n, uint32_t seed = 0);

// The table version, for tests and for CPUs without the instruction.
uint32_t crc32c_table(const void *data, size_t n, uint32_t seed = 0);

// "sse4.2", "armv8" or "table".
const char *crc32c_name();

} // namespace edgecl
