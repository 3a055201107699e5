//! The SIMD registers, which the payload's own code does not use.

/// Fills q0 to q31 with copies of `seed` and reads them back after `wait`; tells whether all kept
/// it.
pub fn kept_over(seed: u64, wait: impl FnOnce()) -> bool {
    unsafe extern "C" {
        fn fill_float(seed: u64);
        fn compare_float(seed: u64) -> u64;
    }
    // SAFETY: the registers are not used otherwise: the target has no floating point.
    unsafe { fill_float(seed) };
    wait();
    // SAFETY: reads the registers alone.
    unsafe { compare_float(seed) == 0 }
}

core::arch::global_asm!(
    ".arch_extension fp",
    ".arch_extension simd",
    ".pushsection .text.float, \"ax\"",
    "fill_float:",
    ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31",
    "add x1, x0, #\\n",
    "dup v\\n\\().2d, x1",
    ".endr",
    "ret",
    "compare_float:",
    "mov x3, #0",
    ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31",
    "add x1, x0, #\\n",
    "umov x2, v\\n\\().d[0]",
    "eor x2, x2, x1",
    "orr x3, x3, x2",
    "umov x2, v\\n\\().d[1]",
    "eor x2, x2, x1",
    "orr x3, x3, x2",
    ".endr",
    "mov x0, x3",
    "ret",
    ".popsection",
    ".arch_extension nosimd",
    ".arch_extension nofp",
);
