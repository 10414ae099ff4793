// The part of a store that random access needs in RAM, behind one lock: where every record is (segments.h), which are live
// (catalog.h), where field values stand (field_map.h); and reading, which takes the lock only to look a place up.
#pragma once
#include "append.h"
#include "catalog.h"
#include "field_map.h"
#include "id_set.h"
#include "pack.h"
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

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
    uint64_t offset = 0, end = 0;  // end: of the space it may take, where records vary in length
    uint64_t table_at = 0;         // where to look its offset up first; 0: it is known
    bool last = false;             // the last entry of that table
    uint32_t seed = 0, rel = 0;
};

// kUnread: the device did not give it; it may another time, so nobody drops it.
enum Status : uint8_t { kOk = 0, kUnknown = 1, kDamaged = 2, kNotLive = 3, kNotCached = 4, kUnread = 5 };

struct Record {
    Status status = kUnknown;
    int32_t cls = -1, subject = -1;
    int64_t time = 0;
};

// How samples are encoded. `stored`: bytes of an encoded sample where all have the same, 0 where they vary.
struct Encoding {
    size_t payload, stored;
    uint8_t codec;
    size_t scales;   // int8: one per channel
    size_t seal = 0; // bytes that encryption adds to a sample (they vary then) and to a field value
};

class Index {
  public:
    // Decodes codec, bytes [n] into `payload` bytes; false when they make no sample. Called without locks.
    using Decoder = std::function<bool(uint8_t codec, const uint8_t *from, size_t n, uint8_t *to)>;

    Index(std::string dir, Encoding encoding, size_t n_fields, uint64_t field_file_bytes, int64_t capacity,
          Eviction policy, uint64_t seed);
    ~Index();
    Decoder decoder;
    Decoder field_decoder; // of sealed values: the field's number for the codec

    // --- segments ---
    // `replaces`: segments whose retained records the new one took over (compaction), swapped in one step
    void add_segment(Segment s, const std::vector<uint32_t> &replaces);
    void add_records(uint32_t no, size_t n, const uint8_t *ok, const uint32_t *rel, const int32_t *cls,
                     const int32_t *subject, const uint32_t *offset); // rel ascending, behind what is known of it
    void seal_segment(uint32_t no, uint64_t end, uint64_t table_at); // its offsets can be read from its footer
    void remove_segments(const std::vector<uint32_t> &nos);          // forgets the places, not the class lists
    struct SegmentInfo {
        uint32_t no;
        uint64_t first_id;
        uint32_t count, retained;
    };
    std::vector<SegmentInfo> segments();
    std::vector<int64_t> retained_ids(uint32_t no);
    std::vector<int64_t> ids_of_segment(uint32_t no); // every id it has a place for, hidden and evicted included
    std::pair<uint32_t, uint64_t> where(int64_t id);  // segment number and byte offset; (0, 0) for none

    // --- the view; everything else about ids is asked of the catalog under `lock` ---
    void advance(const int32_t *cls, size_t n);
    // cls < -1: unknown. unread: it stays on flash, and files that hold it are not given up.
    void remove_id(int64_t id, int32_t cls, bool unread);
    // Other classes (-1: none) for live ids, ascending; those that were not live. `mark_relabelled`: ids that got their
    // present class so before the store was opened.
    std::vector<int64_t> relabel(const int64_t *ids, const int32_t *cls, size_t n);
    void mark_relabelled(const int64_t *ids, const int32_t *cls, size_t n);
    int32_t class_now(int64_t id, int32_t recorded); // the class of a record that was written with `recorded`
    std::vector<int64_t> forget(int32_t subject, int64_t below); // takes a subject's ids out; those that were here
    bool live(int64_t id, int32_t cls);
    std::vector<uint8_t> are_live(const int64_t *ids, size_t n); // whatever their class
    int64_t physical_next();
    template <class F> auto with_catalog(F f) {
        std::lock_guard<std::mutex> lock(mutex_);
        return f(catalog_);
    }

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
    // Decoded: payload() bytes. cached_only: kNotCached instead of waiting for the device.
    Record read(const Place &p, uint8_t *to, bool cached_only = false) const;
    // Bytes of the value (<= max) or 0 when it is damaged, of another field, or belongs to another id; kUncached instead
    // of waiting for the device when cached_only.
    static constexpr size_t kUncached = ~size_t{0};
    size_t read_field(const Place &p, size_t field, int64_t id, uint8_t *to, size_t max, bool cached_only = false);
    void read_many(const int64_t *ids, size_t n, bool hidden, uint8_t *to, int32_t *cls, int32_t *subject,
                   int64_t *time, uint8_t *status);
    void read_fields(size_t field, const int64_t *ids, size_t n, uint8_t *to, size_t max, uint32_t *bytes);
    // Writes the records of `ids` (ascending), encoded as they are, behind `at` with rel counted from `first`.
    struct Copied {
        std::vector<uint8_t> status;
        std::vector<int32_t> cls, subject;
        Appended written;
    };
    Copied copy_records(const int64_t *ids, size_t n, int fd, uint64_t at, uint64_t first, uint32_t seed);
    // Draws one live id of each class: candidates[t][i] are uniform 64-bit numbers; the first that is not in `taken`
    // wins; -1 when the class has no other id. Adds the winners to `taken`.
    void draw(const int32_t *cls, size_t n, const uint64_t *candidates, size_t tries, IdSet &taken, int64_t *ids);

    size_t payload() const { return encoding_.payload; }
    size_t seal() const { return encoding_.seal; }
    size_t n_fields() const { return fields_.size(); }
    size_t bytes();
    mutable std::atomic<uint64_t> bytes_read{0};
    std::atomic<uint64_t> damaged_fields{0};

  private:
    bool place_locked(int64_t id, Place &to);
    FileRef open_file(char kind, uint32_t no);
    Status read_encoded(const Place &p, RecordHead &h, std::vector<uint8_t> &payload, bool cached_only) const;
    bool decode(const RecordHead &h, const uint8_t *from, uint8_t *to) const;

    std::mutex mutex_;
    std::string dir_;
    Encoding encoding_;
    uint64_t field_units_; // 8-byte units per field file
    int64_t physical_next_ = 0;
    Segments segments_;
    Catalog catalog_;
    std::atomic<bool> relabelled_{false}; // some id was: until then nobody has to ask
    std::vector<FieldMap> fields_;
    std::unordered_map<uint32_t, uint32_t> field_seed_;
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
