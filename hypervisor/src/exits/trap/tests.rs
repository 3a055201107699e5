use super::*;
use crate::arch::fake;
use crate::vm::image::device_tree::GuestLayout;
use crate::vm::power::{After, Life};
use crate::vm::testing::Bench;
use host_abi::memory_map::guest::REDISTRIBUTOR_STRIDE;

/// Exception classes (DDI0487J.a, D19.2.37), where ESR_EL2 has them, with IL.
const fn class(class: u64) -> u64 {
    class << 26 | 1 << 25
}

const UNKNOWN: u64 = class(0);
const WFI: u64 = class(0x01);
const CP15_OF_32_BITS: u64 = class(0x03);
const FLOATING_POINT: u64 = class(0x07);
const HVC: u64 = class(0x16);
const SMC: u64 = class(0x17);
const SYSTEM_REGISTER: u64 = class(0x18);
const SVE: u64 = class(0x19);
const INSTRUCTION_ABORT: u64 = class(0x20);
const DATA_ABORT: u64 = class(0x24);

const PC: u64 = GuestLayout::RAM.0 + 0x1000;
const VECTORS: u64 = GuestLayout::RAM.0 + 0x80_0000;
/// An address where a guest has nothing.
const NOWHERE: u64 = 0x1000;

const VERSION: u64 = 0x8000_0000;

/// A VM whose first vCPU is in the CPU, at [`PC`].
fn loaded() -> Bench {
    let mut bench = Bench::new(2);
    bench.vcpus[0].load(&bench.cpu);
    bench.vcpus[0].context.pc = PC;
    fake::set_register("vbar_el1", VECTORS);
    bench
}

fn trap(bench: &mut Bench, syndrome: u64) -> (Cause, Next) {
    fake::set_register("esr_el2", syndrome);
    serve(&mut bench.vcpus[0], &bench.cpu)
}

/// A load (or a store) of `bytes` bytes by x`transfer` at an IPA where stage 2 has nothing.
fn access(bench: &mut Bench, ipa: u64, write: bool, bytes: u64, transfer: u64) -> (Cause, Next) {
    /// ISV, SF; DFSC: translation fault, level 3.
    const VALID: u64 = 1 << 24 | 1 << 15 | 0b111;
    fake::set_register("hpfar_el2", ipa >> 12 << 4);
    fake::set_register("far_el2", ipa);
    let size = u64::from(bytes.trailing_zeros()) << 22;
    let syndrome = DATA_ABORT | VALID | size | transfer << 16 | u64::from(write) << 6;
    trap(bench, syndrome)
}

fn load(bench: &mut Bench, ipa: u64, bytes: u64) -> u64 {
    bench.vcpus[0].context.x[5] = u64::MAX;
    let pc = bench.vcpus[0].context.pc;
    assert_eq!(
        access(bench, ipa, false, bytes, 5),
        (Cause::Device, Next::Resume)
    );
    assert_eq!(bench.vcpus[0].context.pc, pc + 4);
    bench.vcpus[0].context.x[5]
}

fn store(bench: &mut Bench, ipa: u64, bytes: u64, value: u64) {
    bench.vcpus[0].context.x[6] = value;
    let pc = bench.vcpus[0].context.pc;
    assert_eq!(
        access(bench, ipa, true, bytes, 6),
        (Cause::Device, Next::Resume)
    );
    assert_eq!(bench.vcpus[0].context.pc, pc + 4);
}

/// MRS (or MSR) of a system register by x`transfer`.
fn register(name: [u64; 5], read: bool, transfer: u64) -> u64 {
    let [op0, op1, crn, crm, op2] = name;
    SYSTEM_REGISTER
        | op0 << 20
        | op2 << 17
        | op1 << 14
        | crn << 10
        | transfer << 5
        | crm << 1
        | u64::from(read)
}

