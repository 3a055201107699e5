use super::*;

fn buffers() -> Buffers {
    let limits = Limits {
        buffer_bytes_max: 16 * PAGE_SIZE,
        buffers_max: 3,
        total_bytes_max: 20 * PAGE_SIZE,
        ..Limits::default()
    };
    Buffers::new(&limits, 2, 2, HashSecret::default()).unwrap()
}

fn shared(buffers: &Buffers, kind: Kind, cookie: u64, pages: u64) -> Handle {
    let handle = buffers
        .reserve(kind, cookie, 0, pages * PAGE_SIZE, pages)
        .unwrap();
    buffers.commit(handle);
    handle
}

fn pages(removed: Removed) -> u64 {
    assert_eq!(removed.share, None);
    removed.pages
}

/// Follows a reference.
fn refer(
    buffers: &Buffers,
    cookie: u64,
    offset: u64,
    size: u64,
) -> Result<(Handle, u64), ReferenceError> {
    buffers.registered(0).refer(0, cookie, offset, size)
}

#[test]
fn another_kernel_may_use_the_cookies_of_one_that_is_gone() {
    let buffers = buffers();
    let old = [Kind::Registered, Kind::Rpc].map(|kind| shared(&buffers, kind, kind as u64, 1));
    let announced = buffers.reserve(Kind::Registered, 8, 0, 1, 1).unwrap();
    buffers.begin_era();
    let new = [Kind::Registered, Kind::Rpc].map(|kind| shared(&buffers, Kind::Rpc, kind as u64, 1));
    assert_eq!(
        buffers.reserve(Kind::Rpc, 8, 0, 1, 1),
        Err(ReserveError::CookieInUse),
        "OP-TEE is about to learn of it"
    );
    assert_eq!(pages(buffers.remove(announced)), 1);
    for handle in old {
        assert!(buffers.cookie(handle, 0, 1).is_some(), "calls can go on");
        assert_eq!(pages(buffers.remove(handle)), 1);
    }
    for (handle, kind) in new.into_iter().zip([Kind::Registered, Kind::Rpc]) {
        assert_eq!(
            buffers.reserve(Kind::Rpc, kind as u64, 0, 1, 1),
            Err(ReserveError::CookieInUse)
        );
        assert_eq!(buffers.free(handle), Some(kind as u64));
    }
}

#[test]
fn the_buffers_before_a_slot_are_counted() {
    let buffers = buffers();
    let [a, b] = [1, 2].map(|cookie| shared(&buffers, Kind::Registered, cookie, 1));
    assert_eq!([0, 1, 9].map(|slot| buffers.newer_than(slot)), [2, 2, 0]);
    buffers.renewed(1);
    let c = shared(&buffers, Kind::Temporary, 3, 1);
    assert_eq!([0, 1].map(|slot| buffers.newer_than(slot)), [3, 1]);
    let announced = buffers.reserve(Kind::Temporary, 4, 0, 1, 1).unwrap();
    for (handle, left) in [(announced, [3, 1]), (a, [2, 1]), (c, [1, 0]), (b, [0, 0])] {
        assert_eq!(pages(buffers.remove(handle)), 1);
        assert_eq!([0, 1].map(|slot| buffers.newer_than(slot)), left);
    }
    assert_eq!(buffers.registrations(), 3);
}

#[test]
fn a_buffer_is_found_again_until_it_is_gone() {
    let buffers = buffers();
    // All of them have the same place among those that were used.
    let cookies = [0, 1, 2];
    let handles = cookies.map(|cookie| shared(&buffers, Kind::Registered, cookie, 1));
    for _ in 0..2 {
        for (cookie, handle) in cookies.into_iter().zip(handles) {
            for _ in 0..2 {
                assert_eq!(refer(&buffers, cookie, 0, 1), Ok((handle, 1)));
            }
        }
    }
    assert_eq!(buffers.release(2), Some(handles[2]));
    assert_eq!(refer(&buffers, 2, 0, 1), Err(ReferenceError::Unknown));
    assert_eq!(pages(buffers.remove(handles[2])), 1);
    assert_eq!(refer(&buffers, 2, 0, 1), Err(ReferenceError::Unknown));
    let of_another_name = shared(&buffers, Kind::Registered, 9, 1);
    assert_eq!(refer(&buffers, 2, 0, 1), Err(ReferenceError::Unknown));
    assert_eq!(refer(&buffers, 9, 0, 1), Ok((of_another_name, 1)));
}

