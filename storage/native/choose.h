// Choices by chance or by score that a training step makes among the slots of the memory, in one call each.
#pragma once
#include "slot_set.h"
#include <cstddef>
#include <cstdint>
#include <vector>

namespace edgecl {

// What a NumPy bit generator offers to C (numpy/random/bitgen.h). To be called with the GIL held.
struct BitGenerator {
    void *state;
    uint64_t (*next_uint64)(void *);
    uint32_t (*next_uint32)(void *);
    double (*next_double)(void *);
    uint64_t (*next_raw)(void *);
    uint64_t next() { return next_uint64(state); }
    size_t below(size_t n) { return static_cast<size_t>(static_cast<unsigned __int128>(next()) * n >> 64); }
};

// min(k, occupied) occupied slots, uniform without replacement; as many numbers are drawn.
std::vector<int64_t> draw_occupied(const SlotSet &occupied, size_t k, BitGenerator &random);

// The gate hybrid_balanced_p (CarM): of `rows` rows with float32 logits [rows, units] and labels y, those to exchange.
// Class c gives floor(ratio * n_c); the units missing to ceil(ratio * rows) go to classes with a fractional rest, drawn
// without replacement. Within a class: correct rows by entropy ascending, then wrong ones by entropy descending, ties in
// the order of the rows. Classes ascending.
std::vector<int64_t> choose_balanced(const float *logits, const int64_t *y, size_t rows, size_t units, double ratio,
                                     BitGenerator &random);

} // namespace edgecl
