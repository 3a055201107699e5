//! What is done at random.

use guest_shim::arch::memory::trespass;
use guest_shim::arch::timer::{self, Timer};
use guest_shim::arch::wild::{self, Cause, Size, SystemRegister};
use guest_shim::arch::{gic, layout};
use guest_shim::kit::random::Random;
use guest_shim::runtime::conduit::call;
use guest_shim::runtime::psci::id;
use host_abi::memory_map::guest::{CLOCK, DISTRIBUTOR, REDISTRIBUTORS, UART};
use smccc::Conduit;

use crate::tee::Tee;

/// Kinds of actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Kind {
    /// Any SMC.
    Smc,
    /// Any HVC.
    Hvc,
    /// A call of the TEE that makes some sense.
    Tee,
    /// A PSCI call that makes some sense.
    Psci,
    /// An access to the distributor.
    Distributor,
    /// An access to a redistributor.
    Redistributor,
    /// An access to the UART.
    Uart,
    /// An access to the real-time clock.
    Clock,
    /// A system register.
    Register,
    /// A timer.
    Timer,
    /// WFI.
    Wait,
    /// An exception of EL1's own, and other instructions.
    Exception,
    /// An access to what the guest has not, or in a way that it has not: it is stopped for it.
    Stray,
}

impl Kind {
    /// All of them, in their order.
    pub const ALL: [Self; 13] = [
        Self::Smc,
        Self::Hvc,
        Self::Tee,
        Self::Psci,
        Self::Distributor,
        Self::Redistributor,
        Self::Uart,
        Self::Clock,
        Self::Register,
        Self::Timer,
        Self::Wait,
        Self::Exception,
        Self::Stray,
    ];
}

/// The name of a kind in reports.
pub fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Smc => "smc",
        Kind::Hvc => "hvc",
        Kind::Tee => "tee",
        Kind::Psci => "psci",
        Kind::Distributor => "distributor",
        Kind::Redistributor => "redistributor",
        Kind::Uart => "uart",
        Kind::Clock => "clock",
        Kind::Register => "register",
        Kind::Timer => "timer",
        Kind::Wait => "wait",
        Kind::Exception => "exception",
        Kind::Stray => "stray",
    }
}

/// How often each kind comes, in proportion.
const WEIGHTS: [(Kind, u64); 12] = [
    (Kind::Smc, 8),
    (Kind::Hvc, 8),
    (Kind::Tee, 12),
    (Kind::Psci, 3),
    (Kind::Distributor, 12),
    (Kind::Redistributor, 12),
    (Kind::Uart, 4),
    (Kind::Clock, 2),
    (Kind::Register, 24),
    (Kind::Timer, 8),
    (Kind::Wait, 1),
    (Kind::Exception, 4),
];

/// What ends a life comes once in this many actions.
const FATAL: u64 = 100_000;

const FRAME: u64 = 0x1_0000;

/// Calls that may leave the payload without a vCPU or a life: CPU_SUSPEND, CPU_OFF, SYSTEM_OFF,
/// SYSTEM_RESET, CPU_DEFAULT_SUSPEND, SYSTEM_SUSPEND, SYSTEM_RESET2, and CPU_FREEZE.
const ENDS: [u32; 8] = [
    id::CPU_SUSPEND,
    id::CPU_OFF,
    id::SYSTEM_OFF,
    id::SYSTEM_RESET,
    id::CPU_DEFAULT_SUSPEND,
    id::SYSTEM_SUSPEND,
    id::SYSTEM_RESET2,
    id::CPU_FREEZE,
];