#[test]
fn references_are_bounded_by_the_last_page() {
    let buffers = buffers();
    let handle = buffers.reserve(Kind::Registered, 7, 0x10, 100, 1).unwrap();
    assert_eq!(
        refer(&buffers, 7, 0, 1),
        Err(ReferenceError::Unknown),
        "OP-TEE does not know it yet"
    );
    buffers.commit(handle);
    assert_eq!(refer(&buffers, 7, 0, 0xff0), Ok((handle, 1)));
    assert_eq!(
        refer(&buffers, 7, 1, 0xff0),
        Err(ReferenceError::OutOfBounds)
    );
    assert_eq!(
        refer(&buffers, 7, u64::MAX, 2),
        Err(ReferenceError::OutOfBounds)
    );
    assert_eq!(refer(&buffers, 8, 0, 1), Err(ReferenceError::Unknown));
    assert_eq!(buffers.cookie(handle, 0, 0xff0), Some(7));
    assert_eq!(buffers.cookie(handle, 0, 0xff1), None);
}

#[test]
fn a_cookie_stands_for_one_buffer() {
    let buffers = buffers();
    let handle = shared(&buffers, Kind::Registered, 7, 1);
    let again = |kind| buffers.reserve(kind, 7, 0, 1, 1);
    assert_eq!(again(Kind::Registered), Err(ReserveError::CookieInUse));
    assert_eq!(again(Kind::Rpc), Err(ReserveError::CookieInUse));
    assert!(
        again(Kind::Temporary).is_ok(),
        "the cookie of temporary memory is no name"
    );
    assert_eq!(refer(&buffers, 7, 0, 1), Ok((handle, 1)));
}

#[test]
fn limits_hold_and_come_back() {
    let buffers = buffers();
    assert_eq!(
        buffers.reserve(Kind::Rpc, 1, 0, 16 * PAGE_SIZE + 1, 17),
        Err(ReserveError::Limit)
    );
    let big = shared(&buffers, Kind::Rpc, 1, 16);
    assert_eq!(
        buffers.reserve(Kind::Registered, 2, 0, 1, 5),
        Err(ReserveError::Limit)
    );
    assert_eq!(
        buffers.reserve(Kind::Registered, 2, 0, 1, u64::MAX),
        Err(ReserveError::Limit)
    );
    assert_eq!(pages(buffers.remove(big)), 16);
    assert_eq!(pages(buffers.remove(big)), 0);
    for cookie in 0..3 {
        shared(&buffers, Kind::Registered, cookie, 1);
    }
    assert_eq!(
        buffers.reserve(Kind::Registered, 3, 0, 1, 1),
        Err(ReserveError::Limit)
    );
    shared(&buffers, Kind::Temporary, 3, 1);
    shared(&buffers, Kind::Temporary, 4, 1);
    assert_eq!(
        buffers.reserve(Kind::Temporary, 5, 0, 1, 1),
        Err(ReserveError::Limit)
    );
    assert_eq!(buffers.held(), (5, 5));
    assert_eq!(buffers.clear(), 5);
    assert_eq!(buffers.held(), (0, 0));
    assert_eq!(
        buffers.reserve(Kind::Registered, 3, 0, 1, 1),
        Err(ReserveError::Limit),
        "there are none any more"
    );
}

#[test]
fn a_handle_dies_with_its_buffer() {
    let buffers = buffers();
    let old = shared(&buffers, Kind::Registered, 7, 1);
    assert_eq!(pages(buffers.remove(old)), 1);
    let new = shared(&buffers, Kind::Registered, 7, 1);
    assert_ne!(old, new);
    assert_eq!(buffers.cookie(old, 0, 1), None);
    assert_eq!(buffers.cookie(new, 0, 1), Some(7));
    assert_eq!(buffers.cookie(Handle::MESSAGES, 0, 1), None);
    assert_eq!(buffers.cookie(Handle::for_messages(1), 0, 1), None);
    assert_eq!(Handle::claimed(0), None);
}

