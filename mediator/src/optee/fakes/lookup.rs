//! What OP-TEE does not survive of buffers.

use std::vec::Vec;

use optee_abi::message::{Message, Parameter, command};

/// The buffers that a message names.
#[derive(Clone, Debug, Default)]
pub(super) struct Named {
    handles: Vec<u64>,
    /// OP-TEE is to forget them.
    releases: bool,
}

impl Named {
    pub(super) fn by(message: &Message, count: usize) -> Self {
        let handle = |index| match message.parameter(index) {
            Ok(Parameter::Registered { reference, .. }) => Some(reference),
            _ => None,
        };
        Self {
            handles: (0..count).filter_map(handle).collect(),
            releases: message.command() == command::UNREGISTER_SHM,
        }
    }

    /// Checks a message against those that OP-TEE is at work with. From when OP-TEE drops its own
    /// reference to a buffer until the buffer is off its list, whoever looks the buffer up halts
    /// OP-TEE for all guests (`mobj_reg_shm_release_by_cookie`, `core/mm/mobj_dyn_shm.c`, and
    /// `mobj_get`, `core/include/mm/mobj.h`, 4.5.0 to 4.10.0). When a thread looks up what its
    /// message names, nobody outside can tell.
    pub(super) fn assert_found_beside<'a>(&self, others: impl Iterator<Item = &'a Self>) {
        for other in others {
            let both = self.handles.iter().find(|one| other.handles.contains(one));
            if let Some(both) = both.filter(|_| self.releases || other.releases) {
                panic!("OP-TEE halts for all guests: {both:#x} is looked up while it is released");
            }
        }
    }
}
