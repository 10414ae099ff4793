// Where records are: segments sorted by first id. In a dense segment the position of a record follows from its id, in a
// compacted one from a search among its ids; in one of fixed length the offset follows from the position, in one of
// variable length from a table of offsets in the segment's footer (in RAM only while the segment has no footer).
#pragma once
#include "id_list.h"
#include <string>
#include <utility>

namespace edgecl {

struct Segment {
    uint32_t no, seed, retained = 0; // retained: records that are live or may be gone back to
    uint64_t first_id;
    uint32_t count = 0; // ids covered (dense) or records (sparse)
    IdList rel;         // sparse only: ids less the first
    bool sparse;
    uint64_t end = 0;              // of the records, where there is a table of offsets
    uint64_t table_at = 0;         // of the offsets in the file; 0: none
    std::vector<uint32_t> offsets; // of variable records while there is no table
    uint32_t id_at(uint32_t i) const { return static_cast<uint32_t>(first_id + (sparse ? rel[i] : i)); }
    uint64_t end_id() const { return first_id + (sparse ? (count ? rel[count - 1] + 1ull : 0) : count); }
};

class Segments {
  public:
    void add(Segment s);
    void remove(const std::vector<uint32_t> &nos);
    Segment *by_number(uint32_t no);
    Segment *find(int64_t id, uint32_t &position); // null when no segment has the id
    void released(int64_t id);                     // one retained record less where id is
    const std::vector<Segment> &all() const { return all_; }
    size_t bytes() const;

  private:
    std::vector<Segment> all_;
    uint32_t last_ = 0; // the segment found last by number
};

} // namespace edgecl
