use super::function::*;
use super::*;
use crate::exits::smc;
use crate::vm::image::device_tree::GuestLayout;
use crate::vm::power::{Life, Status};
use crate::vm::testing::{Bench, MEMORY};
use smccc::Conduit;
use std::vec::Vec;

const SUCCESS: i64 = 0;
const REFUSED: i64 = -1;
const INVALID_PARAMETERS: i64 = -2;
const ALREADY_ON: i64 = -4;
const ON_PENDING: i64 = -5;
const INVALID_ADDRESS: i64 = -9;

/// Where a vCPU can start.
const ENTRY: u64 = GuestLayout::RAM.0 + 0x8_0000;
/// The first address behind the VM's memory.
const BEHIND_MEMORY: u64 = GuestLayout::RAM.0 + MEMORY;

/// Calls PSCI, and checks that no register but x0 changed.
fn call_by(vcpu: &mut Vcpu, conduit: Conduit, id: u32, arguments: &[u64]) -> (Next, i64) {
    for (n, register) in vcpu.context.x.iter_mut().enumerate() {
        *register = 0xfeed_0000 + n as u64;
    }
    vcpu.context.x[0] = u64::from(id);
    vcpu.context.x[1..=arguments.len()].copy_from_slice(arguments);
    let before = vcpu.context.x;
    let next = smc::call(vcpu, conduit, 0);
    assert_eq!(vcpu.context.x[1..], before[1..], "{id:#x}");
    let result = vcpu.context.x[0] as i64;
    // An error is one in 32 bits, too.
    (
        next,
        if result < 0 {
            result
        } else {
            i64::from(result as i32)
        },
    )
}

fn call(bench: &mut Bench, vcpu: usize, id: u32, arguments: &[u64]) -> i64 {
    let (next, result) = call_by(&mut bench.vcpus[vcpu], Conduit::Smc, id, arguments);
    assert_eq!(next, Next::Resume, "{id:#x}");
    result
}

/// What a call that does not return to its caller leads to.
fn leave(bench: &mut Bench, vcpu: usize, id: u32, arguments: &[u64]) -> Next {
    call_by(&mut bench.vcpus[vcpu], Conduit::Smc, id, arguments).0
}

fn is_on(bench: &mut Bench, vcpu: usize) -> bool {
    bench.vcpus[vcpu].look() != Status::Off
}

fn affinity_info(bench: &mut Bench, target: u64, level: u64) -> i64 {
    call(bench, 0, AFFINITY_INFO_64, &[target, level])
}

const ON: i64 = AFFINITY_ON as i64;
const OFF: i64 = AFFINITY_OFF as i64;
const PENDING: i64 = AFFINITY_ON_PENDING as i64;

#[test]
fn the_version_is_1_1_by_either_conduit() {
    let bench = &mut Bench::new(1);
    for conduit in Conduit::ALL {
        let answer = call_by(&mut bench.vcpus[0], conduit, PSCI_VERSION, &[]);
        assert_eq!(answer, (Next::Resume, VERSION_1_1 as i64));
    }
}

#[test]
fn an_immediate_that_is_not_zero_makes_another_call_of_it() {
    let bench = &mut Bench::new(1);
    let vcpu = &mut bench.vcpus[0];
    vcpu.context.x[0] = u64::from(PSCI_VERSION);
    assert_eq!(smc::call(vcpu, Conduit::Hvc, 1), Next::Resume);
    assert_eq!(vcpu.context.x[0] as i64, REFUSED);
}

