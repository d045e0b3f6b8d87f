// Batch normalisation with its ReLU, and max pooling, on images in channels_last order: rows of channels.
//
// The same functions as torch's, with less traffic: each reads and writes a map as few times as it can, in bf16 or
// fp32 as it comes, and computes in fp32. A map is a matrix of `rows` (all pixels of all images) by `channels`; a
// part of a concatenated map is one whose rows lie `stride` elements apart. Sums are made over pieces of a fixed
// number of rows and added up in order, so results do not depend on the number of threads.
//
// Compiled by kernels.py; called from there, with sizes that it has checked.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#include <vector>
#ifdef __AVX512F__
#include <immintrin.h>
#endif

namespace {

using bf16 = uint16_t;  // the upper half of a float

// Sixteen channels, kept in registers while rows or windows are gone through. (Vectors of GCC and Clang.)
constexpr int64_t BLOCK = 16;
using Floats = float __attribute__((vector_size(4 * BLOCK)));
using Ints = int32_t __attribute__((vector_size(4 * BLOCK)));
using Halves = bf16 __attribute__((vector_size(2 * BLOCK)));
using Bytes = uint8_t __attribute__((vector_size(BLOCK)));

template <typename Vector, typename T>
inline Vector read(const T* from, int64_t count) {
    Vector v{};
    std::memcpy(&v, from, count * sizeof(T));
    return v;
}

template <typename T, typename Vector>
inline void write(T* to, Vector v, int64_t count) {
    std::memcpy(to, &v, count * sizeof(T));
}

inline Floats load(const float* from, int64_t count) { return read<Floats>(from, count); }

inline Floats load(const bf16* from, int64_t count) {
    const Halves halves = read<Halves>(from, count);
#ifdef __AVX512F__  // one instruction where GCC 12 finds four
    return Floats(Ints(_mm512_cvtepu16_epi32(__m256i(halves))) << 16);
#else
    return Floats(__builtin_convertvector(halves, Ints) << 16);
#endif
}

inline void store(float* to, Floats v, int64_t count) { write(to, v, count); }

// To the nearest, halves to even.
inline void store(bf16* to, Floats v, int64_t count) {
#ifdef __AVX512BF16__
    write(to, Halves(_mm512_cvtneps_pbh(__m512(v))), count);
#else
    const Ints bits = Ints(v);
    write(to, __builtin_convertvector((bits + 0x7fff + ((bits >> 16) & 1)) >> 16, Halves), count);
#endif
}

// work(first, count) for all channels: blocks whose size the compiler knows, then the rest.
template <typename Work>
inline void by_blocks(int64_t channels, Work work) {
    int64_t c = 0;
    for (; c + BLOCK <= channels; c += BLOCK) work(c, std::integral_constant<int64_t, BLOCK>());
    if (c < channels) work(c, channels - c);
}

constexpr int64_t TILE = 8;    // rows that are gone through for one block of channels before the next: in order in memory
constexpr int64_t PIECE = 64;  // rows of a piece of work

// A map, with narrow rows seen as wider ones, `repeat` pixels in each, so that they fill blocks.
struct Shape {
    int64_t rows, channels, repeat = 1;

    Shape(int64_t rows, int64_t channels, bool contiguous) : rows(rows), channels(channels) {
        while (contiguous && width() % BLOCK != 0 && repeat < BLOCK && this->rows % 2 == 0) {
            this->rows /= 2;
            repeat *= 2;
        }
    }
    int64_t width() const { return channels * repeat; }
    int64_t pieces() const { return (rows + PIECE - 1) / PIECE; }
    int64_t end(int64_t piece) const { return std::min(rows, (piece + 1) * PIECE); }

