// Max pooling with its ReLU.

#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "blocks.h"

namespace fire {

constexpr int32_t NOWHERE = 255;  // the ReLU took the maximum away

// Max pools, their sizes rounded up.
struct Pool {
    int64_t images, height, width, channels, kernel, step, out_height, out_width;
};

// The maximum over each window of at(x), which is `lowest` at least, and where in the window it is; done(first output,
// count, maximum, x there, place) takes it.
template <typename T, typename At, typename Done>
void pool_windows(const T* x, const Pool& p, float lowest, int threads, At at, Done done) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t line = 0; line < p.images * p.out_height; ++line) {
        const int64_t top = line % p.out_height * p.step, bottom = std::min(top + p.kernel, p.height);
        const T* image = x + line / p.out_height * p.height * p.width * p.channels;
        for (int64_t column = 0; column < p.out_width; ++column) {
            const int64_t left = column * p.step, right = std::min(left + p.kernel, p.width);
            by_blocks(p.channels, [&](int64_t c, auto count) {
                Floats most = Floats{} + lowest, there{};
                Ints where = Ints{} + (lowest < 0.0f ? 0 : NOWHERE);
                for (int64_t i = top; i < bottom; ++i)
                    for (int64_t j = left; j < right; ++j) {
                        const Floats v = load(image + (i * p.width + j) * p.channels + c, count), z = at(c, count, v);
                        const Ints more = (z > most) | (z != z);  // not a number is passed on
                        most = more ? z : most;
                        there = more ? v : there;
                        where = more ? Ints{} + int32_t((i - top) * p.kernel + j - left) : where;
                    }
                done((line * p.out_width + column) * p.channels + c, count, most, there, where);
            });
        }
    }
}

// For each line of the map before the pool, the gradients that go to its pixels, summed in fp32 since windows overlap;
// done(line, sums) takes them. The last window may reach over the border, or, with a large step, end before it.
template <typename T, typename Done>
void unpool_lines(const T* gy, const uint8_t* place, const Pool& p, int threads, Done done) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t line = 0; line < p.images * p.height; ++line) {
        const int64_t y = line % p.height, image = line / p.height * p.out_height;
        const int64_t first = y < p.kernel ? 0 : (y - p.kernel) / p.step + 1, last = std::min(y / p.step, p.out_height - 1);
        std::vector<float> sums(std::max((p.out_width - 1) * p.step + p.kernel, p.width) * p.channels);
        for (int64_t row = first; row <= last; ++row)
            for (int64_t column = 0; column < p.out_width; ++column) {
                const int64_t at = ((image + row) * p.out_width + column) * p.channels;
                by_blocks(p.channels, [&](int64_t c, auto count) {
                    const Floats grad = load(gy + at + c, count);
                    const Ints where = __builtin_convertvector(read<Bytes>(place + at + c, count), Ints);
                    for (int64_t j = 0; j < p.kernel; ++j) {
                        float* sum = &sums[(column * p.step + j) * p.channels + c];
                        const Ints here = where == int32_t((y - row * p.step) * p.kernel + j);
                        store(sum, load(sum, count) + (here ? grad : Floats{}), count);
                    }
                });
            }
        done(line, sums.data());
    }
}

template <typename T>
void pool_forward(const T* x, const Pool& p, bool relu, T* y, uint8_t* place, int threads) {
    pool_windows(
        x, p, relu ? 0.0f : -std::numeric_limits<float>::infinity(), threads,
        [](int64_t, auto, Floats v) { return v; },
        [&](int64_t to, auto count, Floats most, Floats, Ints where) {
            store(y + to, most, count);
            write(place + to, __builtin_convertvector(where, Bytes), count);
        });
}

template <typename T>
void pool_backward(const T* gy, const uint8_t* place, const Pool& p, T* gx, int threads) {
    const int64_t width = p.width * p.channels;
    unpool_lines(gy, place, p, threads, [&](int64_t line, const float* sums) {
        by_blocks(width, [&](int64_t i, auto count) { store(gx + line * width + i, load(sums + i, count), count); });
    });
}

}  // namespace fire
