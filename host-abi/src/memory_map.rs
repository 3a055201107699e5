//! Where things lie in memory, as far as both sides know it (docs/device-tree.md, "Physical
//! memory"). All addresses and sizes are in bytes.

/// The blocks in which memory is given out: what one entry of a level-2 translation table covers
/// with a 4 KiB granule (DDI0487, D8.2.8), and the alignment that the Linux boot protocol wants of
/// a kernel.
pub const BLOCK_SIZE: u64 = 2 << 20;

/// A page of the 4 KiB granule.
const PAGE_SIZE: u64 = 4 << 10;

/// The machine's physical memory.
pub mod machine {
    use super::BLOCK_SIZE;

    /// Where memory begins, with the device tree in the first block.
    pub const MEMORY_BASE: u64 = 0x4000_0000;
    /// What the device tree may have, in the file and after the firmware's edits.
    pub const DEVICE_TREE_SIZE_MAX: u64 = 1 << 20;
    /// Where the hypervisor lies and is entered.
    pub const HYPERVISOR_BASE: u64 = 0x6000_0000;
    /// The hypervisor's image, tables and heap.
    pub const HYPERVISOR_SIZE: u64 = 32 << 20;
    /// Where the first boot module lies. Each begins with a block.
    pub const MODULES_BASE: u64 = HYPERVISOR_BASE + HYPERVISOR_SIZE;

    const _: () = {
        assert!(DEVICE_TREE_SIZE_MAX <= BLOCK_SIZE);
        assert!(MEMORY_BASE + BLOCK_SIZE <= HYPERVISOR_BASE);
        assert!(MODULES_BASE.is_multiple_of(BLOCK_SIZE));
    };
}

/// The machine that a guest sees, in intermediate physical addresses. All guests see the same,
/// apart from its size.
pub mod guest {
    use super::{BLOCK_SIZE, PAGE_SIZE};
    use crate::binding::MAX_VCPUS;

    /// The virtual GICv3's distributor.
    pub const DISTRIBUTOR: u64 = 0x0800_0000;
    /// Bytes of the distributor's registers.
    pub const DISTRIBUTOR_SIZE: u64 = 0x1_0000;
    /// Its redistributors, one after the other.
    pub const REDISTRIBUTORS: u64 = 0x080a_0000;
    /// Bytes of a vCPU's redistributor: the RD frame, then the SGI frame.
    pub const REDISTRIBUTOR_STRIDE: u64 = 0x2_0000;
    /// The emulated PL011: a page.
    pub const UART: u64 = 0x0900_0000;
    /// The PL011's interrupt, level-sensitive: the number of an SPI.
    pub const UART_SPI: u32 = 1;
    /// The emulated PL031, where the machine has a clock: a page.
    pub const CLOCK: u64 = 0x0901_0000;
    /// The interrupt by which a TEE says that a notification waits, edge-triggered: the number of
    /// an SPI.
    pub const TEE_SPI: u32 = 2;
    /// Configuration space of the PCIe host bridge, where the guest has functions: that of bus 0.
    pub const PCI_CONFIGURATION: u64 = 0x3000_0000;
    /// Bytes of it.
    pub const PCI_CONFIGURATION_SIZE: u64 = 1 << 20;
    /// Where registers of functions are.
    pub const PCI_MEMORY: u64 = 0x1000_0000;
    /// Bytes that they may have together.
    pub const PCI_MEMORY_SIZE: u64 = 0x1000_0000;
    /// The first of the interrupts of functions, level-sensitive: the number of an SPI.
    pub const PCI_SPI: u32 = 3;
    /// How many of these there are.
    pub const PCI_SPIS: u32 = 4;
    /// The start of RAM, where a payload lies and is entered.
    pub const RAM_BASE: u64 = 0x4000_0000;
    /// What a payload may have.
    pub const PAYLOAD_SIZE_MAX: u64 = 16 << 20;

    const _: () = {
        assert!(DISTRIBUTOR + DISTRIBUTOR_SIZE <= REDISTRIBUTORS);
        assert!(REDISTRIBUTORS + REDISTRIBUTOR_STRIDE * MAX_VCPUS as u64 <= UART);
        assert!(UART + PAGE_SIZE <= CLOCK);
        assert!(CLOCK + PAGE_SIZE <= PCI_MEMORY);
        assert!(PCI_MEMORY + PCI_MEMORY_SIZE <= PCI_CONFIGURATION);
        assert!(PCI_CONFIGURATION + PCI_CONFIGURATION_SIZE <= RAM_BASE);
        assert!(RAM_BASE.is_multiple_of(BLOCK_SIZE));
    };
}
