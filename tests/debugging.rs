//! A guest's kernel debugs its programs.

use end_to_end::Scenario;

/// Puts user-space probes on the first three instructions of busybox and runs it: the kernel puts
/// breakpoints there and steps over what they replace, one instruction at a time. They lie in a
/// file of which no more than 4 MiB are mapped at a multiple of that; its header has their address
/// at byte 24.
const PROBE: &str = "set -e
mount -t tracefs none /sys/kernel/tracing
cd /sys/kernel/tracing
entry=$((0x$(od -An -tx8 -j24 -N8 /bin/busybox | tr -d ' ') & 0x3fffff))
for n in 0 4 8; do
    printf 'p:probe%d /bin/busybox:0x%x\\n' $n $((entry + n)) >> uprobe_events
done
echo 1 > events/uprobes/enable
/bin/busybox true
echo 0 > events/uprobes/enable
for n in 0 4 8; do
    grep -q \" probe$n: \" trace
done
echo all probes were hit";

#[test]
fn programs_are_probed_and_go_on() {
    let outcome = Scenario::of("no-tee.toml")
        .exec("vm1", PROBE)
        .exec("vm2", PROBE)
        .run();
    outcome.assert_passed();
    for guest in ["vm1", "vm2"] {
        let log = outcome.log(guest);
        outcome.assert(
            log.lines().any(|line| line == "all probes were hit"),
            "every instruction was stopped at",
        );
    }
}
