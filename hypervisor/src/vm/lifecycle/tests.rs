use super::*;
use crate::arch::fake;
use crate::vm::image::device_tree::GuestLayout;
use crate::vm::power::Status;
use crate::vm::testing::{Bench, KERNEL, MEMORY, description};

fn read<const N: usize>(bench: &Bench, ipa: u64) -> [u8; N] {
    let mut bytes = [0xaa; N];
    bench
        .vm
        .ram
        .read(Ipa(ipa), &mut bytes)
        .expect("it is memory");
    bytes
}

#[test]
fn a_vm_starts_with_its_kernel_a_tree_and_zeros() {
    let bench = &Bench::new(1);
    assert_eq!(bench.vm.life(), Life::Running);
    let context = &bench.vcpus[0].context;
    assert_eq!(context.pc, GuestLayout::RAM.0);
    assert_eq!(read(bench, context.pc), KERNEL);
    assert_eq!(read(bench, context.pc + KERNEL.len() as u64), [0; 64]);
    assert_eq!(read(bench, context.x[0]), 0xd00d_feed_u32.to_be_bytes());
    assert_eq!(read(bench, GuestLayout::RAM.0 + MEMORY - 8), [0; 8]);
}

#[test]
fn another_life_finds_nothing_of_the_one_before() {
    let bench = &mut Bench::new(1);
    let at = GuestLayout::RAM.0 + MEMORY - 4096;
    bench
        .vm
        .ram
        .write(Ipa(at), &[0x5a; 64])
        .expect("it is memory");
    assert!(bench.vm.stop(After::Restart, None));
    assert_eq!(bench.work(), Step::Done, "it ends");
    assert_eq!(bench.work(), Step::Done, "it starts");
    assert_eq!(read(bench, at), [0; 64]);
    assert!(matches!(bench.vcpus[0].look(), Status::On { .. }));
}

#[test]
fn memory_is_filled_a_little_at_a_time() {
    let mut bench = Bench::off(description(1));
    bench.vm.ask_for_start();
    let _ = bench.vcpus[0].look();
    let mut steps = 0;
    while bench.vcpus[0].do_other_work() == Step::GoesOn {
        steps += 1;
    }
    assert!(steps > 100, "{steps}");
}

#[test]
fn a_vm_that_does_not_fit_into_its_memory_is_off_with_a_reason() {
    let mut description = description(1);
    description.memory = host_abi::memory_map::BLOCK_SIZE;
    let mut bench = Bench::off(description);
    bench.vm.ask_for_start();
    assert_eq!(bench.work(), Step::Off);
    assert_eq!(bench.vm.life(), Life::Off);
    assert!(!bench.vm.stop(After::Off, None), "it does not run");
}

#[test]
fn a_vm_that_is_off_starts_again_and_one_that_runs_does_not() {
    let mut bench = Bench::new(1);
    assert!(!bench.vm.start_again());
    assert!(bench.vm.stop(After::Off, None));
    assert!(!bench.vm.start_again(), "not before it has ended");
    assert_eq!(bench.work(), Step::Off);
    assert!(bench.vm.start_again());
    assert_eq!(bench.work(), Step::Done);
    assert_eq!(bench.vm.life(), Life::Running);
}

#[test]
fn a_stop_waits_for_each_vcpu_to_leave_its_cpu() {
    let bench = &mut Bench::new(2);
    bench.vcpus[0].load(&bench.cpu);
    assert!(bench.vm.stop(After::Off, None));
    assert_eq!(bench.vcpus[1].look(), Status::Off);
    assert!(bench.vcpus[0].must_leave());
    assert!(!bench.vm.is_ending(), "one is still in its CPU");
    bench.vcpus[0].save(&bench.cpu);
    let _ = bench.vcpus[0].look();
    assert!(bench.vm.is_ending());
    assert_eq!(bench.work(), Step::Off);
}

#[test]
fn a_vcpu_has_its_own_registers_in_the_cpu() {
    let bench = &mut Bench::new(2);
    let entry = Entry {
        pc: GuestLayout::RAM.0,
        argument: 0,
    };
    assert_eq!(bench.vm.cpu_on(1, entry), Ok(()));
    assert!(matches!(bench.vcpus[1].look(), Status::On { .. }));
    for round in 0..3 {
        for n in 0..2 {
            bench.vcpus[n].load(&bench.cpu);
            assert_eq!(fake::register("vmpidr_el2"), 1 << 31 | n as u64);
            let expected = if round == 0 { 0 } else { 100 + n as u64 };
            assert_eq!(fake::register("tpidr_el1"), expected);
            fake::set_register("tpidr_el1", 100 + n as u64);
            bench.vcpus[n].save(&bench.cpu);
        }
    }
}

#[test]
#[should_panic(expected = "what is entered was loaded")]
fn a_vcpu_that_is_not_loaded_is_not_entered() {
    let bench = &mut Bench::new(1);
    let _ = bench.vcpus[0].run(&bench.cpu);
}

#[test]
fn a_guest_runs_until_it_leaves() {
    use crate::arch::context::Exit;
    let bench = &mut Bench::new(1);
    fake::set_guest(|context| {
        context.x[1] += 1;
        Exit::Interrupt
    });
    bench.vcpus[0].load(&bench.cpu);
    for n in 1..4 {
        assert_eq!(bench.vcpus[0].run(&bench.cpu), Exit::Interrupt);
        assert_eq!(bench.vcpus[0].context.x[1], n);
    }
}

#[test]
fn a_timer_that_fires_gets_to_the_guest_and_stays_active_for_it() {
    use crate::arch::timer::VIRTUAL_TIMER;
    use crate::drivers::gicv3;
    use crate::drivers::interrupt::Interrupt;
    let bench = &mut Bench::new(1);
    bench.vcpus[0].load(&bench.cpu);
    let gic = &bench.vm.gic;
    let _ = gic.distributor_write(0, 4, 0b10);
    let _ = gic.redistributor_write(0, 0x1_0080, 4, u64::from(u32::MAX));
    let _ = gic.redistributor_write(0, 0x1_0100, 4, 1 << VIRTUAL_TIMER);
    // CNTV_CTL_EL0: ENABLE and ISTATUS.
    fake::set_register("cntv_ctl_el0", 0b101);
    fake::raise(VIRTUAL_TIMER);
    assert_eq!(
        gicv3::acknowledge(),
        Some(Interrupt::GuestTimer(VIRTUAL_TIMER))
    );
    bench.vcpus[0].raise_timer(&bench.cpu, VIRTUAL_TIMER);
    bench.vcpus[0].sync_interrupts(&bench.cpu);
    let list_register = fake::register("ich_lr0_el2");
    assert_eq!(list_register & 0xffff_ffff, u64::from(VIRTUAL_TIMER));
    assert_eq!(fake::active_ppis(), 1 << VIRTUAL_TIMER);
    bench.vcpus[0].save(&bench.cpu);
    assert_eq!(fake::active_ppis(), 0, "it may fire for another vCPU");
    bench.vcpus[0].load(&bench.cpu);
    assert_eq!(fake::active_ppis(), 1 << VIRTUAL_TIMER);
}
