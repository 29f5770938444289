// Which entries of a kernel meet an input position.
//
// Entry a of the patch of output u reads input v = stride * u + a - pad. So at input position v the outputs that exist
// allow a set of entries, the same for almost all v: a "type" of row or column. A zone is a type of row with a type of
// column. A sum over all patches of p_a p_b is a sum over v of x(v) x(v + b - a) in the zones that allow a: one product
// a lag b - a instead of one a pair (a, b), and the borders come out exactly.
#pragma once

#include "blocks.h"

struct Run {
    int64_t first, count;  // positions first, first + stride, ...
    int type;
};

struct Axis {
    Axis(int64_t in, int64_t out, int kernel, int64_t stride, int64_t pad) {
        for (int64_t v = 0; v < in; ++v) {
            uint32_t mask = 0;
            for (int a = 0; a < kernel; ++a) {
                const int64_t u = v + pad - a;
                if (u >= 0 && u % stride == 0 && u / stride < out) mask |= 1u << a;
            }
            const int type = std::find(masks.begin(), masks.end(), mask) - masks.begin();
            if (type == (int)masks.size()) masks.push_back(mask), positions.emplace_back();
            positions[type].push_back(v);
        }
        for (int type = 0; type < count(); ++type)
            for (int64_t v : positions[type]) {
                const bool joins =
                    !runs.empty() && runs.back().type == type && runs.back().first + runs.back().count * stride == v;
                if (joins) ++runs.back().count;
                else runs.push_back({v, 1, type});
            }
    }
    int count() const { return (int)masks.size(); }
    bool allows(int type, int a) const { return masks[type] >> a & 1; }

    std::vector<uint32_t> masks;  // of each type: the entries that it allows
    std::vector<std::vector<int64_t>> positions;
    std::vector<Run> runs;
};

struct Zones {
    Zones(const Geometry& g, int kernel)
        : rows(g.in_h, g.out_h, kernel, g.stride, g.pad), cols(g.in_w, g.out_w, kernel, g.stride, g.pad) {}
    int count() const { return rows.count() * cols.count(); }
    bool allows(int zone, int ay, int ax) const {
        return rows.allows(zone / cols.count(), ay) && cols.allows(zone % cols.count(), ax);
    }

    Axis rows, cols;
};