/// System registers that are there, as op0, op1, CRn, CRm, op2: those of the CPU interface, of
/// timers, debug, the performance monitors and translation, ID registers among them.
const KNOWN: [(u8, u8, u8, u8, u8); 62] = [
    (3, 0, 4, 6, 0),   // ICC_PMR_EL1
    (3, 0, 12, 8, 0),  // ICC_IAR0_EL1
    (3, 0, 12, 8, 1),  // ICC_EOIR0_EL1
    (3, 0, 12, 8, 2),  // ICC_HPPIR0_EL1
    (3, 0, 12, 8, 3),  // ICC_BPR0_EL1
    (3, 0, 12, 8, 4),  // ICC_AP0R0_EL1
    (3, 0, 12, 9, 0),  // ICC_AP1R0_EL1
    (3, 0, 12, 9, 1),  // ICC_AP1R1_EL1
    (3, 0, 12, 11, 1), // ICC_DIR_EL1
    (3, 0, 12, 11, 3), // ICC_RPR_EL1
    (3, 0, 12, 11, 5), // ICC_SGI1R_EL1
    (3, 0, 12, 11, 6), // ICC_ASGI1R_EL1
    (3, 0, 12, 11, 7), // ICC_SGI0R_EL1
    (3, 0, 12, 12, 0), // ICC_IAR1_EL1
    (3, 0, 12, 12, 1), // ICC_EOIR1_EL1
    (3, 0, 12, 12, 2), // ICC_HPPIR1_EL1
    (3, 0, 12, 12, 3), // ICC_BPR1_EL1
    (3, 0, 12, 12, 4), // ICC_CTLR_EL1
    (3, 0, 12, 12, 5), // ICC_SRE_EL1
    (3, 0, 12, 12, 6), // ICC_IGRPEN0_EL1
    (3, 0, 12, 12, 7), // ICC_IGRPEN1_EL1
    (3, 3, 14, 2, 0),  // CNTP_TVAL_EL0
    (3, 3, 14, 2, 1),  // CNTP_CTL_EL0
    (3, 3, 14, 2, 2),  // CNTP_CVAL_EL0
    (3, 3, 14, 3, 0),  // CNTV_TVAL_EL0
    (3, 3, 14, 3, 1),  // CNTV_CTL_EL0
    (3, 3, 14, 3, 2),  // CNTV_CVAL_EL0
    (3, 3, 14, 0, 0),  // CNTFRQ_EL0
    (3, 3, 14, 0, 1),  // CNTPCT_EL0
    (3, 0, 14, 1, 0),  // CNTKCTL_EL1
    (2, 0, 0, 0, 4),   // DBGBVR0_EL1
    (2, 0, 0, 0, 5),   // DBGBCR0_EL1
    (2, 0, 0, 1, 6),   // DBGWVR1_EL1
    (2, 0, 0, 1, 7),   // DBGWCR1_EL1
    (2, 0, 1, 0, 4),   // OSLAR_EL1
    (2, 0, 1, 1, 4),   // OSLSR_EL1
    (2, 0, 1, 3, 4),   // OSDLR_EL1
    (2, 0, 1, 4, 4),   // DBGPRCR_EL1
    (2, 0, 7, 8, 6),   // DBGCLAIMSET_EL1
    (2, 3, 0, 4, 0),   // DBGDTR_EL0
    (2, 3, 0, 5, 0),   // DBGDTRTX_EL0
    (3, 3, 9, 12, 0),  // PMCR_EL0
    (3, 3, 9, 12, 1),  // PMCNTENSET_EL0
    (3, 3, 9, 13, 0),  // PMCCNTR_EL0
    (3, 3, 9, 14, 0),  // PMUSERENR_EL0
    (3, 0, 9, 14, 1),  // PMINTENSET_EL1
    (3, 3, 14, 15, 7), // PMCCFILTR_EL0
    (3, 0, 1, 0, 1),   // ACTLR_EL1
    (3, 0, 1, 0, 2),   // CPACR_EL1
    (3, 0, 5, 1, 0),   // AFSR0_EL1
    (3, 0, 7, 4, 0),   // PAR_EL1
    (3, 0, 12, 1, 1),  // DISR_EL1
    (3, 0, 13, 0, 1),  // CONTEXTIDR_EL1
    (3, 2, 0, 0, 0),   // CSSELR_EL1
    (3, 1, 0, 0, 0),   // CCSIDR_EL1
    (3, 1, 15, 2, 1),  // CPUECTLR_EL1 of Cortex-A57
    (3, 1, 15, 3, 0),  // CBAR_EL1
    (3, 4, 1, 1, 0),   // HCR_EL2
    (3, 6, 1, 1, 0),   // SCR_EL3
    (1, 0, 8, 3, 0),   // TLBI VMALLE1IS
    (1, 0, 7, 14, 2),  // DC CISW
    (1, 0, 7, 8, 0),   // AT S1E1R
];

