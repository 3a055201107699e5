//! A guest's accesses to its interrupt controller, its UART and its clock, of every size and
//! offset, while interrupts come and go: nothing panics, no interrupt is in two list registers at a
//! time, and none is there that is not known.

#![no_main]

use addresses::Ipa;
use arbitrary::{Arbitrary, Result, Unstructured};
use hypervisor::devices::bus::{Access, Bus};
use hypervisor::devices::gicv3::VirtualGic;
use hypervisor::devices::gicv3::frames::{Distributor, Redistributors};
use hypervisor::devices::gicv3::list_register::{
    ACTIVE, ListRegisters, PENDING, Refill, VINTID_MASK,
};
use hypervisor::devices::pl011::VirtualPl011;
use hypervisor::devices::pl031::VirtualPl031;
use libfuzzer_sys::fuzz_target;
use std::sync::Arc;

const VCPUS: usize = 3;
const LIST_REGISTERS: usize = 4;
const DISTRIBUTOR: u64 = 0x800_0000;
const REDISTRIBUTORS: u64 = 0x80a_0000;
const STRIDE: u64 = 0x2_0000;

/// The list registers of a CPU, whose guest takes and ends interrupts as it likes.
#[derive(Default)]
struct Cpu {
    registers: [u64; LIST_REGISTERS],
    ended_elsewhere: u32,
    drops_only: bool,
    timer: bool,
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
    fn deactivate_physical(&mut self, _: u32) {}
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
            Step::Timer => self.gic.raise_hardware_ppi(vcpu, 27, cpu),
            Step::Take(n) => {
                let register = &mut cpu.registers[usize::from(n) % LIST_REGISTERS];
                if *register & PENDING != 0 {
                    *register = *register & !PENDING | ACTIVE;
                }
            }
            Step::End(n) => cpu.registers[usize::from(n) % LIST_REGISTERS] &= !ACTIVE,
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
});