    std::vector<float> repeated(const float* values) const {
        std::vector<float> all;
        for (int64_t r = 0; r < repeat; ++r) all.insert(all.end(), values, values + channels);
        return all;
    }
};

// For each channel, the sums over all rows of two quantities; add(row, first, count, a, b) adds those of a block.
template <typename Add>
void sum_rows(const Shape& shape, int threads, Add add, std::vector<double>& first, std::vector<double>& second) {
    const int64_t width = shape.width();
    std::vector<float> partial(2 * width * shape.pieces());
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t p = 0; p < shape.pieces(); ++p) {
        float *first = &partial[2 * width * p], *second = first + width;
        for (int64_t tile = p * PIECE; tile < shape.end(p); tile += TILE)
            by_blocks(width, [&](int64_t c, auto count) {
                Floats a = load(first + c, count), b = load(second + c, count);
                for (int64_t row = tile; row < std::min(tile + TILE, shape.rows); ++row) add(row, c, count, a, b);
                store(first + c, a, count);
                store(second + c, b, count);
            });
    }
    first.assign(shape.channels, 0.0);
    second.assign(shape.channels, 0.0);
    for (int64_t p = 0; p < shape.pieces(); ++p)
        for (int64_t i = 0; i < width; ++i) {
            first[i % shape.channels] += partial[2 * width * p + i];
            second[i % shape.channels] += partial[2 * width * p + width + i];
        }
}

// What batch normalisation does to a channel: z = x * scale + shift.
struct Affine {
    std::vector<float> scale, shift;

    Affine(int64_t channels, const float* weight, const float* bias, const float* mean, const float* invstd)
        : scale(channels), shift(channels) {
        for (int64_t c = 0; c < channels; ++c) {
            scale[c] = weight[c] * invstd[c];
            shift[c] = bias[c] - mean[c] * scale[c];
        }
    }
};

// Mean and inverse standard deviation of each channel; the running ones move towards them.
template <typename T>
void statistics(const T* x, int64_t rows, int64_t channels, float eps, float momentum, float* running_mean,
                float* running_var, float* mean, float* invstd, int threads) {
    const Shape shape(rows, channels, true);
    // Sums of differences from the first row: squares of the values themselves would cancel.
    std::vector<float> origin(channels);
    by_blocks(channels, [&](int64_t c, auto count) { store(&origin[c], load(x + c, count), count); });
    const std::vector<float> origins = shape.repeated(origin.data());
    std::vector<double> sum, squares;
    sum_rows(
        shape, threads,
        [&](int64_t row, int64_t c, auto count, Floats& a, Floats& b) {
            const Floats d = load(x + row * shape.width() + c, count) - load(&origins[c], count);
            a += d;
            b += d * d;
        },
        sum, squares);
    for (int64_t c = 0; c < channels; ++c) {
        const double d = sum[c] / rows, var = std::max(0.0, squares[c] / rows - d * d);
        mean[c] = float(origin[c] + d);
        invstd[c] = float(1 / std::sqrt(var + eps));
        running_mean[c] += momentum * (mean[c] - running_mean[c]);
        running_var[c] += momentum * (float(var * rows / std::max<int64_t>(1, rows - 1)) - running_var[c]);
    }
}

// The gradient of x as factors of the gradient g of z, of x itself, and a constant:
// weight * invstd * (g - mean(g) - xhat * mean(g * xhat)), from the sums over all rows of g and of g * (x - mean).
struct Backward {
    std::vector<float> slope, constant;

    Backward(const Affine& affine, int64_t rows, const std::vector<double>& sum, const std::vector<double>& product,
             const float* mean, const float* invstd, float* gweight, float* gbias)
        : slope(sum.size()), constant(sum.size()) {
        for (size_t c = 0; c < sum.size(); ++c) {
            gbias[c] = float(sum[c]);
            gweight[c] = float(product[c] * invstd[c]);
            const double of_x = -double(affine.scale[c]) * invstd[c] * invstd[c] * product[c] / rows;
            slope[c] = float(of_x);
            constant[c] = float(-double(affine.scale[c]) * sum[c] / rows - of_x * mean[c]);
        }
    }
};

