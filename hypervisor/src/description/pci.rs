//! The machine's PCIe host bridge and the SMMU in front of it.
//!
//! Source: Linux 6.12, Documentation/devicetree/bindings: pci/host-generic-pci.yaml,
//! pci/pci-iommu.txt, iommu/arm,smmu-v3.yaml; Devicetree Specification 0.4, §2.4.3 for
//! `interrupt-map`; PCI Bus Binding to IEEE Std 1275, revision 2.1, for `ranges`.

use crate::description::error::{DescriptionError, Problem};
use crate::description::interrupt::spi;
use crate::description::node::DescribedNode;
use crate::description::range::Range;
use crate::drivers::pcie::Window;
use addresses::Pa;
use alloc::vec::Vec;

/// A host bridge behind an SMMU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PciHost {
    /// Configuration space, from bus 0 on.
    pub configuration: Range,
    /// The window of 32-bit memory.
    pub window: Window,
    /// The SMMU's registers.
    pub smmu: Pa,
    /// The interrupt by which the SMMU says that there are events, if it has one.
    pub smmu_interrupt: Option<u32>,
    streams: StreamRange,
    lines: Vec<InterruptLine>,
}

/// An entry of `iommu-map`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct StreamRange {
    first_requester: u32,
    first_stream: u32,
    count: u32,
}

/// An entry of `interrupt-map`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct InterruptLine {
    device: u32,
    device_mask: u32,
    pin: u32,
    intid: u32,
}

impl PciHost {
    /// The SMMU's stream of what a function with this requester ID does.
    #[must_use]
    pub fn stream(&self, requester: u32) -> Option<u32> {
        let offset = requester.checked_sub(self.streams.first_requester)?;
        let stream = self.streams.first_stream.checked_add(offset);
        stream.filter(|_| offset < self.streams.count)
    }

    /// The INTID of interrupt pin `pin`, from 1 on, of a device on bus 0.
    #[must_use]
    pub fn line(&self, device: u8, pin: u32) -> Option<u32> {
        let lines = self.lines.iter();
        let mut at = lines
            .filter(|line| u32::from(device) & line.device_mask == line.device && pin == line.pin);
        at.next().map(|line| line.intid)
    }
}

/// The host bridge.
pub(super) fn host(root: &DescribedNode<'_>) -> Result<PciHost, DescriptionError> {
    let mut nodes = root.children();
    let node = nodes
        .find(|node| node.is_compatible("pci-host-ecam-generic") && node.is_enabled())
        .ok_or_else(|| root.without("a pci-host-ecam-generic"))?;
    let ranges = node.ranges()?;
    let [configuration] = ranges.as_slice() else {
        return Err(node.error("reg", Problem::Malformed));
    };
    let (streams, smmu) = streams(root, &node)?;
    Ok(PciHost {
        configuration: *configuration,
        window: window(&node)?,
        smmu: smmu.first_address().map(Pa)?,
        smmu_interrupt: event_interrupt(&smmu)?,
        streams,
        lines: lines(root, &node)?,
    })
}

/// The window of 32-bit memory that does not prefetch.
fn window(node: &DescribedNode<'_>) -> Result<Window, DescriptionError> {
    /// The first cell of a PCI address: its space.
    const SPACE_MASK: u32 = 0x4300_0000;
    const MEMORY_32: u32 = 0x0200_0000;
    let cells = node.required("ranges", node.numbers("ranges")?)?;
    let (entries, rest) = cells.as_chunks::<7>();
    if !rest.is_empty() {
        return Err(node.error("ranges", Problem::Malformed));
    }
    let long = |upper: u32, lower: u32| u64::from(upper) << 32 | u64::from(lower);
    let mut windows = entries.iter().filter_map(|&[space, a, b, c, d, e, f]| {
        let window = Window {
            bus_address: long(a, b),
            pa: long(c, d),
            len: long(e, f),
        };
        let ends = window.pa.checked_add(window.len).is_some()
            && window.bus_address.checked_add(window.len)? <= 1 << 32;
        (space & SPACE_MASK == MEMORY_32 && ends).then_some(window)
    });
    let window = windows.next();
    window.ok_or_else(|| node.error("ranges", Problem::Without("a window of 32-bit memory")))
}

