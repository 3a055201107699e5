//! A guest's accesses to its interrupt controller, its UART, its clock and its PCIe host bridge, of
//! every size and offset, while interrupts come and go: nothing panics, no interrupt is in two list
//! registers at a time, and none is there that is not known. In the end the guest takes and ends
//! all there is, and no interrupt of a device is active any more: it can come again.

#![no_main]

use addresses::Ipa;
use arbitrary::{Arbitrary, Result, Unstructured};
use hypervisor::devices::bus::{Access, Bus};
use hypervisor::devices::gicv3::VirtualGic;
use hypervisor::devices::gicv3::frames::{Distributor, Redistributors};
use hypervisor::devices::gicv3::list_register::{
    ACTIVE, HW, ListRegisters, PENDING, PINTID_SHIFT, Refill, VINTID_MASK,
};
use hypervisor::devices::pci::VirtualHostBridge;
use hypervisor::devices::pci::function::{FunctionControl, VirtualBar, VirtualFunction};
use hypervisor::devices::pl011::VirtualPl011;
use hypervisor::devices::pl031::VirtualPl031;
use libfuzzer_sys::fuzz_target;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

const VCPUS: usize = 3;
const LIST_REGISTERS: usize = 4;
const DISTRIBUTOR: u64 = 0x800_0000;
const REDISTRIBUTORS: u64 = 0x80a_0000;
const STRIDE: u64 = 0x2_0000;
const HOST_BRIDGE: u64 = 0x3000_0000;
const HOST_BRIDGE_SIZE: u64 = 1 << 20;
/// SPIs of devices, and the physical ones that they stand for.
const LINES: [(u32, u32); 2] = [(35, 41), (36, 77)];
/// Interrupts that may wait, each of which takes a turn or two.
const TURNS: usize = 400;

thread_local! {
    /// The physical interrupts that are active.
    static ACTIVE_LINES: RefCell<BTreeSet<u32>> = const { RefCell::new(BTreeSet::new()) };
}

fn deactivate(physical: u32) {
    ACTIVE_LINES.with_borrow_mut(|active| active.remove(&physical));
}

/// A function that does as it is told, unseen.
struct Quiet;

impl FunctionControl for Quiet {
    fn set_command(&self, _: bool, _: bool) {}
    fn has_interrupt(&self) -> bool {
        false
    }
}

fn host_bridge() -> VirtualHostBridge {
    let mut words = [0; 64];
    // Vendor and device; a list of capabilities, of which the second one is the vendor's own.
    words[0] = 0x1042_1af4;
    words[1] = 1 << 20;
    words[13] = 0x40;
    words[15] = 1 << 8;
    words[16] = 0x0000_5011;
    words[20] = 0x0010_0009;
    let bars = [VirtualBar {
        number: 4,
        ipa: Ipa(0x1000_0000),
        size: 0x4000,
        kind: 0xc,
    }];
    let function = || Arc::new(VirtualFunction::new(Arc::new(Quiet), &words, &bars));
    VirtualHostBridge::new(vec![function(), function()])
}

/// The list registers of a CPU, whose guest takes and ends interrupts as it likes.
#[derive(Default)]
struct Cpu {
    registers: [u64; LIST_REGISTERS],
    ended_elsewhere: u32,
    drops_only: bool,
    timer: bool,
}

impl Cpu {
    /// The guest ends what is in a list register; with the hardware bit, the physical interrupt
    /// ends as well.
    fn end(&mut self, n: usize) {
        let register = &mut self.registers[n];
        if *register & (ACTIVE | HW) == ACTIVE | HW {
            deactivate((*register >> PINTID_SHIFT & 0x3ff) as u32);
        }
        *register &= !ACTIVE;
    }
}

impl ListRegisters for Cpu {
    fn read(&self, n: usize) -> u64 {
        self.registers[n]
    }
    fn write(&mut self, n: usize, value: u64) {
        self.registers[n] = value;
    }
    fn set_refill(&mut self, _: Refill) {}
    fn drops_priority_only(&self) -> bool {
        self.drops_only
    }
    fn take_eoi_count(&mut self) -> u32 {
        core::mem::take(&mut self.ended_elsewhere)
    }
    fn physical_asserted(&self, _: u32) -> bool {
        self.timer
    }
    fn deactivate_physical(&mut self, intid: u32) {
        deactivate(intid);
    }
}