/// A vCPU's part of the fuzz.
pub struct Player {
    pub random: Random,
    /// Its index, and how many there are.
    pub vcpu: usize,
    pub vcpus: usize,
    /// The first address behind the guest's memory.
    pub memory_end: u64,
    pub tee: Option<Tee>,
}

impl Player {
    /// Does something; says what.
    pub fn act(&mut self) -> Kind {
        let kind = if self.random.once_in(FATAL) {
            Kind::Stray
        } else {
            self.kind()
        };
        match kind {
            Kind::Smc => self.any_call(Conduit::Smc),
            Kind::Hvc => self.any_call(Conduit::Hvc),
            Kind::Tee => match &mut self.tee {
                Some(tee) => tee.act(&mut self.random),
                None => self.any_call(Conduit::Smc),
            },
            Kind::Psci => self.psci(),
            Kind::Distributor => self.access(DISTRIBUTOR, FRAME),
            Kind::Redistributor => {
                // One more than there are targets no vCPU.
                let frames = 2 * self.vcpus as u64;
                let frame = self.random.below(frames);
                self.access(REDISTRIBUTORS + frame * FRAME, FRAME);
            }
            Kind::Uart => self.uart(),
            Kind::Clock => self.clock(),
            Kind::Register => self.register(),
            Kind::Timer => self.timer(),
            Kind::Wait => self.wait(),
            Kind::Exception => self.random.pick(&Cause::ALL).execute(),
            Kind::Stray => self.stray(),
        }
        kind
    }

    fn kind(&mut self) -> Kind {
        let all = WEIGHTS.iter().map(|(_, weight)| weight).sum();
        let mut at = self.random.below(all);
        for (kind, weight) in WEIGHTS {
            if at < weight {
                return kind;
            }
            at -= weight;
        }
        Kind::Register
    }

    /// A number such as devices and calls like or dislike.
    fn number(&mut self) -> u64 {
        match self.random.below(8) {
            0 => 0,
            1 => u64::MAX,
            2 => 1 << self.random.below(64),
            3 => (1 << self.random.below(64)) - 1,
            4 => self.random.below(256),
            5 => self.memory_end - self.random.below(0x2000),
            6 => self.random.bits() & 0xffff_ffff,
            _ => self.random.bits(),
        }
    }

    fn any_call(&mut self, conduit: Conduit) {
        let random = &mut self.random;
        let owner = match random.below(4) {
            0 => random.below(64),
            1 => 50,
            _ => random.below(8),
        } as u32;
        let number = match random.below(4) {
            0 => random.below(0x1_0000),
            1 => 0xff00 + random.below(0x100),
            _ => random.below(0x60),
        } as u32;
        let top = random.pick(&[0, 0x4000_0000, 0x8000_0000, 0xc000_0000_u32]);
        // Bits 16 to 23 are zero in calls that there are.
        let extra = if random.once_in(16) {
            random.below(256) as u32
        } else {
            0
        };
        let function = top | owner << 24 | extra << 16 | number;
        if ENDS.contains(&(function & !0x4000_0000)) && !self.random.once_in(FATAL / 100) {
            return;
        }
        // Memory that the payload runs from is not for the TEE to write to.
        let arguments: [u64; 6] = core::array::from_fn(|_| self.number());
        let in_image = |word: u64| (0x4000_0000..self.memory_end).contains(&(word & 0xffff_ffff));
        let arguments = arguments.map(|word| if in_image(word) { 0 } else { word });
        let _ = call(conduit, function, &arguments);
    }

    fn psci(&mut self) {
        let number = self.number();
        let random = &mut self.random;
        let wide = random.pick(&[0, 0x4000_0000_u32]);
        let target = random.below(self.vcpus as u64 + 2);
        // Another vCPU that is on is not started again; one that is off would start without its
        // stack.
        let (function, arguments) = match random.below(8) {
            0 => (id::AFFINITY_INFO, [target, random.below(4), 0]),
            1 => (id::CPU_ON, [self.vcpu as u64, number, number]),
            2 => (
                id::CPU_ON,
                [self.vcpus as u64 + random.below(9), number, number],
            ),
            3 => (id::FEATURES, [number, 0, 0]),
            4 => (id::MIGRATE_INFO_TYPE, [0; 3]),
            // Standby.
            5 => {
                self.wake_soon();
                (id::CPU_SUSPEND, [0; 3])
            }
            6 if self.vcpu != 0 && random.once_in(FATAL / 1000) => (id::CPU_OFF, [0; 3]),
            _ => (id::VERSION, [0; 3]),
        };
        let _ = call(Conduit::Smc, function | wide, &arguments);
    }

