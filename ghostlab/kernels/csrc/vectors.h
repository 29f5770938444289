// Vectors of channels, and memory that they are loaded from.
#pragma once

#include <cstdint>
#include <cstring>
#include <new>
#include <vector>

template <typename T>
struct CacheAligned {  // a load that crosses a cache line costs two
    using value_type = T;
    T* allocate(size_t n) { return static_cast<T*>(::operator new(n * sizeof(T), std::align_val_t(64))); }
    void deallocate(T* p, size_t) { ::operator delete(p, std::align_val_t(64)); }
    bool operator==(const CacheAligned&) const { return true; }
    bool operator!=(const CacheAligned&) const { return false; }
};
template <typename T>
using Buffer = std::vector<T, CacheAligned<T>>;

template <typename T, int N>
struct Lanes {
    typedef T Vec __attribute__((vector_size(N * sizeof(T))));
    static Vec load(const T* p) { Vec v; std::memcpy(&v, p, sizeof v); return v; }
    static void store(T* p, const Vec& v) { std::memcpy(p, &v, sizeof v); }
};
