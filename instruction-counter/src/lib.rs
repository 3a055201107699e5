//! A plugin for QEMU that counts the instructions that a CPU of the machine executes while a
//! program on it is between two marks, and keeps the CPUs in step (docs/performance.md).
//!
//! A mark is an instruction that changes nothing and that no compiler emits ([`count::BEGIN`],
//! [`count::END`]). At each end the plugin writes a line to the file that its argument `log` names:
//! the instructions that the CPU with the mark executed since the begin, and those that all others
//! executed meanwhile.
//!
//! ```text
//! qemu-system-aarch64 -plugin libinstruction_counter.so,log=FILE …
//! ```
//!
//! Without `-icount` QEMU runs each CPU in a thread of its own, as fast as the host lets it. A CPU
//! that waits for a lock would execute as many instructions as it has time for until the host lets
//! the lock's holder go on. From the first mark on, therefore, a CPU that is [`count::WINDOW`]
//! instructions ahead of another one waits for that one, unless it is idle: each executes as many
//! as any other, as if they were CPUs of one speed, and how many CPUs the host has does not show.

mod count;
// Its functions are QEMU's, which a test is not linked with.
#[cfg(not(test))]
mod plugin;
