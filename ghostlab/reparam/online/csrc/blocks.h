// What all kernels share: geometry, vectors of channels, padded scratch images, and how work is cut into tasks.
//
// Images are channels-last with any distance between pixels, so that a slice of channels needs no copy.
#pragma once

#include <algorithm>
#include <array>
#include <memory>
#include <tuple>
#include <type_traits>

#include "vectors.h"

struct Geometry {
    int64_t batch, in_h, in_w, out_h, out_w, channels;
    int64_t in_step, out_step;  // from one pixel to the next, in values
    int64_t stride, pad, threads;
};

// N channels of one image, with a margin of zeros on every side.
template <typename T, int N>
struct Padded {
    Padded(int64_t h, int64_t w, int64_t margin)
        : h(h), w(w), margin(margin), row((w + 2 * margin) * N), data((h + 2 * margin) * row) {}

    template <typename Value>
    void fill(const Value* image, int64_t step) {
        using V = typename Lanes<T, N>::Vec;
        for (int64_t y = 0; y < h; ++y) {
            T* to = at(y, 0);
            const Value* from = image + y * w * step;
            for (int64_t x = 0; x < w; ++x)
                Lanes<T, N>::store(to + x * N, __builtin_convertvector(Lanes<Value, N>::load(from + x * step), V));
        }
    }
    T* at(int64_t y, int64_t x) { return data.data() + (y + margin) * row + (x + margin) * N; }

    int64_t h, w, margin, row;
    Buffer<T> data;
};

// Scratch images of one thread, made once: filling them again leaves their margins as they are.
template <typename T>
struct Scratch {
    template <int N>
    Padded<T, N>& get(int which, int64_t h, int64_t w, int64_t margin) {
        auto& made = std::get<std::array<std::unique_ptr<Padded<T, N>>, 2>>(images)[which];
        if (!made) made = std::make_unique<Padded<T, N>>(h, w, margin);
        return *made;
    }
    template <int N>
    using Pair = std::array<std::unique_ptr<Padded<T, N>>, 2>;
    std::tuple<Pair<16>, Pair<8>, Pair<4>, Pair<1>> images;
};

struct Block {
    int lanes;
    int64_t channel;
};

// A block of channels of some images, as one thread takes them; `slot` is where its sums go.
struct Task {
    Block block;
    int64_t slot, first, last;
};

// Cuts channels into blocks of 16, 8, 4 or 1 and the batch into chunks, one for each thread. Which thread does what
// does not depend on timing, so that sums come out the same every time.
struct Plan {
    explicit Plan(const Geometry& g, size_t value) : g(g) {
        for (int64_t c = 0; c < g.channels; c += blocks.back().lanes) {
            const int64_t left = g.channels - c;
            blocks.push_back({left >= 16 ? 16 : left >= 8 ? 8 : left >= 4 ? 4 : 1, c});
        }
        chunks = std::min(g.batch, g.threads);
        groups = std::max<int64_t>(1, std::min<int64_t>(blocks.size(), g.threads / chunks));
        const int64_t image = g.in_h * g.in_w * std::max<int64_t>(1, g.in_step) * value;
        at_once = std::max<int64_t>(1, (1 << 20) / image);  // what stays in the second-level cache
    }
    size_t slots() const { return chunks * blocks.size(); }

    // Calls work(task, lanes as a constant, scratch), in parallel; the tasks of one slot one after the other.
    template <typename T, typename F>
    void run(F work) const {
#pragma omp parallel for schedule(static, 1) num_threads((int)g.threads)
        for (int64_t share = 0; share < chunks * groups; ++share) {
            Scratch<T> scratch;
            const int64_t chunk = share / groups, group = share % groups, count = blocks.size();
            const int64_t end = g.batch * (chunk + 1) / chunks;
            for (int64_t first = g.batch * chunk / chunks; first < end; first += at_once)
                for (int64_t i = count * group / groups; i < count * (group + 1) / groups; ++i)
                    with_lanes(blocks[i].lanes, [&](auto lanes) {
                        work(Task{blocks[i], chunk * count + i, first, std::min(first + at_once, end)}, lanes, scratch);
                    });
        }
    }

    // Calls work(block, its index, lanes as a constant) once for each block, in parallel.
    template <typename F>
    void each_block(F work) const {
#pragma omp parallel for schedule(static) num_threads((int)g.threads)
        for (size_t i = 0; i < blocks.size(); ++i)
            with_lanes(blocks[i].lanes, [&](auto lanes) { work(blocks[i], i, lanes); });
    }

    template <typename F>
    static void with_lanes(int lanes, F f) {
        switch (lanes) {
            case 16: f(std::integral_constant<int, 16>()); break;
            case 8: f(std::integral_constant<int, 8>()); break;
            case 4: f(std::integral_constant<int, 4>()); break;
            default: f(std::integral_constant<int, 1>());
        }
    }

    Geometry g;
    std::vector<Block> blocks;
    int64_t chunks, groups, at_once;
};