#[test]
fn features_tells_of_all_that_is_there_and_of_nothing_else() {
    let bench = &mut Bench::new(1);
    let there = [
        PSCI_VERSION,
        PSCI_FEATURES,
        MIGRATE_INFO_TYPE,
        CPU_ON_32,
        CPU_ON_64,
        AFFINITY_INFO_32,
        AFFINITY_INFO_64,
        CPU_SUSPEND_32,
        CPU_SUSPEND_64,
        CPU_OFF,
        SYSTEM_OFF,
        SYSTEM_RESET,
        SYSTEM_RESET2_32,
        SYSTEM_RESET2_64,
        SMCCC_VERSION,
    ];
    for id in there {
        assert_eq!(
            call(bench, 0, PSCI_FEATURES, &[u64::from(id)]),
            SUCCESS,
            "{id:#x}"
        );
    }
    for id in (0x8400_0000..0x8400_0020).chain(0xc400_0000..0xc400_0020) {
        let expected = if there.contains(&id) {
            SUCCESS
        } else {
            REFUSED
        };
        assert_eq!(
            call(bench, 0, PSCI_FEATURES, &[u64::from(id)]),
            expected,
            "{id:#x}"
        );
    }
    for id in [0, 0x8400_0050, 0x8600_ff01, 0xbf00_ff01, u32::MAX] {
        assert_eq!(
            call(bench, 0, PSCI_FEATURES, &[u64::from(id)]),
            REFUSED,
            "{id:#x}"
        );
    }
}

#[test]
fn features_looks_at_32_bits() {
    let bench = &mut Bench::new(1);
    let id = u64::from(CPU_ON_64) | 0xdead << 32;
    assert_eq!(call(bench, 0, PSCI_FEATURES, &[id]), SUCCESS);
}

#[test]
fn what_is_not_there_is_not_supported() {
    let bench = &mut Bench::new(1);
    let there = |id: u32| call(&mut Bench::new(1), 0, PSCI_FEATURES, &[u64::from(id)]) == SUCCESS;
    for id in (0x8400_0000..0x8400_0020).chain(0xc400_0000..0xc400_0020) {
        if !there(id) {
            assert_eq!(call(bench, 0, id, &[]), REFUSED, "{id:#x}");
        }
    }
}

#[test]
fn no_trusted_os_has_to_migrate() {
    assert_eq!(call(&mut Bench::new(1), 0, MIGRATE_INFO_TYPE, &[]), 2);
}

#[test]
fn cpu_on_starts_a_vcpu_where_it_is_told_with_its_argument() {
    let bench = &mut Bench::new(2);
    assert_eq!(affinity_info(bench, 1, 0), OFF);
    assert!(!is_on(bench, 1));
    assert_eq!(
        call(bench, 0, CPU_ON_64, &[1, ENTRY, 0x1234_5678_9abc]),
        SUCCESS
    );
    assert_eq!(affinity_info(bench, 1, 0), PENDING);
    assert!(is_on(bench, 1));
    assert_eq!(affinity_info(bench, 1, 0), ON);
    let context = &bench.vcpus[1].context;
    assert_eq!((context.pc, context.x[0]), (ENTRY, 0x1234_5678_9abc));
    assert!(context.x[1..].iter().all(|&x| x == 0));
}

#[test]
fn cpu_on_has_32_bit_arguments_by_its_32_bit_function() {
    let bench = &mut Bench::new(2);
    let upper = 0xffff_ffff_u64 << 32;
    let arguments = [1 | upper, ENTRY | upper, 7 | upper];
    assert_eq!(call(bench, 0, CPU_ON_32, &arguments), SUCCESS);
    assert!(is_on(bench, 1));
    let context = &bench.vcpus[1].context;
    assert_eq!((context.pc, context.x[0]), (ENTRY, 7));
}

#[test]
fn cpu_on_of_a_vcpu_that_is_on_is_refused() {
    let bench = &mut Bench::new(2);
    assert_eq!(
        call(bench, 0, CPU_ON_64, &[0, ENTRY, 0]),
        ALREADY_ON,
        "itself"
    );
    assert_eq!(call(bench, 0, CPU_ON_64, &[1, ENTRY, 0]), SUCCESS);
    assert!(is_on(bench, 1));
    assert_eq!(call(bench, 0, CPU_ON_64, &[1, ENTRY, 0]), ALREADY_ON);
}

