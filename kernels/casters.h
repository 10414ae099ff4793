// nanobind's casters of strings, lists and tuples, which may throw: as nanobind declares them (noexcept), a process
// would end where there is no memory for an argument, instead of getting a MemoryError. What calls them catches.
#pragma once
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#define noexcept
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>
#undef noexcept
