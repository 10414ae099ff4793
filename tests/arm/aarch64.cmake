# Cross-compiles for the oldest 64-bit ARM (ARMv8.0: no LSE atomics, no dot products). ARM_ROOT: an unpacked arm64 root.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(ARM_ROOT "$ENV{ARM_ROOT}" CACHE PATH "unpacked arm64 root with Python's headers")
# -idirafter, not -I: Python.h includes <aarch64-linux-gnu/python3.11/pyconfig.h>, while libc's headers are the compiler's
set(CMAKE_CXX_FLAGS_INIT "-march=armv8-a -idirafter ${ARM_ROOT}/usr/include")
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
