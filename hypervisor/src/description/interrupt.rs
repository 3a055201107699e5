//! Interrupts of the GIC, as nodes say them (Linux 6.12,
//! Documentation/devicetree/bindings/interrupt-controller/arm,gic-v3.yaml).

use crate::devices::gicv3::layout::FIRST_SPI;

/// INTIDs from here on are no SPIs (IHI0069H, "INTIDs").
const FIRST_SPECIAL: u32 = 1020;

/// The INTID of an interrupt, if that is an SPI: type, number, trigger.
pub(super) fn spi(&[kind, number, _]: &[u32; 3]) -> Option<u32> {
    const SPI: u32 = 0;
    let intid = number.checked_add(FIRST_SPI);
    intid.filter(|&intid| kind == SPI && intid < FIRST_SPECIAL)
}
