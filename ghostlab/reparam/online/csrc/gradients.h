// Gradients of a depthwise convolution with respect to its kernels and to its input.
#pragma once

#include "moments.h"

template <typename T, int N, int K>
void kernel_sums(Padded<T, N>& image, const T* grad, const Geometry& g, Sums<T>& sums) {
    using L = Lanes<T, N>;
    sums.resize((K * K + 1) * N);
    T *part = sums.part.data(), *bias = part + K * K * N;
    for (int64_t u = 0; u < g.out_h; ++u, grad += g.out_w * g.out_step) {
        for (int ay = 0; ay < K; ++ay) {
            const T* in = image.at(u * g.stride + ay - g.pad, -g.pad);
            typename L::Vec acc[K], plain = {};
            for (int a = 0; a < K; ++a) acc[a] = L::load(part + (ay * K + a) * N);
            for (int64_t w = 0; w < g.out_w; ++w) {
                const auto value = L::load(grad + w * g.out_step);
                for (int a = 0; a < K; ++a) acc[a] += value * L::load(in + (w * g.stride + a) * N);
                if (ay == 0) plain += value;
            }
            for (int a = 0; a < K; ++a) L::store(part + (ay * K + a) * N, acc[a]);
            if (ay == 0) L::store(bias, L::load(bias) + plain);
        }
        sums.added(g.out_w, 0, sums.part.size());
    }
}

// x (B, H, W, C) and grad (B, H', W', C) to d_kernel (C, K * K) and d_bias (C).
template <typename T, int K>
void kernel_gradient(const T* x, const T* grad, const Geometry& g, T* d_kernel, T* d_bias) {
    const Plan plan(g, sizeof(T));
    std::vector<Sums<T>> sums(plan.slots());
    plan.run<T>([&](const Task& task, auto lanes, Scratch<T>& scratch) {
        constexpr int N = decltype(lanes)::value;
        auto& image = scratch.template get<N>(0, g.in_h, g.in_w, g.pad);  // as far as outputs read
        for (int64_t b = task.first; b < task.last; ++b) {
            image.fill(x + b * g.in_h * g.in_w * g.in_step + task.block.channel, g.in_step);
            kernel_sums<T, N, K>(image, grad + b * g.out_h * g.out_w * g.out_step + task.block.channel, g,
                                 sums[task.slot]);
        }
    });
    plan.each_block([&](const Block& block, size_t i, auto lanes) {
        constexpr int N = decltype(lanes)::value;
        const Buffer<double>& total = over_chunks(sums, plan, i);
        for (int j = 0; j < N; ++j) {
            for (int a = 0; a < K * K; ++a) d_kernel[(block.channel + j) * K * K + a] = total[a * N + j];
            d_bias[block.channel + j] = total[K * K * N + j];
        }
    });
}

// What the input gradient needs of one block of channels: for each zone a lag table (2 K - 1)^2 and a constant, so that
// the gradient of the moments at v is constant + sum over lags of table(lag) x(v + lag); after the zones, the kernel.
template <typename T, int N, int K>
struct Taps {
    static constexpr int side = 2 * K - 1, per_zone = side * side + 1;

    static Buffer<T> table(const T* kernel, const T* quadratic, const T* constant, const Zones& zones) {
        Buffer<T> made(((size_t)zones.count() * per_zone + K * K) * N), pairs((K * K + 1) * K * K * N);
        T* last = made.data() + (size_t)zones.count() * per_zone * N;
        for (int j = 0; j < N; ++j)
            for (int a = 0; a < K * K; ++a) {
                last[a * N + j] = kernel[j * K * K + a];
                pairs[(K * K * K * K + a) * N + j] = constant[j * K * K + a];
                for (int b = 0; b < K * K; ++b)
                    pairs[(a * K * K + b) * N + j] = quadratic[(j * K * K + a) * K * K + b];
            }
        for (int z = 0; z < zones.count(); ++z)
            for (int a = 0; a < K * K; ++a)
                if (zones.allows(z, a / K, a % K)) add_entry(made.data() + (size_t)z * per_zone * N, pairs.data(), a);
        return made;
    }

    static void add_entry(T* zone, const T* pairs, int a) {
        using L = Lanes<T, N>;
        auto add = [](T* to, const T* from) { L::store(to, L::load(to) + L::load(from)); };
        add(zone + side * side * N, pairs + (K * K * K * K + a) * N);
        for (int b = 0; b < K * K; ++b) {
            const int lag = (b / K - a / K + K - 1) * side + b % K - a % K + K - 1;
            add(zone + lag * N, pairs + (a * K * K + b) * N);
        }
    }
};

template <typename T>
struct Place {  // where one row of pixels reads and writes; py, px: its position plus the padding
    const T *x, *grad;
    int64_t x_row, grad_row, py, px;
    T* out;
    int64_t out_step;
    uint32_t rows, cols;  // the entries that its zone allows
};