/// The streams of bus 0 and those after it, and the node of their SMMU.
fn streams<'a>(
    root: &DescribedNode<'a>,
    node: &DescribedNode<'_>,
) -> Result<(StreamRange, DescribedNode<'a>), DescriptionError> {
    const MAP: &str = "iommu-map";
    if !node.has(MAP) {
        return Err(node.broken(Problem::NoSmmu));
    }
    let cells = node.required(MAP, node.numbers(MAP)?)?;
    let (entries, rest) = cells.as_chunks::<4>();
    let first = entries.iter().find(|entry| entry[0] == 0);
    let (Some(&[first_requester, phandle, first_stream, count]), true) = (first, rest.is_empty())
    else {
        return Err(node.error(MAP, Problem::Malformed));
    };
    let smmu = by_phandle(root, phandle)?
        .filter(|smmu| smmu.is_compatible("arm,smmu-v3") && smmu.is_enabled())
        .ok_or_else(|| node.broken(Problem::NoSmmu))?;
    let streams = StreamRange {
        first_requester,
        first_stream,
        count,
    };
    Ok((streams, smmu))
}

/// The node below the root with this phandle.
fn by_phandle<'a>(
    root: &DescribedNode<'a>,
    phandle: u32,
) -> Result<Option<DescribedNode<'a>>, DescriptionError> {
    for node in root.children() {
        if node.number("phandle")? == Some(phandle) {
            return Ok(Some(node));
        }
    }
    Ok(None)
}

/// The edge-triggered interrupt of the SMMU's event queue.
fn event_interrupt(smmu: &DescribedNode<'_>) -> Result<Option<u32>, DescriptionError> {
    let names = smmu.bytes("interrupt-names").unwrap_or_default();
    let mut names = names.split(|&byte| byte == 0);
    let Some(number) = names.position(|name| name == b"eventq" || name == b"combined") else {
        return Ok(None);
    };
    let cells = smmu.numbers("interrupts")?.unwrap_or_default();
    let (interrupts, _) = cells.as_chunks::<3>();
    Ok(interrupts.get(number).and_then(spi))
}

/// The lines of devices on bus 0.
fn lines(
    root: &DescribedNode<'_>,
    node: &DescribedNode<'_>,
) -> Result<Vec<InterruptLine>, DescriptionError> {
    const MAP: &str = "interrupt-map";
    const MASK: &str = "interrupt-map-mask";
    /// Where the device number stands in the first cell of a PCI address, and how many there are.
    const DEVICE_SHIFT: u32 = 11;
    const DEVICE_MASK: u32 = 0x1f;
    /// The child's address and pin, the phandle; then the parent's address; then an interrupt of
    /// the GIC.
    const CHILD: usize = 5;
    const INTERRUPT: usize = 3;

    let device = |cell: u32| cell >> DEVICE_SHIFT & DEVICE_MASK;
    let mask = node.required(MASK, node.numbers(MASK)?)?;
    let &[device_mask, _, _, pin_mask] = mask.as_slice() else {
        return Err(node.error(MASK, Problem::Malformed));
    };
    let malformed = || node.error(MAP, Problem::Malformed);
    let cells = node.required(MAP, node.numbers(MAP)?)?;
    let mut rest = cells.as_slice();
    let mut lines = Vec::new();
    while !rest.is_empty() {
        let (&[first, _, _, pin, phandle], behind) =
            rest.split_first_chunk::<CHILD>().ok_or_else(malformed)?;
        let parent = by_phandle(root, phandle)?.ok_or_else(malformed)?;
        let address_cells = parent.number("#address-cells")?.unwrap_or(0) as usize;
        let behind = behind.get(address_cells..).ok_or_else(malformed)?;
        let (interrupt, behind) = behind
            .split_first_chunk::<INTERRUPT>()
            .ok_or_else(malformed)?;
        if let Some(intid) = spi(interrupt) {
            lines.push(InterruptLine {
                device: device(first & device_mask),
                device_mask: device(device_mask),
                pin: pin & pin_mask,
                intid,
            });
        }
        rest = behind;
    }
    Ok(lines)
}
