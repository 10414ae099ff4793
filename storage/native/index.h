// Where every record is and which are live: the part of the store that random access needs in RAM.
//
//   segments      sorted by first id; records are found by arithmetic (dense) or one binary search (compacted)
//   class lists   ascending 4-byte ids per class; [lo, hi) is live, [keep, lo) is evicted but still on flash because a
//                 checkpoint may go back to it, [hi, end) is hidden (a resumed run has not come to it again yet)
//   fields        pages of 4-byte addresses into the append-only field files
// A draw of the k-th live sample of a class is one array access, whatever the number of samples.
#pragma once
#include "id_set.h"
#include "pack.h"
#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

namespace edgecl {

struct File {
    int fd;
    explicit File(int d) : fd(d) {}
    File(const File &) = delete;
    ~File();
};
using FileRef = std::shared_ptr<File>;

// A place on flash; the open file keeps it readable even after the name is gone.
struct Place {
    FileRef file;
    uint64_t offset = 0;
    uint32_t seed = 0, rel = 0;
};

enum Status : uint8_t { kOk = 0, kUnknown = 1, kDamaged = 2, kNotLive = 3, kNotCached = 4 };

struct Record {
    Status status = kUnknown;
    int32_t cls = -1, subject = -1;
    int64_t time = 0;
};

class Index {
  public:
    Index(std::string dir, size_t payload, size_t n_fields, uint64_t field_file_bytes, int64_t capacity);
    ~Index();

    // --- segments ---
    // `replaces`: segments whose retained records the new one took over (compaction), swapped in one step
    void add_segment(uint32_t no, uint64_t first_id, uint32_t seed, std::vector<uint32_t> rel, bool sparse,
                     const std::vector<uint32_t> &replaces);
    void add_records(uint32_t no, size_t n, const uint8_t *ok, const uint32_t *rel, const int32_t *cls,
                     const int32_t *subject); // rel ascending, behind everything known of that segment
    void remove_segments(const std::vector<uint32_t> &nos); // forgets the places, not the class lists
    struct SegmentInfo {
        uint32_t no;
        uint64_t first_id;
        uint32_t count, retained;
    };
    std::vector<SegmentInfo> segments();
    std::vector<int64_t> retained_ids(uint32_t no);
    std::vector<int64_t> ids_of_segment(uint32_t no); // every id it has a place for, hidden and evicted included
    std::pair<uint32_t, uint32_t> where(int64_t id);  // segment number and position in it; (0, 0) for none

    // --- the view ---
    void advance(const int32_t *cls, size_t n); // the next n ids come into view; evicts above the capacity
    void set_view(int64_t next_id, const int32_t *cls, const int64_t *first_live, size_t n);
    void get_view(std::vector<int32_t> &cls, std::vector<int64_t> &first_live);
    void release(const int32_t *cls, const int64_t *before, size_t n); // lets go of evicted records below
    void release_all();
    void remove_id(int64_t id, int32_t cls);
    bool live(int64_t id, int32_t cls);
    int64_t next_id();
    int64_t physical_next();
    int64_t count();

    // --- classes, subjects ---
    std::vector<int32_t> classes();
    int64_t count_of(int32_t cls);
    int64_t kth(int32_t cls, int64_t k); // -1 beyond
    std::vector<int64_t> ids_of_class(int32_t cls);
    std::vector<int32_t> subjects();
    std::vector<int64_t> ids_of_subject(int32_t subject);

    // --- fields ---
    void add_field_file(uint32_t no, uint32_t seed);
    void set_fields(const uint8_t *field, const int64_t *ids, const uint32_t *no, const uint32_t *offset, size_t n);
    void clear_fields();
    int64_t field_place(size_t field, int64_t id); // file number << 32 | offset, -1 where absent
    void drop_field_file(uint32_t no);
    // Which of the records scanned in field file `no` are the latest of an id that is still on flash.
    std::vector<uint8_t> current_fields(uint32_t no, const uint8_t *field, const int64_t *ids, const uint32_t *offset,
                                        size_t n);

    // --- reading ---
    void close_files(); // the cached descriptors; they are opened again when needed
    bool place(int64_t id, Place &to);
    bool place_field(size_t field, int64_t id, Place &to);
    // cached_only: kNotCached instead of waiting for the device
    Record read(const Place &p, uint8_t *to, bool cached_only = false) const;
    // Bytes of the value (<= max) or 0 when it is damaged, of another field, or belongs to another id; kUncached instead
    // of waiting for the device when cached_only.
    static constexpr size_t kUncached = ~size_t{0};
    size_t read_field(const Place &p, size_t field, int64_t id, uint8_t *to, size_t max, bool cached_only = false);
    void read_many(const int64_t *ids, size_t n, bool hidden, uint8_t *to, int32_t *cls, int32_t *subject,
                   int64_t *time, uint8_t *status);
    void read_fields(size_t field, const int64_t *ids, size_t n, uint8_t *to, size_t max, uint32_t *bytes);
    // Draws one live id of each class: candidates[t][i] are uniform 64-bit numbers; the first that is not in `taken`
    // wins; -1 when the class has no other id. Adds the winners to `taken`.
    void draw(const int32_t *cls, size_t n, const uint64_t *candidates, size_t tries, IdSet &taken, int64_t *ids);

    size_t payload() const { return payload_; }
    size_t n_fields() const { return pages_.size(); }
    size_t bytes();
    mutable std::atomic<uint64_t> bytes_read{0};
    std::atomic<uint64_t> damaged_fields{0};
    int64_t evicted = 0;
    bool pinned = false; // evicted records wait for release()

  private:
    struct Segment {
        uint32_t no, seed, retained;
        uint64_t first_id;
        uint32_t count;            // ids covered (dense) or records (sparse)
        std::vector<uint32_t> rel; // sparse only
        bool sparse;
    };
    struct ClassList {
        std::vector<uint32_t> ids;
        size_t keep = 0, lo = 0, hi = 0;
        size_t live() const { return hi - lo; }
    };
    Segment *find(int64_t id);
    bool locate(int64_t id, Segment *&seg, uint32_t &pos);
    bool live_locked(int64_t id, int32_t cls);
    void release_class(ClassList &c, size_t to);
    void evict();
    void remove_locked(const std::vector<uint32_t> &nos);
    FileRef open_file(char kind, uint32_t no);

    std::mutex mutex_;
    std::string dir_;
    size_t payload_;
    uint64_t field_units_; // 8-byte units per field file
    int64_t capacity_, next_id_ = 0, physical_next_ = 0, live_ = 0;
    std::vector<Segment> segments_;
    std::map<int32_t, ClassList> classes_; // ordered: ties of the eviction go to the smallest class
    std::map<int32_t, std::vector<uint32_t>> subjects_;
    struct Page {
        uint32_t at[1024] = {};
    };
    std::vector<std::unordered_map<uint32_t, std::unique_ptr<Page>>> pages_;
    std::map<uint32_t, uint32_t> field_seed_;
    uint32_t field_base_ = 0;
    bool field_base_set_ = false;
    struct Cached {
        FileRef file;
        uint64_t used;
    };
    std::unordered_map<uint64_t, Cached> files_;
    uint64_t tick_ = 0;
};

} // namespace edgecl
