//! A guest without a TEE beside one that has it.

use end_to_end::Scenario;

#[test]
fn a_guest_without_a_tee_has_no_device_for_it() {
    let outcome = Scenario::of("no-tee.toml")
        .exec("vm1", "ls /dev/tee0 /dev/teepriv0")
        .exec("vm2", "ls /dev /proc/device-tree; ! ls /dev/tee* /dev/teepriv* /proc/device-tree/firmware/optee")
        .run();
    outcome.assert_passed();
    assert_eq!(outcome.guest("vm1").optee.as_deref(), Some("4.10"));
    assert_eq!(outcome.guest("vm2").optee, None);
    outcome.assert(
        outcome.log("bulkhead").contains("tee none"),
        "the hypervisor says that vm2 has no TEE",
    );
}
