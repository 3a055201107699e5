use mediator::ta_access::{TaList, Uuid};

use super::*;

#[test]
fn the_machine_and_its_guests_are_read() {
    let machine = parsed(&machine()).unwrap();
    let ram = Range {
        start: Pa(0x4000_0000),
        len: 0xc000_0000,
    };
    assert_eq!(machine.memory, [ram], "without the secure memory");
    assert_eq!(machine.reserved, []);
    assert_eq!(machine.cpus, [0, 1]);
    assert_eq!(machine.gicd, Pa(0x800_0000));
    assert_eq!(
        machine.gicr,
        Range {
            start: Pa(0x80a_0000),
            len: 0xf6_0000
        }
    );
    assert_eq!(machine.uart, Pa(0x900_0000));
    assert_eq!(machine.tee_interrupt, None);
    assert_eq!(machine.log_level, LevelFilter::Info);
    assert!(!machine.memory_is_zero);
    let vm1 = VmDescription {
        name: "vm1".into(),
        memory: 512 << 20,
        vcpu_cpus: std::vec![0, 1],
        kernel: Module {
            pa: Pa(0x6200_0000),
            len: 0x240_0123,
        },
        ramdisk: Some(Module {
            pa: Pa(0x6500_0000),
            len: 0x180_0000,
        }),
        bootargs: "console=ttyAMA0".into(),
        tee: TeeChoice::Optee,
        conduit: Conduit::Smc,
        ta_access: TaAccess::usual(),
        ta_instances_max: NonZeroU32::new(32),
        tee_calls_per_second: None,
        shm_limits: ShmLimits {
            buffer_bytes_max: 64 << 20,
            buffers_max: 1024,
            total_bytes_max: 256 << 20,
        },
        policy: CallPolicy::default(),
        pci: Vec::new(),
    };
    let vm2 = VmDescription {
        name: "vm2".into(),
        vcpu_cpus: std::vec![1],
        ..vm1.clone()
    };
    assert_eq!(machine.guests, [vm1, vm2]);
}

#[test]
fn bytes_after_the_tree_are_not_looked_at() {
    let mut dtb = machine().to_dtb();
    dtb.resize(1 << 20, 0xa5);
    assert!(parse(&dtb, HYPERVISOR).is_ok());
    assert_eq!(console(&dtb), Some(Pa(0x900_0000)));
}

#[test]
fn choices_are_read() {
    let mut tree = machine();
    set("bulkhead,log-level", text("debug"))(tree.find_node_mut("/chosen").unwrap());
    set("bulkhead,memory-is-zero", Vec::new())(tree.find_node_mut("/chosen").unwrap());
    let vm1 = tree.find_node_mut("/chosen/vm1").unwrap();
    set("bulkhead,tee", text("none"))(vm1);
    set("bulkhead,tee-conduit", text("hvc"))(vm1);
    set("bulkhead,shm-buffer-max", longs(&[0x1000]))(vm1);
    set("bulkhead,shm-buffers-max", cells(&[7]))(vm1);
    set("bulkhead,shm-total-max", longs(&[0x4000]))(vm1);
    set("bulkhead,ta-allow", [[7; 16], [1; 16]].concat())(vm1);
    set("bulkhead,tee-calls-per-second", cells(&[500]))(vm1);
    set("bulkhead,ta-instances-max", cells(&[40]))(vm1);
    set("bulkhead,smc-forward", cells(&[0xc200_0000, 0xc200_00ff]))(vm1);
    set("bulkhead,smc-deny", cells(&[0x8400_0009, 0x8400_0009]))(vm1);
    without("module@65000000")(vm1);
    without("bootargs")(tree.find_node_mut("/chosen/vm1/module@62000000").unwrap());
    let machine = parsed(&tree).unwrap();
    assert_eq!(machine.log_level, LevelFilter::Debug);
    assert!(machine.memory_is_zero);
    let vm1 = &machine.guests[0];
    assert_eq!((vm1.tee, vm1.conduit), (TeeChoice::None, Conduit::Hvc));
    let limits = ShmLimits {
        buffer_bytes_max: 0x1000,
        buffers_max: 7,
        total_bytes_max: 0x4000,
    };
    assert_eq!(vm1.shm_limits, limits);
    let list = |names: &[u8]| TaList::new(names.iter().map(|&n| Uuid([n; 16])).collect());
    assert_eq!(vm1.ta_access, TaAccess::Only(list(&[1, 7])));
    assert_eq!(vm1.tee_calls_per_second, NonZeroU32::new(500));
    assert_eq!(vm1.ta_instances_max, NonZeroU32::new(40));
    assert_eq!(
        vm1.policy.verdict(FunctionId(0xc200_0010)),
        Verdict::Forward
    );
    assert_eq!(vm1.policy.verdict(FunctionId(0x8400_0009)), Verdict::Refuse);
    assert_eq!(machine.guests[1].policy, CallPolicy::default());
    assert_eq!(vm1.ramdisk, None);
    assert_eq!(vm1.bootargs, "");
}

