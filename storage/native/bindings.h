// What the binding files share: array types, and arrays handed over without a copy.
#pragma once
#include "../../kernels/casters.h"

namespace nb = nanobind;
using nb::gil_scoped_release;

template <class T> using In = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <class T> using In2 = nb::ndarray<const T, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
template <class T> using Out = nb::ndarray<T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <class T> using Out2 = nb::ndarray<T, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
template <class T> using Array = nb::ndarray<nb::numpy, T, nb::ndim<1>>;

template <class T> Array<T> array(std::vector<T> &&v) {
    auto *own = new std::vector<T>(std::move(v));
    nb::capsule keep(own, [](void *p) noexcept { delete static_cast<std::vector<T> *>(p); });
    return Array<T>(own->data(), {own->size()}, keep);
}

inline void same(size_t a, size_t b) {
    if (a != b) throw nb::value_error("arrays differ in length");
}

template <class T> std::vector<T> copy(const In<T> &a) { return {a.data(), a.data() + a.shape(0)}; }

void bind_index(nb::module_ &m);