#[test]
fn cpu_on_of_a_vcpu_that_is_about_to_start_is_refused_and_changes_nothing() {
    let bench = &mut Bench::new(2);
    assert_eq!(call(bench, 0, CPU_ON_64, &[1, ENTRY, 1]), SUCCESS);
    assert_eq!(call(bench, 0, CPU_ON_64, &[1, ENTRY + 4, 2]), ON_PENDING);
    assert!(is_on(bench, 1));
    let context = &bench.vcpus[1].context;
    assert_eq!((context.pc, context.x[0]), (ENTRY, 1));
}

#[test]
fn cpu_on_knows_the_vcpus_that_there_are() {
    let bench = &mut Bench::new(2);
    for target in [
        2,
        3,
        8,
        255,
        256,
        0x100,
        0x1_0000,
        1 << 32,
        1 | 1 << 32,
        1 | 1 << 31,
        u64::MAX,
    ] {
        assert_eq!(
            call(bench, 0, CPU_ON_64, &[target, ENTRY, 0]),
            INVALID_PARAMETERS,
            "{target:#x}"
        );
    }
    assert_eq!(affinity_info(bench, 1, 0), OFF);
}

#[test]
fn cpu_on_wants_an_entry_in_memory() {
    let bench = &mut Bench::new(2);
    for entry in [
        0,
        GuestLayout::RAM.0 - 4,
        BEHIND_MEMORY,
        GuestLayout::UART.0,
        ENTRY + 2,
        ENTRY | 1,
        1 << 40,
        u64::MAX,
        u64::MAX - 3,
    ] {
        assert_eq!(
            call(bench, 0, CPU_ON_64, &[1, entry, 0]),
            INVALID_ADDRESS,
            "{entry:#x}"
        );
        assert!(!is_on(bench, 1));
    }
    assert_eq!(
        call(bench, 0, CPU_ON_64, &[1, BEHIND_MEMORY - 4, 0]),
        SUCCESS
    );
}

#[test]
fn cpu_on_tells_of_the_target_before_the_entry() {
    let bench = &mut Bench::new(2);
    assert_eq!(call(bench, 0, CPU_ON_64, &[0, 0, 0]), ALREADY_ON);
    assert_eq!(call(bench, 0, CPU_ON_64, &[7, 0, 0]), INVALID_PARAMETERS);
    assert_eq!(call(bench, 0, CPU_ON_64, &[1, ENTRY, 0]), SUCCESS);
    assert_eq!(call(bench, 0, CPU_ON_64, &[1, 0, 0]), ON_PENDING);
}

#[test]
fn of_two_that_turn_a_vcpu_on_one_does() {
    for _ in 0..50 {
        let Bench { vcpus, .. } = Bench::new(3);
        let mut vcpus = vcpus.into_iter();
        let callers: Vec<_> = vcpus.by_ref().take(2).collect();
        let mut target = vcpus.next().expect("the third");
        let results: Vec<i64> = std::thread::scope(|scope| {
            let calls: Vec<_> = callers
                .into_iter()
                .enumerate()
                .map(|(n, mut vcpu)| {
                    scope.spawn(move || {
                        let arguments = [2, ENTRY + 4 * n as u64, n as u64];
                        call_by(&mut vcpu, Conduit::Smc, CPU_ON_64, &arguments).1
                    })
                })
                .collect();
            calls
                .into_iter()
                .map(|call| call.join().expect("it answers"))
                .collect()
        });
        let winner = match results[..] {
            [SUCCESS, ON_PENDING] => 0,
            [ON_PENDING, SUCCESS] => 1,
            _ => panic!("{results:?}"),
        };
        assert_ne!(target.look(), Status::Off);
        assert_eq!(
            (target.context.pc, target.context.x[0]),
            (ENTRY + 4 * winner, winner)
        );
    }
}

