// Batch normalisation with its ReLU.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "blocks.h"

namespace fire {

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

}  // namespace fire
