//! Floating-point and vector registers.

/// q0 to q31, FPSR and FPCR.
#[repr(C, align(16))]
#[derive(Clone, Debug, Default)]
pub struct FloatRegisters {
    q: [[u128; 8]; 4],
    fpsr: u64,
    fpcr: u64,
}

const _: () = assert!(
    core::mem::offset_of!(FloatRegisters, fpsr) == 512,
    "save_float and load_float use this offset"
);

impl FloatRegisters {
    /// Saves them from this CPU.
    pub fn save(&mut self) {
        unsafe extern "C" {
            fn save_float(registers: *mut FloatRegisters);
        }
        // SAFETY: writes exactly the structure; EL2's own code is built without floating point.
        unsafe { save_float(self) }
    }

    /// Loads them into this CPU.
    pub fn load(&self) {
        unsafe extern "C" {
            fn load_float(registers: *const FloatRegisters);
        }
        // SAFETY: reads exactly the structure; EL2's own code is built without floating point.
        unsafe { load_float(self) }
    }
}

core::arch::global_asm!(
    ".arch_extension fp",
    ".arch_extension simd",
    ".macro each_pair instruction",
    "\\instruction q0, q1, [x0]",
    "\\instruction q2, q3, [x0, #32]",
    "\\instruction q4, q5, [x0, #64]",
    "\\instruction q6, q7, [x0, #96]",
    "\\instruction q8, q9, [x0, #128]",
    "\\instruction q10, q11, [x0, #160]",
    "\\instruction q12, q13, [x0, #192]",
    "\\instruction q14, q15, [x0, #224]",
    "\\instruction q16, q17, [x0, #256]",
    "\\instruction q18, q19, [x0, #288]",
    "\\instruction q20, q21, [x0, #320]",
    "\\instruction q22, q23, [x0, #352]",
    "\\instruction q24, q25, [x0, #384]",
    "\\instruction q26, q27, [x0, #416]",
    "\\instruction q28, q29, [x0, #448]",
    "\\instruction q30, q31, [x0, #480]",
    ".endm",
    "save_float:",
    "each_pair stp",
    "mrs x1, fpsr",
    "mrs x2, fpcr",
    "str x1, [x0, #512]",
    "str x2, [x0, #520]",
    "ret",
    "load_float:",
    "each_pair ldp",
    "ldr x1, [x0, #512]",
    "ldr x2, [x0, #520]",
    "msr fpsr, x1",
    "msr fpcr, x2",
    "ret",
    ".arch_extension nosimd",
    ".arch_extension nofp",
);