#[test]
fn a_vcpu_turns_itself_off_and_can_be_turned_on_again() {
    let bench = &mut Bench::new(2);
    for life in 0..3 {
        assert_eq!(call(bench, 0, CPU_ON_64, &[1, ENTRY, life]), SUCCESS);
        assert!(is_on(bench, 1));
        assert_eq!(bench.vcpus[1].context.x[0], life);
        assert_eq!(leave(bench, 1, CPU_OFF, &[]), Next::Reschedule);
        assert_eq!(affinity_info(bench, 1, 0), OFF);
        assert!(!is_on(bench, 1));
    }
    assert_eq!(bench.vm.life(), Life::Running);
}

#[test]
fn a_vm_whose_last_vcpu_turns_itself_off_is_stopped() {
    let bench = &mut Bench::new(2);
    assert_eq!(leave(bench, 0, CPU_OFF, &[]), Next::Reschedule);
    assert_eq!(bench.vm.life(), Life::Stopping(After::Off));
}

#[test]
fn affinity_info_knows_the_lowest_level_alone() {
    let bench = &mut Bench::new(2);
    assert_eq!(affinity_info(bench, 0, 0), ON);
    for level in [1, 2, 3, 4, 1 << 32, u64::MAX] {
        assert_eq!(
            affinity_info(bench, 0, level),
            INVALID_PARAMETERS,
            "{level:#x}"
        );
    }
}

#[test]
fn affinity_info_knows_the_vcpus_that_there_are() {
    let bench = &mut Bench::new(2);
    for target in [2, 255, 256, 0x1_0000, 1 << 32, u64::MAX] {
        assert_eq!(
            affinity_info(bench, target, 0),
            INVALID_PARAMETERS,
            "{target:#x}"
        );
    }
}

#[test]
fn affinity_info_has_32_bit_arguments_by_its_32_bit_function() {
    let bench = &mut Bench::new(2);
    let upper = 7 << 32;
    assert_eq!(call(bench, 0, AFFINITY_INFO_32, &[1 | upper, upper]), OFF);
    assert_eq!(call(bench, 0, AFFINITY_INFO_32, &[upper, upper]), ON);
}

#[test]
fn system_off_stops_the_vm_and_it_stays_off() {
    let bench = &mut Bench::new(2);
    assert_eq!(leave(bench, 0, SYSTEM_OFF, &[]), Next::Reschedule);
    assert_eq!(bench.vm.life(), Life::Stopping(After::Off));
    assert!(!is_on(bench, 1));
    assert_eq!(bench.work(), crate::vm::power::Step::Off);
    assert_eq!(bench.vm.life(), Life::Off);
    assert!(!is_on(bench, 0));
}

#[test]
fn each_reset_starts_the_vm_again() {
    for (id, arguments) in [
        (SYSTEM_RESET, [0xdead, 0xbeef]),
        (SYSTEM_RESET2_64, [0, 0xbeef]),
        (SYSTEM_RESET2_32, [0xdead << 32, 0xbeef]),
    ] {
        let bench = &mut Bench::new(2);
        assert_eq!(call(bench, 0, CPU_ON_64, &[1, ENTRY, 0]), SUCCESS);
        assert!(is_on(bench, 1));
        assert_eq!(leave(bench, 0, id, &arguments), Next::Reschedule, "{id:#x}");
        assert_eq!(bench.vm.life(), Life::Stopping(After::Restart), "{id:#x}");
        assert!(!is_on(bench, 1), "the other vCPU is off");
        assert_eq!(bench.work(), crate::vm::power::Step::Done);
        assert_eq!(bench.vm.life(), Life::Starting, "{id:#x}");
        assert_eq!(bench.work(), crate::vm::power::Step::Done);
        assert!(is_on(bench, 0) && !is_on(bench, 1));
        assert_eq!(bench.vcpus[0].context.pc, GuestLayout::RAM.0);
    }
}

