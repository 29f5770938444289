// Mean and covariance of the patches under a depthwise kernel, over all outputs of a batch.
#pragma once

#include <atomic>

#include "zones.h"

// Sums of one zone: lags (0, 0) to (0, K - 1), the values themselves, then lags (dy, 1 - K) to (dy, K - 1) for dy > 0.
// The other lags are these backwards.
template <int K>
struct Slots {
    static constexpr int count = K + 1 + (K - 1) * (2 * K - 1);
    static constexpr int sum = K;
    static constexpr int lag(int dy, int dx) { return dy == 0 ? dx : K + 1 + (dy - 1) * (2 * K - 1) + dx + K - 1; }
};

// sums[dx] += x(v) shifted(v + dx) along a run, for all lags of one dy; for dy = 0 also the sum of x(v).
template <typename T, int N, int K, bool SameRow>
void add_lags(const T* x, const T* shifted, int64_t count, int64_t step, T* sums) {
    using L = Lanes<T, N>;
    constexpr int lo = SameRow ? 0 : 1 - K, lags = SameRow ? K : 2 * K - 1, total = lags + SameRow;
    typename L::Vec acc[total];
    for (int i = 0; i < total; ++i) acc[i] = L::load(sums + i * N);
    for (int64_t i = 0; i < count; ++i, x += step, shifted += step) {
        const auto value = L::load(x);
        for (int d = 0; d < lags; ++d) acc[d] += value * L::load(shifted + (lo + d) * N);
        if (SameRow) acc[lags] += value;
    }
    for (int i = 0; i < total; ++i) L::store(sums + i * N, acc[i]);
}

// Sums over a batch in double, fed by sums over some hundred pixels in T: as exact as the first, as fast as the second.
template <typename T>
struct Sums {
    void resize(size_t n) {
        if (part.empty()) part.resize(n), total.resize(n);
    }
    // Notes that `pixels` more were added to part[first .. last).
    void added(int64_t pixels, size_t first, size_t last) {
        if ((pending += pixels) < 512) return;
        flush(first, last);
        pending = 0;
    }
    void flush(size_t first, size_t last) {
        for (size_t i = first; i < last; ++i) total[i] += part[i], part[i] = T(0);
    }
    void operator+=(const Sums& other) {
        for (size_t i = 0; i < total.size(); ++i) total[i] += other.total[i] + other.part[i];
    }

    Buffer<T> part;
    Buffer<double> total;
    int64_t pending = 0;
};

// The sums of every block of channels over all chunks of the batch; those of the first chunk hold them afterwards.
template <typename T>
const Buffer<double>& over_chunks(std::vector<Sums<T>>& sums, const Plan& plan, size_t block) {
    sums[block].flush(0, sums[block].total.size());
    for (int64_t chunk = 1; chunk < plan.chunks; ++chunk) sums[block] += sums[chunk * plan.blocks.size() + block];
    return sums[block].total;
}

template <typename T, int N, int K>
void zone_sums(Padded<T, N>& image, const Geometry& g, const Zones& zones, Sums<T>& sums) {
    using S = Slots<K>;
    const size_t zone = S::count * N, row_type = zones.cols.count() * zone;
    sums.resize(zones.rows.count() * row_type);
    for (int type = 0; type < zones.rows.count(); ++type)
        for (int64_t v : zones.rows.positions[type]) {
            for (const Run& run : zones.cols.runs) {
                const T* here = image.at(v, run.first);
                T* to = sums.part.data() + type * row_type + run.type * zone;
                add_lags<T, N, K, true>(here, here, run.count, g.stride * N, to);
                for (int dy = 1; dy < K; ++dy)
                    add_lags<T, N, K, false>(here, here + dy * image.row, run.count, g.stride * N,
                                             to + S::lag(dy, 1 - K) * N);
            }
            sums.added(g.in_w, type * row_type, (type + 1) * row_type);
        }
}

// The mean and covariance of every pair of entries, from the sums (zones, slots, N) of N channels. Returns whether a
// variance is so small against its mean that the difference between the two has lost digits.
template <typename T, int N, int K>
bool assemble(const Buffer<double>& total, const Geometry& g, const Zones& zones, T* mean, T* cov) {
    using S = Slots<K>;
    const double n = (double)(g.batch * g.out_h * g.out_w);
    double m[K * K][N], s[N];
    bool cancels = false;
    auto over_zones = [&](int a, int slot, double* out) {
        std::fill(out, out + N, 0.0);
        for (int z = 0; z < zones.count(); ++z)
            if (zones.allows(z, a / K, a % K))
                for (int j = 0; j < N; ++j) out[j] += total[((size_t)z * S::count + slot) * N + j];
        for (int j = 0; j < N; ++j) out[j] /= n;
    };
    for (int a = 0; a < K * K; ++a) {
        over_zones(a, S::sum, m[a]);
        for (int j = 0; j < N; ++j) mean[j * K * K + a] = (T)m[a][j];
    }
    for (int a = 0; a < K * K; ++a)
        for (int b = a; b < K * K; ++b) {
            over_zones(a, S::lag(b / K - a / K, b % K - a % K), s);
            for (int j = 0; j < N; ++j) {
                const double value = s[j] - m[a][j] * m[b][j];
                cancels |= a == b && m[a][j] * m[a][j] > 100 * value;
                T* to = cov + j * K * K * K * K;
                to[a * K * K + b] = to[b * K * K + a] = (T)value;
            }
        }
    return cancels;
}

// As moments, with sums over some hundred pixels in Sum. Returns whether they lost digits.
template <typename Sum, typename T, int K>
bool moments_in(const T* x, const Geometry& g, T* mean, T* cov) {
    const Zones zones(g, K);
    const Plan plan(g, sizeof(Sum));
    std::vector<Sums<Sum>> sums(plan.slots());
    plan.run<Sum>([&](const Task& task, auto lanes, Scratch<Sum>& scratch) {
        constexpr int N = decltype(lanes)::value;
        auto& image = scratch.template get<N>(0, g.in_h, g.in_w, K - 1);
        for (int64_t b = task.first; b < task.last; ++b) {
            image.fill(x + b * g.in_h * g.in_w * g.in_step + task.block.channel, g.in_step);
            zone_sums<Sum, N, K>(image, g, zones, sums[task.slot]);
        }
    });
    std::atomic<bool> cancels{false};
    plan.each_block([&](const Block& block, size_t i, auto lanes) {
        const int64_t c = block.channel;
        if (assemble<T, decltype(lanes)::value, K>(over_chunks(sums, plan, i), g, zones, mean + c * K * K,
                                                   cov + c * K * K * K * K))
            cancels = true;
    });
    return cancels;
}

// x (B, H, W, C) to mean (C, K * K) and cov (C, K * K, K * K).
template <typename T, int K>
void moments(const T* x, const Geometry& g, T* mean, T* cov) {
    if (moments_in<T, T, K>(x, g, mean, cov) && sizeof(T) < sizeof(double)) moments_in<double, T, K>(x, g, mean, cov);
}
