//! The mediator, where something else goes wrong: OP-TEE answers otherwise than it does, or was
//! never asked; the heap is exhausted; a vCPU never comes back; a guest is killed. Nothing leaks,
//! and the other guest does not notice.
//!
//! Each case prints a line `@@trial AREA | WHAT IS DONE | WHAT MUST COME | WHAT CAME`.

#![cfg(test)]

mod answers;
mod exhausted_heap;
mod kills;
mod scenario;

/// Says what came of a case, and fails where it is something else.
#[track_caller]
fn came(area: &str, does: &str, must: &str, came: &str) {
    println!("@@trial {area} | {does} | {must} | {came}");
    assert_eq!(came, must, "{area}: {does}");
}

/// Says that a case held, which asserts on its way what must hold.
fn held(area: &str, does: &str, must: &str) {
    println!("@@trial {area} | {does} | {must} | {must}");
}