// The gradient at P input pixels of one zone, Stride apart.
template <typename T, int N, int K, int Stride, int P>
inline void input_pixels(const Place<T>& at, const T* lags, const T* kernel) {
    using L = Lanes<T, N>;
    constexpr int side = Taps<T, N, K>::side;
    typename L::Vec acc[P];
    for (int p = 0; p < P; ++p) acc[p] = L::load(lags + side * side * N);
    auto add = [&](const T* tap, const T* in, int step, auto& to) {
        const auto value = L::load(tap);
        for (int p = 0; p < P; ++p) to[p] += value * L::load(in + p * step * N);
    };
    // Few pixels at a time would wait for each sum in turn: give each row of taps a sum of its own.
    auto pick = [](auto& all, auto& row) -> auto& {
        if constexpr (P < 8) return row; else return all;
    };
    // The entries a from first to last meet lags from -last to K - 1 - first.
    const int y0 = __builtin_ctz(at.rows), y1 = 31 - __builtin_clz(at.rows);
    const int x0 = __builtin_ctz(at.cols), x1 = 31 - __builtin_clz(at.cols);
    for (int dy = -y1; dy < K - y0; ++dy) {
        typename L::Vec row[P] = {};
        auto& to = pick(acc, row);
        for (int dx = -x1; dx < K - x0; ++dx)
            add(lags + ((dy + K - 1) * side + dx + K - 1) * N, at.x + dy * at.x_row + dx * N, Stride, to);
        if (P < 8) for (int p = 0; p < P; ++p) acc[p] += row[p];
    }
    for (int ay = y0; ay <= y1; ay += Stride) {
        typename L::Vec row[P] = {};
        auto& to = pick(acc, row);
        for (int ax = x0; ax <= x1; ax += Stride)
            add(kernel + (ay * K + ax) * N,
                at.grad + (at.py - ay) / Stride * at.grad_row + (at.px - ax) / Stride * N, 1, to);
        if (P < 8) for (int p = 0; p < P; ++p) acc[p] += row[p];
    }
    for (int p = 0; p < P; ++p) L::store(at.out + p * Stride * at.out_step, acc[p]);
}

template <typename T, int N, int K, int Stride>
void input_rows(Padded<T, N>& x, Padded<T, N>& grad, const Geometry& g, const Zones& zones, const T* taps, T* out) {
    constexpr int per_zone = Taps<T, N, K>::per_zone * N;
    auto pixels = [&](int64_t v, const Run& run, int type, int64_t done, auto count) {
        const int64_t h = run.first + done * Stride;
        const Place<T> at{x.at(v, h), grad.at(0, 0), x.row, grad.row, v + g.pad, h + g.pad,
                          out + (v * g.in_w + h) * g.channels, g.channels, zones.rows.masks[type],
                          zones.cols.masks[run.type]};
        input_pixels<T, N, K, Stride, decltype(count)::value>(
            at, taps + (type * zones.cols.count() + run.type) * per_zone, taps + zones.count() * per_zone);
    };
    auto all = [&](int64_t v, const Run& run, int type, int64_t& done, auto count) {
        constexpr int P = decltype(count)::value;
        for (; done + P <= run.count; done += P) pixels(v, run, type, done, count);
        if (done < run.count && run.count >= P) {  // the last P pixels, some of them once more
            pixels(v, run, type, run.count - P, count);
            done = run.count;
        }
    };
    for (int type = 0; type < zones.rows.count(); ++type)
        for (int64_t v : zones.rows.positions[type])
            for (const Run& run : zones.cols.runs) {
                int64_t done = 0;
                if (!zones.rows.masks[type] || !zones.cols.masks[run.type]) {  // no output reads these pixels
                    for (; done < run.count; ++done)
                        std::fill_n(out + (v * g.in_w + run.first + done * Stride) * g.channels, N, T(0));
                    continue;
                }
                all(v, run, type, done, std::integral_constant<int, 8>());
                all(v, run, type, done, std::integral_constant<int, 4>());
                all(v, run, type, done, std::integral_constant<int, 1>());
            }
}

// x, grad, kernel (C, K * K), quadratic (C, K * K, K * K) and constant (C, K * K) to the gradient of x (B, H, W, C):
// grad back through the kernel, plus quadratic p + constant of each patch p, added where p was read.
template <typename T, int K>
void input_gradient(const T* x, const T* grad, const T* kernel, const T* quadratic, const T* constant, const Geometry& g,
                    T* out) {
    const Zones zones(g, K);
    const Plan plan(g, sizeof(T));
    std::vector<Buffer<T>> taps(plan.blocks.size());
    plan.each_block([&](const Block& block, size_t i, auto lanes) {
        const int64_t c = block.channel;
        taps[i] = Taps<T, decltype(lanes)::value, K>::table(kernel + c * K * K, quadratic + c * K * K * K * K,
                                                            constant + c * K * K, zones);
    });
    plan.run<T>([&](const Task& task, auto lanes, Scratch<T>& scratch) {
        constexpr int N = decltype(lanes)::value;
        const int64_t c = task.block.channel;
        auto& image = scratch.template get<N>(0, g.in_h, g.in_w, K - 1);
        auto& back = scratch.template get<N>(1, g.out_h, g.out_w, 0);
        const T* table = taps[task.slot % plan.blocks.size()].data();
        for (int64_t b = task.first; b < task.last; ++b) {
            image.fill(x + b * g.in_h * g.in_w * g.in_step + c, g.in_step);
            back.fill(grad + b * g.out_h * g.out_w * g.out_step + c, g.out_step);
            T* to = out + b * g.in_h * g.in_w * g.channels + c;
            if (g.stride == 1) input_rows<T, N, K, 1>(image, back, g, zones, table, to);
            else input_rows<T, N, K, 2>(image, back, g, zones, table, to);
        }
    });
}
