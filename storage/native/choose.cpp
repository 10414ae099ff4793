#include "choose.h"
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <unordered_map>

namespace edgecl {
namespace {
constexpr double kRounding = 1e-9; // of ratio * rows

struct Score {
    int64_t label;
    bool wrong;
    double key; // ascending
};

Score score(const float *z, int64_t y, size_t units) {
    size_t best = 0;
    for (size_t u = 1; u < units; ++u)
        if (z[u] > z[best]) best = u;
    double total = 0, weighted = 0;
    for (size_t u = 0; u < units; ++u) {
        double d = static_cast<double>(z[u]) - z[best], e = std::exp(d);
        if (e > 0) total += e, weighted += e * d;
    }
    double entropy = std::log(total) - weighted / total;
    bool wrong = static_cast<int64_t>(best) != y;
    if (std::isnan(entropy)) return {y, wrong, std::numeric_limits<double>::infinity()};
    return {y, wrong, wrong ? -entropy : entropy};
}
} // namespace

// Fisher and Yates on the list of occupied slots, of which only the places that were exchanged are kept.
std::vector<int64_t> draw_occupied(const SlotSet &occupied, size_t k, BitGenerator &random) {
    const size_t n = occupied.count();
    k = std::min(k, n);
    std::vector<int64_t> out(k);
    std::unordered_map<size_t, size_t> moved; // place -> rank of the slot that stands there now
    auto at = [&](size_t place) {
        auto m = moved.find(place);
        return m == moved.end() ? place : m->second;
    };
    for (size_t i = 0; i < k; ++i) {
        size_t j = i + random.below(n - i), rank = at(j);
        moved[j] = at(i);
        out[i] = static_cast<int64_t>(occupied.kth(rank));
    }
    return out;
}

std::vector<int64_t> choose_balanced(const float *logits, const int64_t *y, size_t rows, size_t units, double ratio,
                                     BitGenerator &random) {
    std::vector<Score> scores(rows);
    for (size_t r = 0; r < rows; ++r) scores[r] = score(logits + r * units, y[r], units);
    std::vector<int64_t> order(rows);
    std::iota(order.begin(), order.end(), int64_t{0});
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
        const Score &p = scores[static_cast<size_t>(a)], &q = scores[static_cast<size_t>(b)];
        if (p.label != q.label) return p.label < q.label;
        return p.wrong != q.wrong ? q.wrong : p.key < q.key;
    });
    struct Group {
        size_t first, quota;
    };
    std::vector<Group> groups;
    std::vector<size_t> rest; // groups with a fractional share
    size_t given = 0;
    for (size_t i = 0, j; i < rows; i = j) {
        for (j = i + 1; j < rows && y[order[j]] == y[order[i]];) ++j;
        double share = ratio * static_cast<double>(j - i);
        auto quota = static_cast<size_t>(share + kRounding);
        if (share - static_cast<double>(quota) > kRounding) rest.push_back(groups.size());
        groups.push_back({i, quota});
        given += quota;
    }
    auto wanted = std::min(rows, static_cast<size_t>(std::ceil(ratio * static_cast<double>(rows) - kRounding)));
    size_t extra = std::min(wanted - std::min(wanted, given), rest.size());
    for (size_t i = 0; i < extra; ++i) {
        std::swap(rest[i], rest[i + random.below(rest.size() - i)]);
        ++groups[rest[i]].quota;
    }
    std::vector<int64_t> chosen;
    for (const Group &g : groups) chosen.insert(chosen.end(), &order[g.first], &order[g.first] + g.quota);
    return chosen;
}

} // namespace edgecl
