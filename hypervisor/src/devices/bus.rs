//! Where a guest has devices, and what a device is to the hypervisor: it serves loads and stores of
//! its registers.

use crate::devices::gicv3::kicks::Kicks;
use addresses::Ipa;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

/// An access of a guest to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// The number of the vCPU that makes it.
    pub vcpu: usize,
    /// Where in the device, in bytes.
    pub offset: u64,
    /// How much: 1, 2, 4 or 8 bytes.
    pub bytes: usize,
}

/// What comes of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Load {
    /// What was read; `None` where the guest has to execute the load again, and takes its
    /// interrupts between.
    pub value: Option<u64>,
    /// The vCPUs that have something new to see.
    pub kicks: Kicks,
}

impl Load {
    /// `value` was read, and nothing else happened.
    pub const fn of(value: u64) -> Self {
        Self {
            value: Some(value),
            kicks: Kicks::NONE,
        }
    }

    /// The value is not known before the vCPUs in `kicks` have been looked at.
    pub const fn again(kicks: Kicks) -> Self {
        Self { value: None, kicks }
    }
}

/// A device of a guest. Its accesses come from any CPU at any time; nothing in them allocates or
/// waits.
pub trait MmioDevice: Send + Sync {
    /// Whether the list registers of the vCPU that accesses it have to be collected before.
    fn follows_list_registers(&self) -> bool {
        false
    }

    /// A load; registers that are not there read as zero.
    fn load(&self, access: Access) -> Load;

    /// A store; registers that are not there ignore it. Gives the vCPUs that have something new to
    /// see.
    fn store(&self, access: Access, value: u64) -> Kicks;
}

/// A device's place.
struct Region {
    start: u64,
    len: u64,
    device: Arc<dyn MmioDevice>,
}

/// All devices of a guest.
#[derive(Default)]
pub struct Bus {
    regions: Vec<Region>,
}

/// The region is empty, wraps, or has an address in common with another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegionTaken;

impl Bus {
    /// A bus without devices.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            regions: Vec::new(),
        }
    }

    /// Adds a device that has `len` bytes from `start` on. Those that come first are found first.
    ///
    /// # Errors
    ///
    /// See [`RegionTaken`]. Nothing was added.
    pub fn add(
        &mut self,
        start: Ipa,
        len: u64,
        device: Arc<dyn MmioDevice>,
    ) -> Result<(), RegionTaken> {
        let end = start.checked_add(len).ok_or(RegionTaken)?;
        let taken = |region: &Region| start.0 < region.start + region.len && region.start < end.0;
        if len == 0 || self.regions.iter().any(taken) {
            return Err(RegionTaken);
        }
        self.regions.push(Region {
            start: start.0,
            len,
            device,
        });
        Ok(())
    }

    /// The device that has the address, and where in the device that is.
    #[must_use]
    pub fn find(&self, Ipa(address): Ipa) -> Option<(&dyn MmioDevice, u64)> {
        self.regions.iter().find_map(|region| {
            let offset = address.checked_sub(region.start)?;
            (offset < region.len).then_some((&*region.device, offset))
        })
    }
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let regions = self.regions.iter();
        f.debug_list()
            .entries(regions.map(|region| (Ipa(region.start), region.len)))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A register of 8 bytes at each offset that reads as its offset and a number.
    struct Numbered(u64);

    impl MmioDevice for Numbered {
        fn load(&self, access: Access) -> Load {
            Load::of(self.0 + access.offset)
        }

        fn store(&self, _: Access, _: u64) -> Kicks {
            Kicks::NONE
        }
    }

    fn bus() -> Bus {
        let mut bus = Bus::new();
        let mut add = |start, len, number| bus.add(Ipa(start), len, Arc::new(Numbered(number)));
        assert_eq!(add(0x1000, 0x1000, 100), Ok(()));
        assert_eq!(add(0x2000, 8, 200), Ok(()));
        assert_eq!(add(u64::MAX - 7, 7, 300), Ok(()));
        bus
    }

    fn load(bus: &Bus, address: u64) -> Option<u64> {
        let (device, offset) = bus.find(Ipa(address))?;
        let access = Access {
            vcpu: 0,
            offset,
            bytes: 8,
        };
        device.load(access).value
    }

    #[test]
    fn an_access_goes_to_the_device_that_has_the_address() {
        let bus = bus();
        assert_eq!(load(&bus, 0x1000), Some(100));
        assert_eq!(load(&bus, 0x1fff), Some(100 + 0xfff));
        assert_eq!(load(&bus, 0x2000), Some(200));
        assert_eq!(load(&bus, u64::MAX - 1), Some(306));
    }

    #[test]
    fn where_no_device_is_there_is_nothing() {
        let bus = bus();
        for address in [0, 0xfff, 0x2008, u64::MAX] {
            assert_eq!(load(&bus, address), None, "{address:#x}");
        }
    }

    #[test]
    fn a_region_is_one_devices_alone() {
        let mut bus = bus();
        for (start, len) in [
            (0x1000, 0x1000),
            (0xfff, 2),
            (0x1fff, 1),
            (0x2007, 0x1000),
            (0, 0x1_0000),
            (0x5000, 0),
            (u64::MAX, 1),
        ] {
            let added = bus.add(Ipa(start), len, Arc::new(Numbered(0)));
            assert_eq!(added, Err(RegionTaken), "{start:#x}, {len:#x}");
        }
        assert_eq!(bus.add(Ipa(0), 0x1000, Arc::new(Numbered(1))), Ok(()));
    }
}
