// Rows of channels in blocks of sixteen, which vector instructions work on, and sums over rows.

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>
#ifdef __AVX512F__
#include <immintrin.h>
#endif

namespace fire {

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

}  // namespace fire
