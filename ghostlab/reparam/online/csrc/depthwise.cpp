// Plain C entry points for the data type VALUE, one set for each kernel size.
#include "gradients.h"

#define ENTRY_POINTS(K)                                                                                    \
    extern "C" void moments_##K(const Geometry* g, const VALUE* x, VALUE* mean, VALUE* cov) {              \
        moments<VALUE, K>(x, *g, mean, cov);                                                               \
    }                                                                                                      \
    extern "C" void kernel_gradient_##K(const Geometry* g, const VALUE* x, const VALUE* grad,              \
                                        VALUE* d_kernel, VALUE* d_bias) {                                  \
        kernel_gradient<VALUE, K>(x, grad, *g, d_kernel, d_bias);                                          \
    }                                                                                                      \
    extern "C" void input_gradient_##K(const Geometry* g, const VALUE* x, const VALUE* grad,               \
                                       const VALUE* kernel, const VALUE* quadratic, const VALUE* constant, \
                                       VALUE* out) {                                                       \
        input_gradient<VALUE, K>(x, grad, kernel, quadratic, constant, *g, out);                           \
    }

ENTRY_POINTS(3)
ENTRY_POINTS(5)
