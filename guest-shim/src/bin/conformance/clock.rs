//! The real-time clock of a guest.

use guest_shim::arch::{rtc, timer};
use guest_shim::case;
use guest_shim::runtime::check::Outcome;
use guest_shim::runtime::environment::Environment;
use guest_shim::{check, check_eq};

/// 1 January 2026, in seconds since 1970: the machine's clock is later.
const EARLIEST: u32 = 1_767_225_600;

case!(7, the_clock_says_what_it_is);
fn the_clock_says_what_it_is(_: &Environment) -> Outcome {
    let bytes = [0x31, 0x10, 0x04, 0x00, 0x0d, 0xf0, 0x05, 0xb1];
    for (number, byte) in bytes.into_iter().enumerate() {
        let register = rtc::IDENTIFICATION + 4 * number as u64;
        check_eq!(rtc::read(register), byte, "an identification register");
    }
    Ok(())
}

/// The time, with the counter before and after it was read.
fn reading() -> (u32, u64, u64) {
    let before = timer::now();
    let time = rtc::read(rtc::DATA);
    (time, before, timer::now())
}

case!(7, the_clock_goes_with_the_counter);
fn the_clock_goes_with_the_counter(_: &Environment) -> Outcome {
    let second = timer::milliseconds(1000);
    let (first, earliest, latest) = reading();
    check!(first >= EARLIEST, "it is {first} s after 1970");
    while timer::now() - latest < 2 * second {}
    let (last, before, after) = reading();
    // Where a second begins is not known.
    let passed = u64::from(last - first);
    check!(
        passed * second < after - earliest + second && before - latest < (passed + 1) * second,
        "{passed} s in {} to {} ticks, of which {second} are a second",
        before - latest,
        after - earliest
    );
    Ok(())
}

case!(7, a_guest_sets_its_own_clock);
fn a_guest_sets_its_own_clock(_: &Environment) -> Outcome {
    let before = rtc::read(rtc::DATA);
    check!(before >= EARLIEST, "another guest's time: {before} s");
    rtc::write(rtc::LOAD, 1000);
    let set = rtc::read(rtc::DATA);
    check!(
        (1000..1010).contains(&set),
        "it was set to 1000 and is {set}"
    );
    rtc::write(rtc::LOAD, before);
    Ok(())
}
