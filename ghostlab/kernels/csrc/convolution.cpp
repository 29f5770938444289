// Depthwise convolutions and their gradients, for the data type VALUE, by plain C entry points.
//
// Every value is summed in an order that depends on the geometry alone, not on the number of threads.
#include "geometry.h"

namespace {

// Where the values are that the sum for one pixel takes: distances from one entry of the kernel to the next.
struct Patch {
    int64_t rows, cols, in_row, in_col, kernel_row, kernel_col;
    bool more;  // channels after these
};

// out[p] = bias + the sum of kernel times in over a patch of Cols columns (0: any number), for P pixels. Of those, the
// next N channels are fetched into the cache meanwhile.
template <typename T, int N, int P, int Cols>
inline void pixels(const Patch& patch, const T* in, int64_t in_step, const T* kernel, const T* bias, T* out,
                   int64_t out_step) {
    using L = Lanes<T, N>;
    typename L::Vec acc[P];
    if (patch.more)
        for (int p = 0; p < P; ++p) {
            __builtin_prefetch(in + p * in_step + N);
            __builtin_prefetch(out + p * out_step + N, 1);
        }
    for (int p = 0; p < P; ++p) acc[p] = bias ? L::load(bias) : typename L::Vec{};
    for (int64_t i = 0; i < patch.rows; ++i, in += patch.in_row, kernel += patch.kernel_row) {
        const T *from = in, *tap = kernel;
        const int64_t cols = Cols ? Cols : patch.cols;
        for (int64_t j = 0; j < cols; ++j, from += patch.in_col, tap += patch.kernel_col) {
            const auto value = L::load(tap);
            for (int p = 0; p < P; ++p) acc[p] += value * L::load(from + p * in_step);
        }
    }
    for (int p = 0; p < P; ++p) L::store(out + p * out_step, acc[p]);
}

template <typename T, int N, int Cols>
void more_pixels(const Patch& patch, int64_t count, const T* in, int64_t in_step, const T* kernel, const T* bias,
                 T* out, int64_t out_step) {
    int64_t done = 0;
    auto some = [&](auto constant) {
        constexpr int P = decltype(constant)::value;
        for (; done + P <= count; done += P)
            pixels<T, N, P, Cols>(patch, in + done * in_step, in_step, kernel, bias, out + done * out_step, out_step);
    };
    some(std::integral_constant<int, 8>());
    some(std::integral_constant<int, 4>());
    some(std::integral_constant<int, 2>());
    some(std::integral_constant<int, 1>());
}

template <typename T, int N>
void some_pixels(const Patch& patch, int64_t count, const T* in, int64_t in_step, const T* kernel, const T* bias,
                 T* out, int64_t out_step) {
    switch (patch.cols) {
        case 1: return more_pixels<T, N, 1>(patch, count, in, in_step, kernel, bias, out, out_step);
        case 2: return more_pixels<T, N, 2>(patch, count, in, in_step, kernel, bias, out, out_step);
        case 3: return more_pixels<T, N, 3>(patch, count, in, in_step, kernel, bias, out, out_step);
        case 5: return more_pixels<T, N, 5>(patch, count, in, in_step, kernel, bias, out, out_step);
        default: return more_pixels<T, N, 0>(patch, count, in, in_step, kernel, bias, out, out_step);
    }
}

// From in (B, h, w, C) with kernel (K, C) to out (B, H, W, C), dense.
template <typename T>
struct Correlation {
    const T *in, *kernel, *bias;
    T* out;
    int64_t in_h, in_w, in_step, out_h, out_w, kernel_w, channels;
    Axis rows, cols;

    // One row of some images, N channels from c on.
    template <int N>
    void row(int64_t image, int64_t images, const Line& line, int64_t c) const {
        const int64_t row = in_w * in_step, in_image = in_h * row, out_image = out_h * out_w * channels;
        const T* from = in + image * in_image + line.at * row + c;
        T* to = out + image * out_image + line.position * out_w * channels + c;
        const T* plus = bias ? bias + c : nullptr;
        const int64_t next_in = cols.advance * in_step, next_out = cols.step * channels;
        for (const Run& run : cols.runs) {
            const T* taps = kernel + (line.entry * kernel_w + run.entry) * channels + c;
            const Patch patch{line.entries,          run.entries,
                              rows.at_step * row,    cols.at_step * in_step,
                              rows.entry_step * kernel_w * channels, cols.entry_step * channels, c + N < channels};
            const T* first = from + run.at * in_step;
            T* target = to + run.first * channels;
            if (run.count >= images)
                for (int64_t b = 0; b < images; ++b)
                    some_pixels<T, N>(patch, run.count, first + b * in_image, next_in, taps, plus,
                                      target + b * out_image, next_out);
            else
                for (int64_t p = 0; p < run.count; ++p)
                    some_pixels<T, N>(patch, images, first + p * next_in, in_image, taps, plus, target + p * next_out,
                                      out_image);
        }
    }

