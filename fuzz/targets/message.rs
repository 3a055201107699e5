//! The bytes of a message: each parameter that is understood is written again as it was, and
//! nothing that is asked of a message panics.

#![no_main]

use libfuzzer_sys::fuzz_target;
use optee_abi::message::{CAPACITY, HEADER_SIZE, Message, PARAMETERS_MAX, size_with};

fuzz_target!(|bytes: &[u8]| {
    let mut message = Message::default();
    let room = message.bytes_mut(CAPACITY);
    let length = bytes.len().min(room.len());
    room[..length].copy_from_slice(&bytes[..length]);
    if let Ok(count) = message.count() {
        assert!(count <= CAPACITY);
        assert_eq!(message.bytes(count).len(), HEADER_SIZE + count * 32);
        assert!(size_with(count) <= size_with(PARAMETERS_MAX as usize));
    }
    let _ = (
        message.command(),
        message.result(),
        message.origin(),
        message.session(),
    );
    let _ = message.application();
    for index in 0..CAPACITY + 2 {
        let words = message.words(index);
        let Ok(parameter) = message.parameter(index) else {
            continue;
        };
        let mut again = message;
        again.set_parameter(index, parameter);
        assert_eq!(again.parameter(index), Ok(parameter), "of {words:x?}");
        again.copy_parameter(index, &message);
        assert_eq!(again.bytes(CAPACITY), message.bytes(CAPACITY));
    }
});
