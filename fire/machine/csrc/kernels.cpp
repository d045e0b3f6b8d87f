// Batch normalisation with its ReLU, and max pooling, on images in channels_last order: rows of channels.
//
// The same functions as torch's, with less traffic: each reads and writes a map as few times as it can, in bf16 or
// fp32 as it comes, and computes in fp32. A map is a matrix of `rows` (all pixels of all images) by `channels`; a
// part of a concatenated map is one whose rows lie `stride` elements apart. Sums are made over pieces of a fixed
// number of rows and added up in order, so results do not depend on the number of threads.
//
// Compiled by native.py; called from kernels.py, for the layers that accelerate.py takes.

#include <cstdint>
#include <limits>
#include <vector>

#include "blocks.h"
#include "norm.h"
#include "pool.h"

namespace fire {

// Normalisation, then max pool: the normalised map is never written. `there` keeps x at the maxima, for the sums.
template <typename T>
void norm_pool_forward(const T* x, const Pool& p, const float* weight, const float* bias, float eps, float momentum,
                       float* running_mean, float* running_var, float* mean, float* invstd, bool relu, T* y, T* there,
                       uint8_t* place, int threads) {
    const int64_t rows = p.images * p.height * p.width;
    statistics(x, rows, p.channels, eps, momentum, running_mean, running_var, mean, invstd, threads);
    const Affine affine(p.channels, weight, bias, mean, invstd);
    pool_windows(
        x, p, relu ? 0.0f : -std::numeric_limits<float>::infinity(), threads,
        [&](int64_t c, auto count, Floats v) {
            return v * load(&affine.scale[c], count) + load(&affine.shift[c], count);
        },
        [&](int64_t to, auto count, Floats most, Floats at, Ints where) {
            store(y + to, most, count);
            store(there + to, at, count);
            write(place + to, __builtin_convertvector(where, Bytes), count);
        });
}

template <typename T>
void norm_pool_backward(const T* x, const T* gy, const T* there, const uint8_t* place, const Pool& p,
                        const float* weight, const float* bias, const float* mean, const float* invstd, T* gx,
                        float* gweight, float* gbias, int threads) {
    const Affine affine(p.channels, weight, bias, mean, invstd);
    const Shape pooled(p.images * p.out_height * p.out_width, p.channels, true);
    const std::vector<float> means = pooled.repeated(mean);
    std::vector<double> sum, product;
    sum_rows(
        pooled, threads,
        [&](int64_t row, int64_t c, auto count, Floats& a, Floats& b) {
            const int64_t at = row * pooled.width() + c;
            const Ints where = __builtin_convertvector(read<Bytes>(place + at, count), Ints);
            const Floats g = where == NOWHERE ? Floats{} : load(gy + at, count);
            a += g;
            b += g * (load(there + at, count) - load(&means[c], count));
        },
        sum, product);
    const Backward back(affine, p.images * p.height * p.width, sum, product, mean, invstd, gweight, gbias);
    unpool_lines(gy, place, p, threads, [&](int64_t line, const float* sums) {
        for (int64_t i = 0; i < p.width; ++i)
            by_blocks(p.channels, [&](int64_t c, auto count) {
                const int64_t at = (line * p.width + i) * p.channels + c;
                const Floats g = load(sums + i * p.channels + c, count) * load(&affine.scale[c], count);
                const Floats of_x = load(x + at, count) * load(&back.slope[c], count);
                store(gx + at, g + of_x + load(&back.constant[c], count), count);
            });
    });
}

}  // namespace fire

using namespace fire;

#define EXPORT(T, name)                                                                                               \
    extern "C" void norm_forward_##name(const T* x, int64_t rows, int64_t channels, const float* weight,              \
                                        const float* bias, float eps, float momentum, float* running_mean,            \
                                        float* running_var, float* mean, float* invstd, int relu, T* y,               \
                                        int64_t stride, int threads) {                                                \
        norm_forward(x, rows, channels, weight, bias, eps, momentum, running_mean, running_var, mean, invstd,         \
                     relu != 0, y, stride, threads);                                                                  \
    }                                                                                                                 \
    extern "C" void norm_backward_##name(const T* x, const T* gy, int64_t stride, int64_t rows, int64_t channels,     \
                                         const float* weight, const float* bias, const float* mean,                   \
                                         const float* invstd, int relu, T* gx, float* gweight, float* gbias,          \
                                         int threads) {                                                               \
        norm_backward(x, gy, stride, rows, channels, weight, bias, mean, invstd, relu != 0, gx, gweight, gbias,       \
                      threads);                                                                                       \
    }                                                                                                                 \
    extern "C" void pool_forward_##name(const T* x, const Pool* p, int relu, T* y, uint8_t* place, int threads) {     \
        pool_forward(x, *p, relu != 0, y, place, threads);                                                            \
    }                                                                                                                 \
    extern "C" void pool_backward_##name(const T* gy, const uint8_t* place, const Pool* p, T* gx, int threads) {      \
        pool_backward(gy, place, *p, gx, threads);                                                                    \
    }                                                                                                                 \
    extern "C" void norm_pool_forward_##name(const T* x, const Pool* p, const float* weight, const float* bias,       \
                                             float eps, float momentum, float* running_mean, float* running_var,      \
                                             float* mean, float* invstd, int relu, T* y, T* there, uint8_t* place,    \
                                             int threads) {                                                           \
        norm_pool_forward(x, *p, weight, bias, eps, momentum, running_mean, running_var, mean, invstd, relu != 0, y,  \
                          there, place, threads);                                                                     \
    }                                                                                                                 \
    extern "C" void norm_pool_backward_##name(const T* x, const T* gy, const T* there, const uint8_t* place,          \
                                              const Pool* p, const float* weight, const float* bias,                  \
                                              const float* mean, const float* invstd, T* gx, float* gweight,          \
                                              float* gbias, int threads) {                                            \
        norm_pool_backward(x, gy, there, place, *p, weight, bias, mean, invstd, gx, gweight, gbias, threads);         \
    }

EXPORT(float, fp32)
EXPORT(bf16, bf16)