    template <int N>
    void all(int64_t batch, int64_t threads) const {
        const Blocks blocks(channels, N);
        const std::vector<Line> lines = rows.lines();
        const Parts parts(batch, out_h, (in_w * in_h / out_h + out_w) * channels * sizeof(T));
#pragma omp parallel for schedule(static) num_threads((int)threads)
        for (int64_t part = 0; part < parts.count(); ++part)
            for (int64_t i = 0; i < blocks.count(); ++i)
                for (int64_t l = parts.first_row(part); l < parts.last_row(part); ++l)
                    row<N>(parts.first_image(part), parts.images_of(part), lines[l], blocks.first(i));
    }
};

// From (C, K) to (K, C).
template <typename T>
Buffer<T> transposed(const T* kernel, int64_t channels, int64_t entries) {
    Buffer<T> made(channels * entries);
    for (int64_t c = 0; c < channels; ++c)
        for (int64_t a = 0; a < entries; ++a) made[a * channels + c] = kernel[c * entries + a];
    return made;
}

// What the sums of one row of outputs read: distances from one pixel and from one image to the next.
template <typename T>
struct Products {
    const T *x, *grad;
    int64_t x_step, x_next, x_image, grad_step, grad_image, pixels, images;
    bool more;  // channels after these

    // sums[a] += grad x[a] over all pixels of all images, for A entries side by side.
    template <int N, int A>
    void add(int64_t done, T* sums) const {
        using L = Lanes<T, N>;
        typename L::Vec acc[A];
        for (int a = 0; a < A; ++a) acc[a] = L::load(sums + a * N);
        for (int64_t b = 0; b < images; ++b) {
            const T *from = x + b * x_image + done * x_step, *back = grad + b * grad_image;
            for (int64_t i = 0; i < pixels; ++i, from += x_next, back += grad_step) {
                const auto value = L::load(back);
                if (more) {
                    __builtin_prefetch(back + N);
                    __builtin_prefetch(from + N);
                }
                for (int a = 0; a < A; ++a) acc[a] += value * L::load(from + a * x_step);
            }
        }
        for (int a = 0; a < A; ++a) L::store(sums + a * N, acc[a]);
    }

    template <int N>
    void add_all(int64_t entries, T* sums) const {
        int64_t done = 0;
        auto some = [&](auto constant) {
            constexpr int A = decltype(constant)::value;
            for (; done + A <= entries; done += A) add<N, A>(done, sums + done * N);
        };
        some(std::integral_constant<int, 5>());
        some(std::integral_constant<int, 3>());
        some(std::integral_constant<int, 2>());
        some(std::integral_constant<int, 1>());
    }

    template <int N>
    void add_grad(T* sums) const {
        using L = Lanes<T, N>;
        auto acc = L::load(sums);
        for (int64_t b = 0; b < images; ++b)
            for (int64_t i = 0; i < pixels; ++i) acc += L::load(grad + b * grad_image + i * grad_step);
        L::store(sums, acc);
    }
};

// Sums of some blocks of N channels, (entries, N) each: over some hundred pixels in T, over those in double.
template <typename T>
struct Sums {
    Sums() = default;
    Sums(int64_t blocks, int64_t size) : size(size), part(blocks * size), total(blocks * size), pending(blocks) {}
    T* of(int64_t block) { return part.data() + block * size; }
    void added(int64_t block, int64_t pixels) {
        if ((pending[block] += pixels) >= limit) flush(block);
    }
    void flush(int64_t block) {
        T* from = of(block);
        double* to = total.data() + block * size;
        for (int64_t i = 0; i < size; ++i) to[i] += from[i], from[i] = T(0);
        pending[block] = 0;
    }

    static constexpr int64_t limit = 512;
    int64_t size = 0;
    Buffer<T> part;
    Buffer<double> total;
    std::vector<int64_t> pending;
};

template <typename T, int N>
struct KernelGradient {
    const T *x, *grad;
    const Convolution& g;
    bool with_bias;
    Axis rows = g.output_rows(), cols = g.output_cols();
    Blocks blocks{g.channels, N};
    std::vector<Line> lines = rows.lines();
    int64_t entries = g.kernel_h * g.kernel_w;
    // Chunks of images, each in groups of blocks: enough for any number of threads, and the same for all of them.
    int64_t chunks =
        std::clamp<int64_t>(g.batch * g.out_h * g.out_w / (32 * entries), 1, std::min<int64_t>(g.batch, 16));
    int64_t groups = std::clamp<int64_t>(16 / chunks, 1, blocks.count());