fn read_register(bench: &mut Bench, name: [u64; 5]) -> u64 {
    bench.vcpus[0].context.x[3] = u64::MAX;
    let pc = bench.vcpus[0].context.pc;
    let served = trap(bench, register(name, true, 3));
    assert_eq!(served, (Cause::Register, Next::Resume), "{name:?}");
    assert_eq!(bench.vcpus[0].context.pc, pc + 4, "{name:?}");
    bench.vcpus[0].context.x[3]
}

fn write_register(bench: &mut Bench, name: [u64; 5], value: u64) {
    bench.vcpus[0].context.x[3] = value;
    let pc = bench.vcpus[0].context.pc;
    let served = trap(bench, register(name, false, 3));
    assert_eq!(served, (Cause::Register, Next::Resume), "{name:?}");
    assert_eq!(bench.vcpus[0].context.pc, pc + 4, "{name:?}");
}

/// Whether the vCPU is at its vector for a synchronous exception of EL1, which tells of `syndrome`
/// and came from `pc`.
fn is_at_vector(bench: &Bench, syndrome: u64, pc: u64) -> bool {
    bench.vcpus[0].context.pc == VECTORS + 0x200
        && fake::register("esr_el1") == syndrome
        && fake::register("elr_el1") == pc
}

#[test]
fn an_smc_is_served_behind_its_instruction_and_an_hvc_comes_there_by_itself() {
    for (conduit, syndrome, pc) in [("smc", SMC, PC + 4), ("hvc", HVC, PC)] {
        let bench = &mut loaded();
        bench.vcpus[0].context.x[0] = VERSION;
        assert_eq!(trap(bench, syndrome), (Cause::OtherCall, Next::Resume));
        let context = &bench.vcpus[0].context;
        assert_eq!((context.x[0], context.pc), (0x1_0002, pc), "{conduit}");
    }
}

#[test]
fn calls_are_charged_by_what_they_are() {
    for (function, cause) in [
        (0x8400_0000, Cause::OtherCall),
        (0x3200_0000, Cause::YieldingTeeCall),
        (0xb200_0001, Cause::FastTeeCall),
    ] {
        let bench = &mut loaded();
        bench.vcpus[0].context.x[0] = function;
        assert_eq!(trap(bench, SMC).0, cause, "{function:#x}");
    }
}

#[test]
fn wfi_waits() {
    let bench = &mut loaded();
    assert_eq!(trap(bench, WFI), (Cause::Wait, Next::Wait));
    assert_eq!(bench.vcpus[0].context.pc, PC + 4);
}

#[test]
fn what_a_guest_does_not_have_is_undefined() {
    for syndrome in [SVE, FLOATING_POINT, CP15_OF_32_BITS] {
        let bench = &mut loaded();
        assert_eq!(
            trap(bench, syndrome),
            (Cause::Other, Next::Resume),
            "{syndrome:#x}"
        );
        assert!(is_at_vector(bench, UNKNOWN, PC), "{syndrome:#x}");
        assert_eq!(bench.vm.life(), Life::Running);
    }
}

#[test]
fn an_exception_that_no_guest_can_cause_stops_the_vm() {
    for number in [0x1e, 0x21, 0x22, 0x25, 0x26, 0x2f, 0x30, 0x3c, 0x3f] {
        let bench = &mut loaded();
        let served = trap(bench, class(number));
        assert_eq!(served, (Cause::Other, Next::Reschedule), "{number:#x}");
        assert_eq!(bench.vm.life(), Life::Stopping(After::Off), "{number:#x}");
    }
}

#[test]
fn a_jump_to_nowhere_is_an_abort_of_the_guest() {
    let bench = &mut loaded();
    bench.vcpus[0].context.pc = NOWHERE;
    fake::set_register("far_el2", NOWHERE);
    assert_eq!(
        trap(bench, INSTRUCTION_ABORT | 0b111),
        (Cause::Other, Next::Resume)
    );
    assert_eq!(bench.vcpus[0].context.pc, VECTORS + 0x200);
    assert_eq!(fake::register("far_el1"), NOWHERE);
    assert_eq!(fake::register("elr_el1"), NOWHERE);
}

