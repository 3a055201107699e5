//! How long an interrupt waits while the hypervisor is at work, out of QEMU's log of what it
//! executed.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use host_abi::memory_map::BLOCK_SIZE;
use host_abi::memory_map::machine::HYPERVISOR_BASE;

/// Has QEMU log to `log` each block of instructions that it executes in the hypervisor's image,
/// exceptions, and each change of the interrupt lines from the GIC to the CPU.
pub(super) fn qemu_arguments(log: &Path) -> Vec<OsString> {
    let range = format!("{HYPERVISOR_BASE:#x}+{BLOCK_SIZE:#x}");
    let mut arguments: Vec<OsString> = vec![
        "-d".into(),
        "in_asm,exec,nochain,int".into(),
        "-dfilter".into(),
        range.into(),
        "-trace".into(),
        "gicv3_cpuif_set_irqs".into(),
        "-D".into(),
    ];
    arguments.push(log.into());
    arguments
}

/// The most instructions that the hypervisor executed at a stretch while an interrupt was pending.
///
/// # Errors
///
/// The log can't be read, or does not say what it should.
pub(super) fn longest(log: &Path) -> Result<u64> {
    let file = File::open(log).with_context(|| format!("{} can't be read", log.display()))?;
    let mut watch = Watch::default();
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let mut line = Vec::new();
    // Not `lines()`: the log is long, and a line that QEMU was writing when it ended may hold
    // anything.
    while reader.read_until(b'\n', &mut line)? > 0 {
        watch.line(String::from_utf8_lossy(&line).trim_end());
        line.clear();
    }
    if watch.interrupts == 0 {
        bail!("{} tells of no interrupt while a guest ran", log.display());
    }
    Ok(watch.longest)
}

/// One CPU, as QEMU 7.2 logs it.
#[derive(Debug, Default)]
struct Watch {
    /// Instructions of each block, by its address.
    lengths: HashMap<u64, u64>,
    /// The block that is being listed.
    listed: Option<u64>,
    /// Whether a guest was entered: before, nobody waits for an interrupt.
    guest_ran: bool,
    pending: bool,
    /// Executed since the interrupt became pending or the hypervisor was entered, whichever came
    /// later.
    executed: u64,
    longest: u64,
    /// How many interrupts became pending.
    interrupts: u64,
}

impl Watch {
    fn line(&mut self, line: &str) {
        if let Some(rest) = line.strip_prefix("0x") {
            if let Some(address) = rest.split(':').next().and_then(hexadecimal) {
                let block = *self.listed.get_or_insert_with(|| {
                    self.lengths.insert(address, 0);
                    address
                });
                *self.lengths.entry(block).or_default() += 1;
            }
        } else if line == "IN: " || line == "IN:" {
            self.listed = None;
        } else if line.starts_with("Trace ") {
            self.executes(line);
        } else if let Some((_, lines)) = line.split_once("HPPI update: setting ") {
            // To EL1 and EL2 an interrupt of theirs is an IRQ, to the secure world the same one is
            // an FIQ.
            let pending = lines.contains('1');
            if pending && !self.pending {
                self.executed = 0;
                self.interrupts += u64::from(self.guest_ran);
            }
            self.pending = pending;
        } else if line.starts_with("Exception return from AArch64 EL2 to AArch64 EL1") {
            self.guest_ran = true;
            self.executed = 0;
        }
    }

    /// `Trace CPU: HOST-ADDRESS [CS_BASE/PC/FLAGS/CFLAGS]`, before the block at PC is executed.
    fn executes(&mut self, line: &str) {
        /// `CF_COUNT_MASK`: how many instructions of the block, or all if it is 0 (QEMU 7.2,
        /// `include/exec/exec-all.h`).
        const COUNT: u64 = 0x1ff;
        let mut fields = line
            .split_once('[')
            .map_or("", |(_, fields)| fields)
            .split(['/', ']']);
        let block = fields.nth(1).and_then(hexadecimal);
        let cflags = fields.nth(1).and_then(hexadecimal);
        let (Some(block), Some(cflags)) = (block, cflags) else {
            return;
        };
        if !self.pending || !self.guest_ran {
            return;
        }
        let whole = self.lengths.get(&block).copied().unwrap_or(0);
        self.executed += match cflags & COUNT {
            0 => whole,
            count => count,
        };
        self.longest = self.longest.max(self.executed);
    }
}

fn hexadecimal(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTING: &str = "IN: \n0x60000800:  d10203ff  sub      sp, sp, #0x80\n0x60000804:  f9003bfe  str      x30\n\n\
                           IN: \n0x60000900:  d69f03e0  eret\n";
    const ENTERED: &str = "Exception return from AArch64 EL2 to AArch64 EL1 PC 0x40000000\n";
    const UP: &str = "gicv3_cpuif_set_irqs GICv3 CPU i/f 0x0 HPPI update: setting FIQ 0 IRQ 1\n";
    const UP_SECURE: &str =
        "gicv3_cpuif_set_irqs GICv3 CPU i/f 0x0 HPPI update: setting FIQ 1 IRQ 0\n";
    const DOWN: &str = "gicv3_cpuif_set_irqs GICv3 CPU i/f 0x0 HPPI update: setting FIQ 0 IRQ 0\n";
    const TWO: &str =
        "Trace 0: 0x7f9d5c60cb40 [0000000000000000/0000000060000800/00000061/ff020200] \n";
    const FIRST_OF_TWO: &str =
        "Trace 0: 0x7f9d5c60cb40 [0000000000000000/0000000060000800/00000061/ff020201] \n";
    const ONE: &str =
        "Trace 0: 0x7f9d5c60cb48 [0000000000000000/0000000060000900/00000061/ff020200] \n";

    fn longest_of(lines: &[&str]) -> Result<u64> {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        std::fs::write(&log, lines.concat()).unwrap();
        longest(&log)
    }

    #[test]
    fn what_is_executed_while_an_interrupt_is_pending_counts() {
        let log = [
            LISTING, ENTERED, TWO, TWO, UP, TWO, ONE, DOWN, TWO, UP, ONE, DOWN,
        ];
        assert_eq!(longest_of(&log).unwrap(), 3);
        // Half a block, and a look into the secure world between.
        let log = [LISTING, ENTERED, UP, FIRST_OF_TWO, UP_SECURE, TWO, DOWN];
        assert_eq!(longest_of(&log).unwrap(), 3);
    }

    #[test]
    fn to_leave_for_the_guest_ends_a_stretch() {
        let log = [LISTING, ENTERED, UP, TWO, ENTERED, TWO, ONE, DOWN];
        assert_eq!(longest_of(&log).unwrap(), 3);
    }

    #[test]
    fn before_the_first_guest_nobody_waits() {
        let log = [LISTING, UP, TWO, TWO, ENTERED, DOWN, UP, ONE, DOWN];
        assert_eq!(longest_of(&log).unwrap(), 1);
    }

    #[test]
    fn a_log_without_interrupts_is_no_measurement() {
        assert!(longest_of(&[LISTING, ENTERED, TWO, ONE]).is_err());
        assert!(longest_of(&[]).is_err());
    }
}
