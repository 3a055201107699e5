use super::*;

#[test]
fn what_is_no_tree() {
    let error = parse(&[0; 64], HYPERVISOR).unwrap_err();
    assert!(matches!(error.problem, Problem::NoTree(_)), "{error}");
    let mut dtb = machine().to_dtb();
    dtb.truncate(100);
    assert!(parse(&dtb, HYPERVISOR).is_err());
    assert!(parse(&[], HYPERVISOR).is_err());
}

#[test]
fn missing_parts() {
    assert_eq!(
        refusal("/", without("chosen")),
        "/: it does not have chosen"
    );
    assert_eq!(refusal("/", without("cpus")), "/: it does not have cpus");
    assert_eq!(
        refusal("/", without("memory@40000000")),
        "/: it does not have memory"
    );
    assert_eq!(
        refusal("/", without("intc@8000000")),
        "/: it does not have an arm,gic-v3"
    );
    let no_uart = |root: &mut DeviceTreeNode| {
        without("pl011@9000000")(root);
        without("pl011@9050000")(root);
    };
    assert_eq!(
        refusal("/", no_uart),
        "/: it does not have an enabled arm,pl011"
    );
    let no_cpu = |cpus: &mut DeviceTreeNode| {
        without("cpu@0")(cpus);
        without("cpu@1")(cpus);
    };
    assert_eq!(refusal("/cpus", no_cpu), "/cpus: it does not have a CPU");
    let no_guest = |chosen: &mut DeviceTreeNode| {
        without("vm1")(chosen);
        without("vm2")(chosen);
    };
    assert_eq!(
        refusal("/chosen", no_guest),
        "/chosen: it does not have a guest"
    );
}

#[test]
fn malformed_memory() {
    let path = "/memory@40000000";
    assert_eq!(
        refusal(path, without("reg")),
        "/memory@40000000: reg: it is missing"
    );
    for reg in [
        longs(&[0x4000_0000]),
        longs(&[0x4000_0000, 0]),
        longs(&[u64::MAX, 2]),
        cells(&[1]),
    ] {
        assert_eq!(
            refusal(path, set("reg", reg)),
            "/memory@40000000: reg: it is malformed"
        );
    }
}

#[test]
fn malformed_cpus() {
    assert_eq!(
        refusal("/cpus/cpu@1", without("reg")),
        "/cpus/cpu@1: reg: it is missing"
    );
    assert_eq!(
        refusal("/cpus/cpu@1", set("reg", Vec::new())),
        "/cpus/cpu@1: reg: it is malformed"
    );
    assert_eq!(
        refusal("/cpus/cpu@1", set("reg", cells(&[0]))),
        "/cpus/cpu@1: reg: another one has the same"
    );
}

#[test]
fn a_gic_that_does_not_serve() {
    let path = "/intc@8000000";
    assert_eq!(
        refusal(path, set("reg", longs(&[0x800_0000, 0x1_0000]))),
        "/intc@8000000: reg: it is malformed"
    );
    assert_eq!(
        refusal(
            path,
            set("reg", longs(&[0x800_0000, 0x1_0000, 0x80a_0000, 0x2_0000]))
        ),
        "/intc@8000000: reg: there are not enough redistributors for 2 CPUs"
    );
    assert_eq!(
        refusal(path, set("#redistributor-regions", cells(&[2]))),
        "/intc@8000000: #redistributor-regions: only one region of redistributors is supported"
    );
}

#[test]
fn an_unknown_log_level() {
    assert_eq!(
        refusal("/chosen", set("bulkhead,log-level", text("loud"))),
        "/chosen: bulkhead,log-level: \"loud\" is not known"
    );
}
