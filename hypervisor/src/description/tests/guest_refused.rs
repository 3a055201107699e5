use super::*;

const VM1: &str = "/chosen/vm1";
const KERNEL: &str = "/chosen/vm1/module@62000000";

#[test]
fn missing_properties() {
    for name in [
        "memory",
        "cpus",
        "vpl011",
        "bulkhead,vcpu-cpus",
        "bulkhead,tee",
    ] {
        assert_eq!(
            refusal(VM1, without(name)),
            std::format!("/chosen/vm1: {name}: it is missing")
        );
    }
}

#[test]
fn malformed_properties() {
    for name in [
        "memory",
        "cpus",
        "bulkhead,vcpu-cpus",
        "bulkhead,tee",
        "bulkhead,tee-conduit",
        "bulkhead,shm-buffer-max",
        "bulkhead,shm-buffers-max",
        "bulkhead,shm-total-max",
        "bulkhead,ta-allow",
        "bulkhead,ta-deny",
        "bulkhead,ta-instances-max",
        "bulkhead,tee-calls-per-second",
    ] {
        assert_eq!(
            refusal(VM1, set(name, std::vec![1, 2, 3])),
            std::format!("/chosen/vm1: {name}: it is malformed")
        );
    }
}

#[test]
fn names_that_are_none() {
    for name in ["VM", "1vm", "vm_1", "vm@1", "bulkhead"] {
        let error = refusal("/chosen", |chosen| chosen.add_child(domain(name, &[0])));
        assert_eq!(
            error,
            std::format!("/chosen/{name}: this is no name for a guest")
        );
    }
}

#[test]
fn a_name_that_another_guest_has() {
    let mut dtb = machine().to_dtb();
    let at = dtb.windows(4).position(|bytes| bytes == b"vm2\0").unwrap();
    dtb[at + 2] = b'1';
    let error = parse(&dtb, HYPERVISOR).unwrap_err();
    assert_eq!(error.to_string(), "/chosen/vm1: another one has the same");
}

#[test]
fn memory_that_can_not_be() {
    let refused = |kib: u64| refusal(VM1, set("memory", longs(&[kib])));
    for kib in [0, 2047, 3072, u64::MAX] {
        assert_eq!(
            refused(kib),
            std::format!("/chosen/vm1: memory: {kib} KiB is not a positive multiple of 2 MiB")
        );
    }
    assert_eq!(
        refused(4 << 20),
        "/chosen/vm1: memory: 4194304 KiB is more than the machine has"
    );
    assert_eq!(
        refused(60 << 10),
        "/chosen/vm1: memory: kernel and RAM disk are larger than the guest's memory"
    );
}

#[test]
fn vcpus_that_can_not_be() {
    for count in [0, 9, u32::MAX] {
        assert_eq!(
            refusal(VM1, set("cpus", cells(&[count]))),
            std::format!("/chosen/vm1: cpus: {count} is not in 1 to 8")
        );
    }
    assert_eq!(
        refusal(VM1, set("cpus", cells(&[3]))),
        "/chosen/vm1: bulkhead,vcpu-cpus: it names 2 CPUs for 3 vCPUs"
    );
    assert_eq!(
        refusal(VM1, set("bulkhead,vcpu-cpus", cells(&[1, 2]))),
        "/chosen/vm1: bulkhead,vcpu-cpus: there is no CPU 2"
    );
}

#[test]
fn more_vcpus_than_a_cpu_takes() {
    let error = refusal("/chosen", |chosen| {
        for name in ["vm3", "vm4"] {
            chosen.add_child(domain(name, &[1; 8]));
        }
    });
    assert_eq!(
        error,
        "/chosen/vm4: bulkhead,vcpu-cpus: too many vCPUs run on CPU 1"
    );
}

#[test]
fn choices_that_are_not_known() {
    assert_eq!(
        refusal(VM1, set("bulkhead,tee", text("other"))),
        "/chosen/vm1: bulkhead,tee: \"other\" is not known"
    );
    assert_eq!(
        refusal(VM1, set("bulkhead,tee-conduit", text("svc"))),
        "/chosen/vm1: bulkhead,tee-conduit: \"svc\" is not known"
    );
}

#[test]
fn limits_that_make_no_sense() {
    let error = refusal(VM1, set("bulkhead,shm-buffer-max", longs(&[4095])));
    assert!(
        error.starts_with("/chosen/vm1: bulkhead,shm-buffer-max: 4095 is not in 4096"),
        "{error}"
    );
    let error = refusal(VM1, set("bulkhead,shm-total-max", longs(&[u64::MAX])));
    assert!(
        error.starts_with("/chosen/vm1: bulkhead,shm-total-max: 18446744073709551615 is not in"),
        "{error}"
    );
    for count in [0, 65537] {
        let error = refusal(VM1, set("bulkhead,shm-buffers-max", cells(&[count])));
        assert_eq!(
            error,
            std::format!("/chosen/vm1: bulkhead,shm-buffers-max: {count} is not in 1 to 65536")
        );
    }
    assert_eq!(
        refusal(VM1, set("bulkhead,shm-total-max", longs(&[32 << 20]))),
        "/chosen/vm1: bulkhead,shm-buffer-max: it is more than bulkhead,shm-total-max allows"
    );
}