    void row(int64_t image, int64_t images, const Line& line, int64_t c, T* sums) const {
        const int64_t x_row = g.in_w * g.in_step, grad_row = g.out_w * g.out_step;
        const T* from = x + (image * g.in_h + line.at) * x_row + c;
        const T* back = grad + (image * g.out_h + line.position) * grad_row + c;
        for (const Run& run : cols.runs) {
            Products<T> sum{from + run.at * g.in_step, back + run.first * g.out_step, g.in_step,
                            cols.advance * g.in_step,  g.in_h * x_row,                g.out_step,
                            g.out_h * grad_row,        run.count,                     images, c + N < g.channels};
            if (with_bias) sum.template add_grad<N>(sums + entries * N);
            for (int64_t i = 0; i < line.entries; ++i, sum.x += x_row)
                sum.template add_all<N>(run.entries, sums + ((line.entry + i) * g.kernel_w + run.entry) * N);
        }
    }

    Sums<T> of(int64_t chunk, int64_t group) const {
        const int64_t begin = g.batch * chunk / chunks, end = g.batch * (chunk + 1) / chunks;
        const int64_t low = blocks.count() * group / groups, high = blocks.count() * (group + 1) / groups;
        const int64_t line = (g.in_w * g.in_h / g.out_h + g.out_w) * g.channels * sizeof(T) / groups;
        const Parts parts(end - begin, g.out_h, line, std::max<int64_t>(1, Sums<T>::limit / g.out_w));
        Sums<T> own(high - low, (entries + 1) * N);
        for (int64_t part = 0; part < parts.count(); ++part)
            for (int64_t i = low; i < high; ++i)
                for (int64_t l = parts.first_row(part); l < parts.last_row(part); ++l) {
                    row(begin + parts.first_image(part), parts.images_of(part), lines[l], blocks.first(i),
                        own.of(i - low));
                    own.added(i - low, parts.images_of(part) * g.out_w);
                }
        for (int64_t i = low; i < high; ++i) own.flush(i - low);
        return own;
    }

    void all(T* d_kernel, T* d_bias) const {
        std::vector<Sums<T>> sums(chunks * groups);
#pragma omp parallel for schedule(static) num_threads((int)g.threads)
        for (int64_t task = 0; task < chunks * groups; ++task) sums[task] = of(task / groups, task % groups);
        for (int64_t group = 0; group < groups; ++group) {
            Buffer<double>& total = sums[group].total;
            for (int64_t chunk = 1; chunk < chunks; ++chunk)
                for (size_t i = 0; i < total.size(); ++i) total[i] += sums[chunk * groups + group].total[i];
            const int64_t low = blocks.count() * group / groups, high = blocks.count() * (group + 1) / groups;
            for (int64_t i = low; i < high; ++i)
                write(total.data() + (i - low) * (entries + 1) * N, i, d_kernel, d_bias);
        }
    }

    void write(const double* total, int64_t block, T* d_kernel, T* d_bias) const {
        for (int64_t j = 0; j < N; ++j) {
            const int64_t c = blocks.first(block) + j;
            for (int64_t a = 0; a < entries; ++a) d_kernel[c * entries + a] = (T)total[a * N + j];
            if (with_bias) d_bias[c] = (T)total[entries * N + j];
        }
    }
};

}  // namespace

// x (B, H, W, C), kernel (C, K) and bias (C) or null to out (B, H', W', C).
extern "C" void convolve(const Convolution* g, const VALUE* x, const VALUE* kernel, const VALUE* bias, VALUE* out) {
    const Buffer<VALUE> taps = transposed(kernel, g->channels, g->kernel_h * g->kernel_w);
    const Correlation<VALUE> sums{x, taps.data(), bias, out, g->in_h, g->in_w, g->in_step, g->out_h, g->out_w,
                                  g->kernel_w, g->channels, g->output_rows(), g->output_cols()};
    with_lanes(g->channels, [&](auto lanes) { sums.template all<decltype(lanes)::value>(g->batch, g->threads); });
}

// grad (B, H', W', C) and kernel (C, K) to the gradient of the input (B, H, W, C).
extern "C" void input_gradient(const Convolution* g, const VALUE* grad, const VALUE* kernel, VALUE* out) {
    const Buffer<VALUE> taps = transposed(kernel, g->channels, g->kernel_h * g->kernel_w);
    const Correlation<VALUE> sums{grad, taps.data(), nullptr, out, g->out_h, g->out_w, g->out_step, g->in_h, g->in_w,
                                  g->kernel_w, g->channels, g->input_rows(), g->input_cols()};
    with_lanes(g->channels, [&](auto lanes) { sums.template all<decltype(lanes)::value>(g->batch, g->threads); });
}

// x (B, H, W, C) and grad (B, H', W', C) to the gradients of kernel (C, K) and, unless null, bias (C).
extern "C" void kernel_gradient(const Convolution* g, const VALUE* x, const VALUE* grad, VALUE* d_kernel,
                                VALUE* d_bias) {
    with_lanes(g->channels, [&](auto lanes) {
        const KernelGradient<VALUE, decltype(lanes)::value> sums{x, grad, *g, d_bias != nullptr};
        sums.all(d_kernel, d_bias);
    });
}