#[test]
fn vectors_that_lie_nowhere_stop_the_vm() {
    let bench = &mut loaded();
    fake::set_register("vbar_el1", NOWHERE);
    bench.vcpus[0].context.pc = NOWHERE + 0x200;
    assert_eq!(
        trap(bench, INSTRUCTION_ABORT | 0b111),
        (Cause::Other, Next::Reschedule)
    );
    assert_eq!(bench.vm.life(), Life::Stopping(After::Off));
}

#[test]
fn an_access_of_the_kernel_to_nowhere_stops_the_vm() {
    for write in [false, true] {
        let bench = &mut loaded();
        assert_eq!(
            access(bench, NOWHERE, write, 8, 0),
            (Cause::Device, Next::Reschedule)
        );
        assert_eq!(bench.vm.life(), Life::Stopping(After::Off));
    }
}

#[test]
fn an_access_of_a_program_to_nowhere_is_an_abort_that_its_kernel_gets() {
    let bench = &mut loaded();
    bench.vcpus[0].context.return_to_el0();
    assert_eq!(
        access(bench, NOWHERE, true, 8, 0),
        (Cause::Device, Next::Resume)
    );
    assert_eq!(bench.vcpus[0].context.pc, VECTORS + 0x400);
    assert_eq!(bench.vm.life(), Life::Running);
}

#[test]
fn the_uart_tells_what_it_is() {
    let bench = &mut loaded();
    let part: Vec<u64> = (0..4)
        .map(|n| load(bench, GuestLayout::UART.0 + 0xfe0 + 4 * n, 4))
        .collect();
    assert_eq!(part, [0x11, 0x10, 0x34, 0x00]);
}

#[test]
fn the_uart_takes_characters_and_is_not_full() {
    let bench = &mut loaded();
    for byte in b"a line\n" {
        let flags = load(bench, GuestLayout::UART.0 + 0x18, 4);
        assert_eq!(flags & 1 << 5, 0, "TXFF");
        store(bench, GuestLayout::UART.0, 1, u64::from(*byte));
    }
}

#[test]
fn what_is_typed_comes_out_of_the_uart() {
    let bench = &mut loaded();
    // UARTCR: UARTEN, TXE, RXE.
    store(bench, GuestLayout::UART.0 + 0x30, 4, 0x301);
    let _ = bench.vm.console.type_in(b'x');
    assert_eq!(
        load(bench, GuestLayout::UART.0 + 0x18, 4) & 1 << 4,
        0,
        "RXFE"
    );
    assert_eq!(load(bench, GuestLayout::UART.0, 4), u64::from(b'x'));
    assert_ne!(
        load(bench, GuestLayout::UART.0 + 0x18, 4) & 1 << 4,
        0,
        "RXFE"
    );
}

#[test]
fn each_vcpu_has_a_redistributor() {
    let bench = &mut loaded();
    for vcpu in 0..2 {
        let frame = GuestLayout::REDISTRIBUTORS.0 + vcpu * REDISTRIBUTOR_STRIDE;
        // GICR_TYPER: affinity, processor number, Last.
        let expected = vcpu << 32 | vcpu << 8 | u64::from(vcpu == 1) << 4;
        assert_eq!(load(bench, frame + 8, 8), expected);
    }
    let behind = GuestLayout::REDISTRIBUTORS.0 + 2 * REDISTRIBUTOR_STRIDE;
    assert_eq!(access(bench, behind, false, 4, 0).1, Next::Reschedule);
}