#[test]
fn shares_of_identifiers_that_are_too_many() {
    for (vm1, vm2, others) in [(40, Some(25), 0), (64, None, 1)] {
        let mut tree = machine();
        let mut share = |name, count| {
            let node = tree.find_node_mut(name).unwrap();
            set("bulkhead,ta-instances-max", cells(&[count]))(node);
        };
        share(VM1, vm1);
        if let Some(count) = vm2 {
            share("/chosen/vm2", count);
        }
        let named = vm1 + vm2.unwrap_or(0);
        assert_eq!(
            parsed(&tree).unwrap_err().to_string(),
            std::format!(
                "/chosen: bulkhead,ta-instances-max is {named} for all guests together, of 64 that OP-TEE has, and {others} guests name none"
            )
        );
    }
}

#[test]
fn access_to_trusted_applications_that_can_not_be() {
    let both = |vm1: &mut DeviceTreeNode| {
        set("bulkhead,ta-allow", Vec::new())(vm1);
        set("bulkhead,ta-deny", Vec::new())(vm1);
    };
    assert_eq!(
        refusal(VM1, both),
        "/chosen/vm1: bulkhead,ta-deny: bulkhead,ta-allow is there, too"
    );
    assert_eq!(
        refusal(VM1, set("bulkhead,ta-allow", std::vec![0; 257 * 16])),
        "/chosen/vm1: bulkhead,ta-allow: 257 is not in 0 to 256"
    );
    for count in [0, 65] {
        assert_eq!(
            refusal(VM1, set("bulkhead,ta-instances-max", cells(&[count]))),
            std::format!("/chosen/vm1: bulkhead,ta-instances-max: {count} is not in 1 to 64")
        );
    }
    assert_eq!(
        refusal(VM1, set("bulkhead,tee-calls-per-second", cells(&[0]))),
        "/chosen/vm1: bulkhead,tee-calls-per-second: 0 is not in 1 to 4294967295"
    );
}

#[test]
fn policies_that_can_not_be() {
    assert_eq!(
        refusal(VM1, set("bulkhead,smc-deny", cells(&[1]))),
        "/chosen/vm1: bulkhead,smc-deny: it is malformed"
    );
    let error = refusal(VM1, set("bulkhead,smc-deny", cells(&[2, 1])));
    assert_eq!(
        error,
        "/chosen/vm1: the range 0x2 to 0x1 ends before it starts"
    );
    let psci = cells(&[0x8400_0000, 0x8400_0000]);
    let error = refusal(VM1, set("bulkhead,smc-forward", psci));
    assert!(
        error.starts_with("/chosen/vm1: 0x84000000 to 0x84000000 can't be forwarded"),
        "{error}"
    );
}

#[test]
fn modules_that_are_wrong() {
    assert_eq!(
        refusal(VM1, without("module@62000000")),
        "/chosen/vm1: it does not have a kernel"
    );
    for kind in ["kernel", "ramdisk"] {
        let error = refusal(VM1, |node| node.add_child(module(kind, 0x7000_0000, 1)));
        assert_eq!(
            error,
            std::format!("/chosen/vm1/module@70000000: a second module is a {kind}")
        );
    }
    assert_eq!(
        refusal(KERNEL, set("compatible", text("multiboot,module"))),
        "/chosen/vm1/module@62000000: compatible: it is malformed"
    );
    for bootargs in [b"no end".as_slice(), b"two\0texts\0", b"no UTF-8 \xff\0"] {
        assert_eq!(
            refusal(KERNEL, set("bootargs", bootargs.to_vec())),
            "/chosen/vm1/module@62000000: bootargs: it is malformed"
        );
    }
}

#[test]
fn modules_in_the_wrong_place() {
    let refused = |reg: &[u64]| refusal(KERNEL, set("reg", longs(reg)));
    let reg = "/chosen/vm1/module@62000000: reg: ";
    assert_eq!(
        refused(&[0x6200_0800, 1]),
        std::format!("{reg}the address is not a multiple of 4 KiB")
    );
    for outside in [
        [0x3fff_f000, 0x2000],
        [0xffff_f000, 0x2000],
        [0xe00_0000, 0x1000],
    ] {
        assert_eq!(
            refused(&outside),
            std::format!("{reg}it does not lie in memory")
        );
    }
    for overlapping in [
        [0x6000_0000, 1],
        [0x5fff_f000, 0x1001],
        [0x61ff_f000, 0x1000],
        [0x5000_0000, 0x2000_0000],
    ] {
        assert_eq!(
            refused(&overlapping),
            std::format!("{reg}it overlaps the hypervisor")
        );
    }
    for malformed in [
        [0x6200_0000, 0].as_slice(),
        &[0x6200_0000],
        &[0x6200_0000, 1, 0x6300_0000, 1],
        &[u64::MAX - 0xfff, 0x1001],
    ] {
        assert_eq!(refused(malformed), std::format!("{reg}it is malformed"));
    }
}
