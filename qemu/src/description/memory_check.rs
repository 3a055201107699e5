//! Whether a machine's memory is enough for its guests.

use super::error::{ConfigError, Refusals};
use super::model::Description;
use host_abi::memory_map::BLOCK_SIZE;
use host_abi::memory_map::machine::{HYPERVISOR_SIZE, MEMORY_BASE, MODULES_BASE};

/// Refuses guests that together need more than the machine's memory has beside the device tree, the
/// hypervisor and modules of these sizes in bytes (0 as long as they are not known).
pub fn check_guest_memory(description: &Description, modules_size: u64) -> Result<(), ConfigError> {
    let refuse = Refusals {
        file: &description.file,
    };
    let memory = description.machine.memory;
    let reserved = BLOCK_SIZE
        .saturating_add(HYPERVISOR_SIZE)
        .saturating_add(modules_size);
    let modules_end = MODULES_BASE.saturating_add(modules_size);
    let free = memory.to_bytes().saturating_sub(reserved);
    let wanted = description.guests.iter().fold(0u64, |sum, guest| {
        sum.saturating_add(guest.memory.to_bytes())
    });
    if wanted > free || modules_end > MEMORY_BASE.saturating_add(memory.to_bytes()) {
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        return Err(refuse.at(
            "machine: memory",
            format!(
                "the guests need {} MiB, but of the machine's {memory} the hypervisor, the device tree and the guests' \
                 images leave {} MiB",
                mib(wanted),
                free >> 20
            ),
            "Give the guests less memory, or the machine more.",
        ));
    }
    Ok(())
}