#[test]
fn trusted_applications_can_be_denied() {
    let access_with = |denied: Vec<u8>| {
        let mut tree = machine();
        set("bulkhead,ta-deny", denied)(tree.find_node_mut("/chosen/vm1").unwrap());
        parsed(&tree).unwrap().guests[0].ta_access.clone()
    };
    let octets: Vec<u8> = (0..16).collect();
    let name = Uuid(octets.as_slice().try_into().unwrap());
    let listed = TaList::new(std::vec![name]);
    assert_eq!(access_with(octets), TaAccess::AllBut(listed));
    assert_eq!(access_with(Vec::new()), TaAccess::All);
}

#[test]
fn the_tee_s_interrupt_is_read_where_it_has_one() {
    let interrupt_with = |compatible: &str, cells_of_it: Option<[u32; 3]>| {
        let mut optee = node("optee", &[("compatible", text(compatible))]);
        if let Some(interrupt) = cells_of_it {
            optee.add_property(property("interrupts", cells(&interrupt)));
        }
        let mut firmware = node("firmware", &[]);
        firmware.add_child(optee);
        let mut tree = machine();
        tree.root.add_child(firmware);
        parsed(&tree).unwrap().tee_interrupt
    };
    let (optee, spi) = ("linaro,optee-tz", Some([0, 187, 1]));
    assert_eq!(interrupt_with(optee, spi), Some(219));
    assert_eq!(interrupt_with(optee, None), None);
    assert_eq!(interrupt_with(optee, Some([1, 13, 1])), None, "a PPI");
    assert_eq!(interrupt_with("another,tee", spi), None);
}

#[test]
fn the_clock_is_the_first_that_is_not_the_secure_world_s() {
    let mut tree = machine();
    assert_eq!(parsed(&tree).unwrap().clock, None);
    for (address, secure) in [(0x906_0000, true), (0x901_0000, false), (0x907_0000, false)] {
        let compatible = ("compatible", b"arm,pl031\0arm,primecell\0".to_vec());
        let place = ("reg", longs(&[address, 0x1000]));
        let mut clock = node(&std::format!("pl031@{address:x}"), &[compatible, place]);
        if secure {
            clock.add_property(property("status", text("disabled")));
        }
        tree.root.add_child(clock);
    }
    assert_eq!(parsed(&tree).unwrap().clock, Some(Pa(0x901_0000)));
}

#[test]
fn a_seed_has_as_many_bytes_as_are_needed() {
    let seed_of = |len: u8| {
        let mut tree = machine();
        let bytes: Vec<u8> = (0..len).collect();
        set("rng-seed", bytes)(tree.find_node_mut("/chosen").unwrap());
        parsed(&tree).unwrap().seed
    };
    assert_eq!(seed_of(64).map(|seed| (seed[0], seed[31])), Some((0, 31)));
    assert_eq!(seed_of(31), None);
    assert_eq!(parsed(&machine()).unwrap().seed, None);
}

#[test]
fn the_console_is_the_one_named_else_the_first_of_the_non_secure_world() {
    let console_with = |change: &dyn Fn(&mut DeviceTree)| {
        let mut tree = machine();
        change(&mut tree);
        console(&tree.to_dtb())
    };
    let stdout = |path: &'static str| {
        console_with(&|tree| {
            let chosen = tree.find_node_mut("/chosen").unwrap();
            set("stdout-path", text(path))(chosen);
            let aliases = node("aliases", &[("serial0", text("/pl011@9050000"))]);
            tree.root.add_child(aliases);
        })
    };
    assert_eq!(stdout("/pl011@9050000"), Some(Pa(0x905_0000)));
    assert_eq!(stdout("serial0:115200n8"), Some(Pa(0x905_0000)));
    assert_eq!(stdout("/intc@8000000"), Some(Pa(0x900_0000)));
    assert_eq!(stdout("/nowhere"), Some(Pa(0x900_0000)));
    assert_eq!(
        stdout("/pl011@9040000"),
        Some(Pa(0x900_0000)),
        "not the secure one"
    );
    let without_chosen = console_with(&|tree| without("chosen")(&mut tree.root));
    assert_eq!(without_chosen, Some(Pa(0x900_0000)));
    assert_eq!(console(b"nothing"), None);
}

#[test]
fn what_the_firmware_keeps_is_known() {
    let mut tree = machine();
    let space = [
        ("#address-cells", cells(&[2])),
        ("#size-cells", cells(&[2])),
    ];
    let mut reserved = node("reserved-memory", &space);
    reserved.add_child(node(
        "fixed@7f000000",
        &[("reg", longs(&[0x7f00_0000, 0x10_0000]))],
    ));
    reserved.add_child(node("anywhere", &[("size", longs(&[0x10_0000]))]));
    tree.root.add_child(reserved);
    let machine = parsed(&tree).unwrap();
    assert_eq!(
        machine.reserved,
        [Range {
            start: Pa(0x7f00_0000),
            len: 0x10_0000
        }]
    );
}

#[test]
fn disabled_cpus_do_not_count() {
    let mut tree = machine();
    let cpus = tree.find_node_mut("/cpus").unwrap();
    let properties = [("reg", cells(&[0x100])), ("status", text("disabled"))];
    cpus.add_child(node("cpu@100", &properties));
    assert_eq!(parsed(&tree).unwrap().cpus, [0, 1]);
}
