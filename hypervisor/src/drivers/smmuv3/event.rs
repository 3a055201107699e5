//! What the SMMU says that it did not let pass (IHI0070F.b, 7.3).

use core::fmt;

/// Words of an event.
pub(super) const EVENT_WORDS: usize = 4;

/// An event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its number.
    pub kind: u8,
    /// The stream.
    pub stream: u32,
    /// What the device did, where the event tells.
    pub access: Option<DeviceAccess>,
}

/// An access of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceAccess {
    /// The address that the device used.
    pub address: u64,
    /// Whether it read.
    pub read: bool,
}

/// F_TRANSLATION, F_ADDR_SIZE, F_ACCESS and F_PERMISSION.
const FAULTS: core::ops::RangeInclusive<u8> = 0x10..=0x13;

impl Event {
    pub(super) fn of([first, second, address, _]: [u64; EVENT_WORDS]) -> Self {
        /// RnW.
        const READ: u64 = 1 << 35;
        let kind = first as u8;
        Self {
            kind,
            stream: (first >> 32) as u32,
            access: FAULTS.contains(&kind).then_some(DeviceAccess {
                address,
                read: second & READ != 0,
            }),
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.access {
            Some(DeviceAccess { address, read }) => {
                let direction = if read { "read from" } else { "wrote to" };
                write!(
                    f,
                    "it {direction} {address:#x}, which its guest does not have"
                )
            }
            None => write!(f, "event {:#04x} of the SMMU", self.kind),
        }
    }
}