    fn access(&mut self, base: u64, length: u64) {
        let value = self.number();
        let random = &mut self.random;
        let size = random.pick(&Size::ALL);
        let offset = match random.below(4) {
            // Where most registers are.
            0 => random.below(0x1000) & !3,
            1 => 0x6000 + (random.below(0x400) & !7),
            2 => random.below(length) & !7,
            _ => random.below(length - 8),
        };
        let address = base + offset;
        if random.once_in(2) {
            wild::store(address, size, value);
        } else {
            let _ = wild::load(address, size);
        }
    }

    fn uart(&mut self) {
        let value = self.number();
        let random = &mut self.random;
        let size = random.pick(&Size::ALL);
        let offset = random.below(0xffc);
        match random.below(32) {
            // What is not part of a report.
            0 => wild::store(
                UART,
                Size::Word,
                u64::from(random.pick(b"xyz~\t\n\r\x1b\x07\x00\xff")),
            ),
            // Flags, controls and interrupts.
            1..8 => wild::store(UART + 0x24 + 4 * random.below(10), Size::Word, value),
            8..16 if offset >= 4 => wild::store(UART + offset, size, value),
            _ => {
                let _ = wild::load(UART + offset, size);
            }
        }
    }

    fn clock(&mut self) {
        let value = self.number();
        let random = &mut self.random;
        let size = random.pick(&Size::ALL);
        let address = match random.below(4) {
            0 => CLOCK + random.below(0xff9),
            _ => CLOCK + 4 * random.below(8),
        };
        if random.once_in(2) {
            wild::store(address, size, value);
        } else {
            let _ = wild::load(address, size);
        }
    }

    fn register(&mut self) {
        let value = self.number();
        let random = &mut self.random;
        let (op0, op1, crn, crm, op2) = if random.once_in(2) {
            random.pick(&KNOWN)
        } else {
            let mut below = |bound| random.below(bound) as u8;
            (1 + below(3), below(8), below(16), below(16), below(8))
        };
        let register = SystemRegister {
            op0,
            op1,
            crn,
            crm,
            op2,
        };
        if random.once_in(2) {
            register.write(self.vcpu, value);
        } else {
            let _ = register.read(self.vcpu);
        }
    }

    fn timer(&mut self) {
        let value = self.number();
        let timer = self.random.pick(&Timer::ALL);
        match self.random.below(5) {
            0 => timer.set_control(value & 7),
            1 => timer.set_compare_value(value),
            2 => timer.set_compare_value(timer.now().wrapping_add(value & 0xffff)),
            3 => timer.set_timer_value(value as i32),
            _ => {
                let _ = timer.control();
            }
        }
    }

    /// Has the virtual timer fire within a millisecond, whatever became of the interrupt
    /// controller.
    fn wake_soon(&mut self) {
        gic::init();
        gic::init_vcpu(self.vcpu);
        timer::set(self.random.below(timer::milliseconds(1)));
    }

    fn wait(&mut self) {
        self.wake_soon();
        timer::wait_for_interrupt();
        if self.random.once_in(2) {
            let _ = gic::acknowledge();
        }
    }

    /// Ends this life, one way or another.
    fn stray(&mut self) {
        let random = &mut self.random;
        match random.below(5) {
            0 => wild::load_pair(DISTRIBUTOR),
            1 => drop(wild::load(
                0x0e10_0000 + (random.below(0x100) << 12),
                Size::Word,
            )),
            2 => wild::store(random.below(0x0800_0000) & !7, Size::Doubleword, 1),
            3 => drop(trespass(self.memory_end + (random.below(0x100) << 12))),
            _ => {
                let end = random.pick(&[id::SYSTEM_OFF, id::SYSTEM_RESET]);
                let _ = call(Conduit::Smc, end, &[]);
            }
        }
        // It survived, which is for others to judge.
        let _ = layout::image_end();
    }
}
