// A depthwise convolution: its sides, which entries of the kernel meet which position, and how work is cut.
//
// Images are channels-last with any distance between pixels, so that a slice of channels needs no copy.
#pragma once

#include <algorithm>
#include <type_traits>

#include "vectors.h"

// Positions first, first + step, ... of one axis that meet the same entries of the kernel; the j-th of these is
// entry + j * entry_step, and reads at + j * at_step for the first position, `advance` more for each further one.
struct Run {
    int64_t first, count, entries, entry, at;
};

// One position of an axis.
struct Line {
    int64_t position, entries, entry, at;
};

struct Axis {
    int64_t step, advance, entry_step, at_step;
    std::vector<Run> runs;

    // Output u reads input stride * u + a - pad.
    static Axis outputs(int64_t in, int64_t out, int64_t kernel, int64_t stride, int64_t pad) {
        Axis axis{1, stride, 1, 1, {}};
        for (int64_t u = 0; u < out; ++u) {
            const int64_t at = stride * u - pad, low = std::max<int64_t>(0, -at), high = std::min(kernel, in - at);
            axis.add(u, std::max<int64_t>(0, high - low), low, at + low);
        }
        return axis;
    }
    // Input v was read by outputs (v + pad - a) / stride.
    static Axis inputs(int64_t in, int64_t out, int64_t kernel, int64_t stride, int64_t pad) {
        Axis axis{stride, 1, stride, -1, {}};
        for (int64_t rest = 0; rest < std::min(in, stride); ++rest)
            for (int64_t v = rest; v < in; v += stride) {
                const int64_t at = v + pad, beyond = std::max<int64_t>(0, at / stride - (out - 1));
                const int64_t low = at % stride + beyond * stride, high = std::min(kernel - 1, at);
                axis.add(v, high < low ? 0 : (high - low) / stride + 1, low, (at - low) / stride);
            }
        return axis;
    }
    // In the order of their positions.
    std::vector<Line> lines() const {
        std::vector<Line> made;
        for (const Run& run : runs)
            for (int64_t i = 0; i < run.count; ++i)
                made.push_back({run.first + i * step, run.entries, run.entry, run.at + i * advance});
        std::sort(made.begin(), made.end(), [](const Line& a, const Line& b) { return a.position < b.position; });
        return made;
    }

  private:
    void add(int64_t position, int64_t entries, int64_t entry, int64_t at) {
        if (entries == 0) entry = at = 0;  // nothing is read
        if (!runs.empty()) {
            Run& last = runs.back();
            const bool next = last.first + last.count * step == position;
            const bool follows = entries == 0 || at == last.at + last.count * advance;
            if (next && follows && last.entries == entries && last.entry == entry) {
                ++last.count;
                return;
            }
        }
        runs.push_back({position, 1, entries, entry, at});
    }
};

struct Convolution {
    int64_t batch, channels, in_h, in_w, out_h, out_w;
    int64_t kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w;
    int64_t in_step, out_step;  // from one pixel to the next, in values
    int64_t threads;

    Axis output_rows() const { return Axis::outputs(in_h, out_h, kernel_h, stride_h, pad_h); }
    Axis output_cols() const { return Axis::outputs(in_w, out_w, kernel_w, stride_w, pad_w); }
    Axis input_rows() const { return Axis::inputs(in_h, out_h, kernel_h, stride_h, pad_h); }
    Axis input_cols() const { return Axis::inputs(in_w, out_w, kernel_w, stride_w, pad_w); }
};

#ifdef __AVX512F__
constexpr int widest = 16;
#else
constexpr int widest = 8;
#endif

// Calls f(N as a constant) for the widest vectors of channels that there are.
template <typename F>
void with_lanes(int64_t channels, F f) {
    if (channels >= widest) f(std::integral_constant<int, widest>());
    else if (channels >= 8) f(std::integral_constant<int, 8>());
    else if (channels >= 4) f(std::integral_constant<int, 4>());
    else f(std::integral_constant<int, 1>());
}

// Blocks of N channels: the last one may overlap the one before, whose values it computes again.
struct Blocks {
    Blocks(int64_t channels, int64_t lanes) : channels(channels), lanes(lanes) {}
    int64_t count() const { return (channels + lanes - 1) / lanes; }
    int64_t first(int64_t i) const { return std::min(i * lanes, channels - lanes); }

    int64_t channels, lanes;
};

// Some images, or some rows of one: what stays in the second-level cache, where a row takes `bytes`.
struct Parts {
    Parts(int64_t batch, int64_t height, int64_t bytes, int64_t most_images = INT64_MAX)
        : batch(batch),
          height(height),
          band(std::clamp<int64_t>(room / bytes, 1, height)),
          bands((height + band - 1) / band),
          images(std::clamp<int64_t>(room / (bytes * height), 1, std::min(batch, most_images))) {}
    int64_t count() const { return (batch + images - 1) / images * bands; }
    int64_t first_image(int64_t part) const { return part / bands * images; }
    int64_t images_of(int64_t part) const { return std::min(images, batch - first_image(part)); }
    int64_t first_row(int64_t part) const { return part % bands * band; }
    int64_t last_row(int64_t part) const { return std::min(height, first_row(part) + band); }

    static constexpr int64_t room = 1 << 18;
    int64_t batch, height, band, bands, images;
};