#[derive(Arbitrary)]
enum Step {
    Load {
        place: u16,
        redistributor: Option<u8>,
        bytes: u8,
    },
    Store {
        place: u16,
        redistributor: Option<u8>,
        bytes: u8,
        value: u64,
    },
    Sgi(u64),
    Deactivate(u16),
    Line(u16, bool),
    Pulse(u16),
    Timer,
    /// A device holds up its line, which interrupts unless it is active.
    Device(bool),
    PciLoad(u32, u8),
    PciStore(u32, u8, u64),
    /// The guest takes what is in a list register, or ends it.
    Take(u8),
    End(u8),
    EndElsewhere(u8),
    DropsOnly(bool),
    TimerLine(bool),
    Sync,
    /// The vCPU leaves its CPU, or the next one's turn comes.
    Save,
    Next,
    Reset,
    ResetVcpu,
    UartRead(u16),
    UartWrite(u16, u32),
    UartReceive(u8),
    UartHeld(bool),
    /// Where, and when.
    ClockRead(u16, u32),
    ClockWrite(u16, u32, u32),
}

struct Guest {
    gic: Arc<VirtualGic>,
    bus: Bus,
    uart: VirtualPl011,
    clock: VirtualPl031,
    cpus: [Cpu; VCPUS],
    vcpu: usize,
}

impl Guest {
    fn new() -> Self {
        let gic = Arc::new(VirtualGic::new(VCPUS, LIST_REGISTERS));
        let mut bus = Bus::new();
        let distributor = Arc::new(Distributor(Arc::clone(&gic)));
        bus.add(Ipa(DISTRIBUTOR), 0x1_0000, distributor)
            .expect("the bus is empty");
        let redistributors = Arc::new(Redistributors(Arc::clone(&gic)));
        let length = STRIDE * VCPUS as u64;
        bus.add(Ipa(REDISTRIBUTORS), length, redistributors)
            .expect("the place is free");
        bus.add(Ipa(HOST_BRIDGE), HOST_BRIDGE_SIZE, Arc::new(host_bridge()))
            .expect("the place is free");
        ACTIVE_LINES.take();
        Self {
            gic,
            bus,
            uart: VirtualPl011::default(),
            clock: VirtualPl031::default(),
            cpus: Default::default(),
            vcpu: 0,
        }
    }

    fn access(&self, place: u16, redistributor: Option<u8>, bytes: u8) -> (u64, usize) {
        let address = match redistributor {
            None => DISTRIBUTOR + u64::from(place),
            Some(number) => {
                REDISTRIBUTORS
                    + u64::from(number % (2 * VCPUS as u8)) * (STRIDE / 2)
                    + u64::from(place)
            }
        };
        (address, 1 << (bytes % 4))
    }

    fn step(&mut self, step: Step) {
        let vcpu = self.vcpu;
        let cpu = &mut self.cpus[vcpu];
        match step {
            Step::Load {
                place,
                redistributor,
                bytes,
            } => {
                let (address, bytes) = self.access(place, redistributor, bytes);
                if let Some((device, offset)) = self.bus.find(Ipa(address)) {
                    let _ = device.load(Access {
                        vcpu,
                        offset,
                        bytes,
                    });
                }
            }
            Step::Store {
                place,
                redistributor,
                bytes,
                value,
            } => {
                let (address, bytes) = self.access(place, redistributor, bytes);
                if let Some((device, offset)) = self.bus.find(Ipa(address)) {
                    let kicks = device.store(
                        Access {
                            vcpu,
                            offset,
                            bytes,
                        },
                        value,
                    );
                    assert!(kicks.vcpus().all(|kicked| kicked < VCPUS));
                }
            }
            Step::Sgi(value) => {
                let _ = self.gic.send_sgi(vcpu, value);
            }
            Step::Deactivate(intid) => {
                let _ = self.gic.deactivate(vcpu, u32::from(intid % 1100));
            }
            Step::Line(intid, level) => {
                let _ = self.gic.set_spi_level(u32::from(intid % 128), level);
            }
            Step::Pulse(intid) => {
                let _ = self.gic.pulse_spi(u32::from(intid % 128));
            }
            Step::Device(second) => {
                let (intid, physical) = LINES[usize::from(second)];
                if ACTIVE_LINES.with_borrow_mut(|active| active.insert(physical)) {
                    let _ = self.gic.raise_hardware_spi(intid, physical);
                }
            }
            Step::PciLoad(offset, bytes) => {
                let (offset, bytes) = (u64::from(offset) % HOST_BRIDGE_SIZE, 1 << (bytes % 4));
                if let Some((device, offset)) = self.bus.find(Ipa(HOST_BRIDGE + offset)) {
                    let _ = device.load(Access {
                        vcpu,
                        offset,
                        bytes,
                    });
                }
            }
            Step::PciStore(offset, bytes, value) => {
                let (offset, bytes) = (u64::from(offset) % HOST_BRIDGE_SIZE, 1 << (bytes % 4));
                if let Some((device, offset)) = self.bus.find(Ipa(HOST_BRIDGE + offset)) {
                    let _ = device.store(
                        Access {
                            vcpu,
                            offset,
                            bytes,
                        },
                        value,
                    );
                }
            }
            Step::Timer => self.gic.raise_hardware_ppi(vcpu, 27, cpu),
            Step::Take(n) => {
                let register = &mut cpu.registers[usize::from(n) % LIST_REGISTERS];
                if *register & PENDING != 0 {
                    *register = *register & !PENDING | ACTIVE;
                }
            }
            Step::End(n) => cpu.end(usize::from(n) % LIST_REGISTERS),
            Step::EndElsewhere(count) => cpu.ended_elsewhere = u32::from(count % 8),
            Step::DropsOnly(drops) => cpu.drops_only = drops,
            Step::TimerLine(level) => cpu.timer = level,
            Step::Sync => {
                let _ = self.gic.sync(vcpu, cpu);
            }
            Step::Save => {
                let _ = self.gic.save(vcpu, cpu);
            }
            Step::Next => {
                {
                    let _ = self.gic.save(vcpu, cpu);
                }
                self.vcpu = (vcpu + 1) % VCPUS;
                {
                    let _ = self.gic.sync(self.vcpu, &mut self.cpus[self.vcpu]);
                }
            }
            Step::Reset => {
                self.gic.reset();
                self.cpus = Default::default();
                // The hypervisor turns lines off when a life ends.
                ACTIVE_LINES.take();
            }
            Step::ResetVcpu => {
                self.gic.reset_vcpu(vcpu);
                *cpu = Cpu::default();
            }
            Step::UartRead(offset) => {
                let _ = self.uart.read(u64::from(offset));
            }
            Step::UartWrite(offset, value) => {
                let _ = self.uart.write(u64::from(offset), value);
            }
            Step::UartReceive(byte) => {
                let _ = self.uart.receive(byte);
            }
            Step::UartHeld(true) => self.uart.hold_back(),
            Step::UartHeld(false) => {
                let _ = self.uart.go_on();
            }
            Step::ClockRead(offset, now) => {
                let _ = self.clock.read(u64::from(offset), now);
            }
            Step::ClockWrite(offset, value, now) => {
                self.clock.write(u64::from(offset), value, now);
            }
        }
        let _ = (self.uart.flags(), self.uart.interrupt_asserted());
    }