#[test]
fn an_interrupt_that_is_sent_gets_to_the_list_registers() {
    let bench = &mut loaded();
    let (distributor, frame) = (GuestLayout::DISTRIBUTOR.0, GuestLayout::REDISTRIBUTORS.0);
    // GICD_CTLR: EnableGrp1; GICR_IGROUPR0 and ISENABLER0 in the SGI frame.
    store(bench, distributor, 4, 0b10);
    store(bench, frame + 0x1_0080, 4, 0xffff_ffff);
    store(bench, frame + 0x1_0100, 4, 0xffff);
    // ICC_SGI1R_EL1: SGI 5 to the vCPU with Aff0 = 0.
    write_register(bench, [3, 0, 12, 11, 5], 5 << 24 | 1);
    assert!(bench.vm.gic.needs_sync(0));
    bench.vcpus[0].sync_interrupts(&bench.cpu);
    let list_register = fake::register("ich_lr0_el2");
    assert_eq!(
        (list_register & 0xffff_ffff, list_register >> 62),
        (5, 1),
        "pending"
    );
}

#[test]
fn an_access_that_says_not_what_it_is_can_not_be_emulated() {
    let bench = &mut loaded();
    fake::set_register("hpfar_el2", GuestLayout::UART.0 >> 12 << 4);
    fake::set_register("far_el2", GuestLayout::UART.0);
    assert_eq!(
        trap(bench, DATA_ABORT | 0b111),
        (Cause::Device, Next::Reschedule)
    );
    assert_eq!(bench.vm.life(), Life::Stopping(After::Off));
}

#[test]
fn id_registers_are_those_of_the_cpu_as_far_as_a_guest_may_know_them() {
    let bench = &mut loaded();
    // ID_AA64PFR0_EL1: SVE, EL3 to EL0.
    fake::set_register("s3_0_c0_c4_0", 1 << 32 | 0x1111);
    let value = read_register(bench, [3, 0, 0, 4, 0]);
    assert_eq!(value >> 32 & 0xf, 0, "SVE");
    assert_ne!(value & 0xff, 0, "EL0 and EL1");
}

#[test]
fn the_interrupt_controllers_registers_are_on() {
    let bench = &mut loaded();
    assert_eq!(
        read_register(bench, [3, 0, 12, 12, 5]),
        0b111,
        "ICC_SRE_EL1"
    );
    write_register(bench, [3, 0, 12, 12, 5], 0);
    assert_eq!(read_register(bench, [3, 0, 12, 12, 5]), 0b111);
}

#[test]
fn performance_monitors_read_as_zero_and_ignore_writes() {
    let bench = &mut loaded();
    for name in [
        [3, 3, 9, 12, 0],
        [3, 3, 9, 13, 0],
        [3, 3, 14, 15, 7],
        [3, 0, 1, 0, 1],
    ] {
        write_register(bench, name, u64::MAX);
        assert_eq!(read_register(bench, name), 0, "{name:?}");
    }
}

#[test]
fn debug_registers_hold_what_was_written() {
    let bench = &mut loaded();
    // ID_AA64DFR0_EL1: six breakpoints, four watchpoints.
    fake::set_register("id_aa64dfr0_el1", 5 << 12 | 3 << 20);
    write_register(bench, [2, 0, 0, 1, 4], 0x1234_5678);
    assert_eq!(
        read_register(bench, [2, 0, 0, 1, 4]),
        0x1234_5678,
        "DBGBVR1_EL1"
    );
}

#[test]
fn a_register_that_is_not_there_is_undefined() {
    for read in [true, false] {
        for name in [[3, 6, 1, 0, 0], [3, 0, 15, 0, 0], [2, 7, 15, 15, 7]] {
            let bench = &mut loaded();
            let served = trap(bench, register(name, read, 3));
            assert_eq!(served, (Cause::Register, Next::Resume));
            assert!(is_at_vector(bench, UNKNOWN, PC), "{name:?}");
        }
    }
}

#[test]
fn xzr_reads_as_zero_and_takes_nothing() {
    let bench = &mut loaded();
    let before = bench.vcpus[0].context.x;
    assert_eq!(
        trap(bench, register([3, 0, 12, 12, 5], true, 31)).1,
        Next::Resume
    );
    assert_eq!(
        access(bench, GuestLayout::UART.0 + 0xfe0, false, 4, 31).1,
        Next::Resume
    );
    assert_eq!(bench.vcpus[0].context.x, before);
}