#[test]
fn system_reset2_knows_the_warm_reset_alone() {
    let bench = &mut Bench::new(1);
    for kind in [1, 2, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff] {
        for id in [SYSTEM_RESET2_32, SYSTEM_RESET2_64] {
            assert_eq!(
                call(bench, 0, id, &[kind, 0]),
                INVALID_PARAMETERS,
                "{kind:#x}"
            );
        }
    }
    assert_eq!(
        call(bench, 0, SYSTEM_RESET2_64, &[1 << 32, 0]),
        INVALID_PARAMETERS
    );
    assert_eq!(bench.vm.life(), Life::Running);
}

#[test]
fn of_two_stops_the_first_one_counts() {
    let bench = &mut Bench::new(2);
    assert_eq!(leave(bench, 0, SYSTEM_OFF, &[]), Next::Reschedule);
    assert_eq!(leave(bench, 1, SYSTEM_RESET, &[]), Next::Reschedule);
    assert_eq!(bench.vm.life(), Life::Stopping(After::Off));
}

#[test]
fn a_vm_that_stops_starts_no_vcpu() {
    let bench = &mut Bench::new(2);
    assert_eq!(call(bench, 0, CPU_ON_64, &[1, ENTRY, 0]), SUCCESS);
    assert_eq!(leave(bench, 0, SYSTEM_OFF, &[]), Next::Reschedule);
    assert!(!is_on(bench, 1), "it was about to start");
}

#[test]
fn cpu_suspend_waits_for_an_interrupt() {
    let bench = &mut Bench::new(1);
    for id in [CPU_SUSPEND_32, CPU_SUSPEND_64] {
        for (state, entry) in [
            (0, 0),
            (0xffff, u64::MAX),
            (0x0300_0000, 1),
            (POWER_DOWN_STATE, ENTRY),
            (POWER_DOWN_STATE | 0x0300_ffff, ENTRY),
        ] {
            let vcpu = &mut bench.vcpus[0];
            let answer = call_by(vcpu, Conduit::Smc, id, &[state, entry, 0]);
            assert_eq!(answer, (Next::Wait, SUCCESS), "{state:#x}");
        }
    }
}

#[test]
fn cpu_suspend_refuses_states_that_are_none() {
    let bench = &mut Bench::new(1);
    for state in [1 << 17, 1 << 23, 1 << 26, 1 << 31] {
        for id in [CPU_SUSPEND_32, CPU_SUSPEND_64] {
            assert_eq!(
                call(bench, 0, id, &[state, ENTRY, 0]),
                INVALID_PARAMETERS,
                "{state:#x}"
            );
        }
    }
    assert_eq!(
        call(bench, 0, CPU_SUSPEND_64, &[1 << 32, ENTRY, 0]),
        INVALID_PARAMETERS
    );
}

#[test]
fn cpu_suspend_checks_where_a_power_down_state_would_go_on() {
    let bench = &mut Bench::new(1);
    for entry in [0, BEHIND_MEMORY, ENTRY + 1, u64::MAX] {
        assert_eq!(
            call(bench, 0, CPU_SUSPEND_64, &[POWER_DOWN_STATE, entry, 0]),
            INVALID_ADDRESS,
            "{entry:#x}"
        );
    }
}

#[test]
fn a_denied_function_is_refused() {
    use crate::description::policy::CallPolicy;
    use smccc::IdRange;
    let mut description = crate::vm::testing::description(1);
    let deny = [IdRange {
        first: SYSTEM_RESET,
        last: SYSTEM_RESET,
    }];
    description.policy = CallPolicy::new(&[], &deny).expect("a policy");
    let bench = &mut Bench::started(description);
    assert_eq!(call(bench, 0, SYSTEM_RESET, &[]), REFUSED);
    assert_eq!(bench.vm.life(), Life::Running);
    assert_eq!(bench.vm.calls.refused(), 1);
}

#[test]
fn psci_has_the_first_32_numbers_of_its_owner() {
    assert!(owns(FunctionId(0x8400_0000)) && owns(FunctionId(0xc400_001f)));
    assert!(!owns(FunctionId(0x8400_0020)) && !owns(FunctionId(0x8400_0050)));
    assert!(!owns(FunctionId(0x8400_ff01)));
}