#[test]
fn a_released_buffer_takes_no_new_references() {
    let buffers = buffers();
    let handle = shared(&buffers, Kind::Registered, 7, 1);
    assert_eq!(buffers.release(7), Some(handle));
    assert_eq!(buffers.release(7), None);
    assert_eq!(refer(&buffers, 7, 0, 1), Err(ReferenceError::Unknown));
    assert_eq!(
        buffers.cookie(handle, 0, 1),
        Some(7),
        "a call that refers to it can go on"
    );
    assert_eq!(
        buffers.reserve(Kind::Registered, 7, 0, 1, 1),
        Err(ReserveError::CookieInUse)
    );
    buffers.keep(handle);
    assert_eq!(refer(&buffers, 7, 0, 1), Ok((handle, 1)));
}

#[test]
fn the_cookie_of_a_freed_rpc_buffer_can_be_used_at_once() {
    let buffers = buffers();
    let registered = shared(&buffers, Kind::Registered, 6, 1);
    assert_eq!(
        buffers.free(registered),
        None,
        "OP-TEE frees only what it had asked for"
    );
    let old = shared(&buffers, Kind::Rpc, 7, 1);
    assert_eq!(
        refer(&buffers, 7, 0, 1),
        Err(ReferenceError::Unknown),
        "no guest call names RPC memory"
    );
    assert_eq!(buffers.release(7), None);
    assert_eq!(buffers.free(old), Some(7));
    assert_eq!(buffers.free(old), None);
    let new = shared(&buffers, Kind::Registered, 7, 1);
    assert_eq!(pages(buffers.remove(old)), 1);
    assert_eq!(
        refer(&buffers, 7, 0, 1),
        Ok((new, 1)),
        "the end of the old one does not touch the new one"
    );
}

#[test]
fn colliding_cookies_are_told_apart() {
    let limits = Limits {
        buffers_max: 300,
        ..Limits::default()
    };
    let buffers = Buffers::new(&limits, 0, 2, HashSecret::default()).unwrap();
    let cookie = |index: u64| 0xffff_0000_1234_0000 + index * 0x80;
    let handles: Vec<_> = (0..300)
        .map(|index| shared(&buffers, Kind::Registered, cookie(index), 1))
        .collect();
    for (index, handle) in handles.iter().enumerate() {
        assert_eq!(
            refer(&buffers, cookie(index as u64), 0, 1),
            Ok((*handle, 1))
        );
    }
}

#[test]
fn a_buffer_is_in_use_until_all_calls_have_let_go_of_it() {
    let buffers = buffers();
    let handle = shared(&buffers, Kind::Registered, 7, 1);
    for (slot, parameters) in [(0, 0b1), (1, 0b110)] {
        let registered = buffers.registered(slot);
        for index in (0..3).filter(|index| parameters >> index & 1 == 1) {
            registered.refer(index, 7, 0, 1).unwrap();
        }
        registered.hold(parameters);
    }
    assert_eq!(buffers.release(7), Some(handle));
    assert_eq!(
        refer(&buffers, 7, 0, 1),
        Err(ReferenceError::Unknown),
        "it is being taken back"
    );
    for slot in [0, 1] {
        assert!(!buffers.is_unused(handle));
        buffers.let_go(slot);
    }
    assert!(buffers.is_unused(handle));
}

#[test]
fn a_parameter_of_an_earlier_call_does_not_count() {
    let buffers = buffers();
    let handles = [7, 8].map(|cookie| shared(&buffers, Kind::Registered, cookie, 1));
    for (index, cookie) in [(0, 7), (1, 8)] {
        let registered = buffers.registered(0);
        registered.refer(index, cookie, 0, 1).unwrap();
        registered.hold(1 << index);
        drop(registered);
        if index == 0 {
            buffers.let_go(0);
        }
    }
    assert_eq!(
        [7, 8].map(|cookie| buffers.release(cookie)),
        handles.map(Some)
    );
    assert_eq!(
        handles.map(|handle| buffers.is_unused(handle)),
        [true, false]
    );
}

#[test]
fn what_can_not_be_remembered_is_not_referred_to() {
    let buffers = buffers();
    shared(&buffers, Kind::Registered, 7, 1);
    let beyond = optee_abi::message::CAPACITY;
    for (slot, index) in [(0, beyond), (2, 0)] {
        assert_eq!(
            buffers.registered(slot).refer(index, 7, 0, 1),
            Err(ReferenceError::Unknown)
        );
    }
}