template <typename T>
void norm_forward(const T* x, int64_t rows, int64_t channels, const float* weight, const float* bias, float eps,
                  float momentum, float* running_mean, float* running_var, float* mean, float* invstd, bool relu,
                  T* y, int64_t stride, int threads) {
    statistics(x, rows, channels, eps, momentum, running_mean, running_var, mean, invstd, threads);
    const Affine affine(channels, weight, bias, mean, invstd);
    const Shape shape(rows, channels, stride == channels);
    const std::vector<float> scales = shape.repeated(affine.scale.data()), shifts = shape.repeated(affine.shift.data());
    const float lowest = relu ? 0.0f : -std::numeric_limits<float>::infinity();
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t tile = 0; tile < shape.rows; tile += TILE)
        by_blocks(shape.width(), [&](int64_t c, auto count) {
            const Floats s = load(&scales[c], count), t = load(&shifts[c], count);
            for (int64_t row = tile; row < std::min(tile + TILE, shape.rows); ++row) {
                const Floats z = load(x + row * shape.width() + c, count) * s + t;
                store(y + row * stride * shape.repeat + c, z < lowest ? Floats{} + lowest : z, count);
            }
        });
}

template <typename T>
void norm_backward(const T* x, const T* gy, int64_t stride, int64_t rows, int64_t channels, const float* weight,
                   const float* bias, const float* mean, const float* invstd, bool relu, T* gx, float* gweight,
                   float* gbias, int threads) {
    const Shape shape(rows, channels, stride == channels);
    const Affine affine(channels, weight, bias, mean, invstd);
    const std::vector<float> scales = shape.repeated(affine.scale.data()), shifts = shape.repeated(affine.shift.data());
    const std::vector<float> means = shape.repeated(mean);
    // The ReLU's gradient is 0 where its input, computed again as forward did, is not above 0.
    const float above = relu ? 0.0f : -std::numeric_limits<float>::infinity();
    const auto gradient = [&](int64_t row, int64_t c, auto count, Floats v, Floats s, Floats t) {
        return v * s + t > above ? load(gy + row * stride * shape.repeat + c, count) : Floats{};
    };
    std::vector<double> sum, product;
    sum_rows(
        shape, threads,
        [&](int64_t row, int64_t c, auto count, Floats& a, Floats& b) {
            const Floats v = load(x + row * shape.width() + c, count);
            const Floats g = gradient(row, c, count, v, load(&scales[c], count), load(&shifts[c], count));
            a += g;
            b += g * (v - load(&means[c], count));
        },
        sum, product);
    const Backward back(affine, rows, sum, product, mean, invstd, gweight, gbias);
    const std::vector<float> slopes = shape.repeated(back.slope.data());
    const std::vector<float> constants = shape.repeated(back.constant.data());
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t tile = 0; tile < shape.rows; tile += TILE)
        by_blocks(shape.width(), [&](int64_t c, auto count) {
            const Floats s = load(&scales[c], count), t = load(&shifts[c], count);
            const Floats f = load(&slopes[c], count), k = load(&constants[c], count);
            for (int64_t row = tile; row < std::min(tile + TILE, shape.rows); ++row) {
                const Floats v = load(x + row * shape.width() + c, count);
                store(gx + row * shape.width() + c, s * gradient(row, c, count, v, s, t) + f * v + k, count);
            }
        });
}

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
// done(line, sums) takes them. The last window may reach over the border.
template <typename T, typename Done>
void unpool_lines(const T* gy, const uint8_t* place, const Pool& p, int threads, Done done) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t line = 0; line < p.images * p.height; ++line) {
        const int64_t y = line % p.height, image = line / p.height * p.out_height;
        const int64_t first = y < p.kernel ? 0 : (y - p.kernel) / p.step + 1, last = std::min(y / p.step, p.out_height - 1);
        std::vector<float> sums(((p.out_width - 1) * p.step + p.kernel) * p.channels);
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

}  // namespace

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