    /// The guest turns all interrupts on, for its first vCPU, and takes and ends them.
    fn drain(&mut self) {
        const ISENABLER1: u64 = 0x104;
        const ICACTIVER1: u64 = 0x384;
        const IROUTER32: u64 = 0x6100;
        let distributor = |offset, bytes, value| {
            let _ = self.gic.distributor_write(offset, bytes, value);
        };
        for vcpu in 0..VCPUS {
            let _ = self.gic.save(vcpu, &mut self.cpus[vcpu]);
        }
        distributor(0, 4, 0b11);
        for offset in [ISENABLER1, ISENABLER1 + 4, ICACTIVER1, ICACTIVER1 + 4] {
            distributor(offset, 4, 0xffff_ffff);
        }
        for spi in 0..64 {
            distributor(IROUTER32 + 8 * spi, 8, 0);
        }
        // What is up would be taken again and again.
        for intid in 32..96 {
            let _ = self.gic.set_spi_level(intid, false);
        }
        self.cpus[0].drops_only = false;
        self.cpus[0].timer = false;
        for _ in 0..TURNS {
            let _ = self.gic.sync(0, &mut self.cpus[0]);
            for n in 0..LIST_REGISTERS {
                let register = &mut self.cpus[0].registers[n];
                if *register & PENDING != 0 {
                    *register = *register & !PENDING | ACTIVE;
                }
                self.cpus[0].end(n);
            }
        }
        let _ = self.gic.sync(0, &mut self.cpus[0]);
        let left = ACTIVE_LINES.take();
        assert!(left.is_empty(), "physical interrupts {left:?} stay active");
    }

    /// What the architecture wants of list registers (IHI0069H, §12.4.6): an INTID is in one at
    /// most. An SPI is one vCPU's at a time.
    fn check(&self) {
        let mut listed = Vec::new();
        for (vcpu, cpu) in self.cpus.iter().enumerate() {
            for register in cpu
                .registers
                .iter()
                .filter(|&&value| value & (PENDING | ACTIVE) != 0)
            {
                let intid = register & VINTID_MASK;
                assert!(intid < 96, "interrupt {intid} is not known");
                let whose = if intid < 32 { vcpu } else { VCPUS };
                assert!(
                    !listed.contains(&(whose, intid)),
                    "interrupt {intid} is listed twice"
                );
                listed.push((whose, intid));
            }
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut input = Unstructured::new(bytes);
    let mut guest = Guest::new();
    let mut play = || -> Result<()> {
        while !input.is_empty() {
            guest.step(input.arbitrary()?);
            guest.check();
        }
        Ok(())
    };
    let _ = play();
    guest.drain();
});
