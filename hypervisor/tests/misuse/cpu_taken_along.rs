//! Takes what stands for a CPU to another one.

#![no_std]
#![deny(unsafe_code)]

use hypervisor::arch::this_cpu::ThisCpu;

fn to_another_cpu<T: Send>(_: T) {}

/// The mistake.
pub fn cpu_taken_along(cpu: ThisCpu) {
    to_another_cpu(cpu);
}
