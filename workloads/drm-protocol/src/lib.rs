//! What a player and the trusted application for DRM playback say to each other. All numbers are
//! little-endian.
//!
//! A stream is a session. Its life:
//!
//! | Command | Parameters | What it does |
//! |---|---|---|
//! | [`Command::PublicKey`] | out: [`PUBLIC_KEY_SIZE`] bytes | tells the public key that content keys are wrapped for |
//! | [`Command::ProvisionKey`] | in: [`WrappedKey`] | unwraps a content key and keeps it in secure storage |
//! | [`Command::OpenStream`] | in: 16 bytes of key ID; value: `a` scheme, `b` pattern | makes the session's cipher with that key |
//! | [`Command::Decrypt`] | in: [`SampleHeader`] and its [`SubsampleEntry`]s; in: sample; out: sample | decrypts a sample |
//! | [`Command::Decrypt`] | in: the same; inout: sample | decrypts a sample where it is |
//! | [`Command::ForgetKey`] | in: 16 bytes of key ID | removes a content key from secure storage |
//! | [`Command::Nothing`] | any | does nothing, for measurements |
//!
//! The scheme is [`SCHEME_CENC`] with a pattern of 0, or [`SCHEME_CBCS`] with a pattern of `crypt
//! << 8 | skip` blocks.
//!
//! The results are those of the GlobalPlatform TEE Internal Core API 1.3.1, table 3-12. After an
//! error nothing has been written:
//!
//! | Result | When |
//! |---|---|
//! | [`BAD_PARAMETERS`] | parameters of other types; a header, a scheme or a pattern that there is not; a table that does not describe the sample: it overruns, the sample is cut short or goes on behind it; more than [`SUBSAMPLES_MAX`] subsamples |
//! | [`ITEM_NOT_FOUND`] | no content key has this ID, or the sample's key is not the stream's |
//! | [`BAD_STATE`] | the session has no stream yet |
//! | [`SHORT_BUFFER`] | the place for the output is smaller than the sample; its size is set to what it takes |
//! | [`MAC_INVALID`] | a content key was not wrapped for this application, or is not what was wrapped |
//! | [`NOT_SUPPORTED`] | no command has this number |

#![no_std]
#![forbid(unsafe_code)]

mod key;
mod sample;
mod streams;

pub use key::{
    CONTENT_KEY_SIZE, KEY_ID_SIZE, KeyId, PUBLIC_KEY_SIZE, TAG_SIZE, WRAPPING_LABEL,
    WRAPPING_NONCE_SIZE, WrappedKey,
};
pub use sample::{
    SAMPLE_INFO_MAX, SCHEME_CBCS, SCHEME_CENC, SUBSAMPLES_MAX, SampleHeader, SampleInfo,
    SubsampleEntry, scheme, scheme_numbers,
};
pub use streams::{PER_FRAME, STREAMS, is_stream};

/// The name of the trusted application, as text.
pub const UUID_TEXT: &str = "7c5bd4ac-6e4a-4f0c-9b2d-4d1f8a3e6c95";
/// The same in the order of its text.
pub const UUID: [u8; 16] = 0x7c5b_d4ac_6e4a_4f0c_9b2d_4d1f_8a3e_6c95u128.to_be_bytes();

/// `TEE_SUCCESS`.
pub const SUCCESS: u32 = 0;
/// `TEE_ERROR_BAD_PARAMETERS`.
pub const BAD_PARAMETERS: u32 = 0xffff_0006;
/// `TEE_ERROR_BAD_STATE`.
pub const BAD_STATE: u32 = 0xffff_0007;
/// `TEE_ERROR_ITEM_NOT_FOUND`.
pub const ITEM_NOT_FOUND: u32 = 0xffff_0008;
/// `TEE_ERROR_NOT_SUPPORTED`.
pub const NOT_SUPPORTED: u32 = 0xffff_000a;
/// `TEE_ERROR_SHORT_BUFFER`.
pub const SHORT_BUFFER: u32 = 0xffff_0010;
/// `TEE_ERROR_MAC_INVALID`.
pub const MAC_INVALID: u32 = 0xffff_3071;

/// What a player asks for. The number is the command's identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Command {
    /// Nothing.
    Nothing = 0,
    /// The public key that content keys are wrapped for.
    PublicKey = 1,
    /// To keep a content key.
    ProvisionKey = 2,
    /// To decrypt with a content key from now on.
    OpenStream = 3,
    /// A clear sample.
    Decrypt = 4,
    /// To have a content key no longer.
    ForgetKey = 5,
}

impl Command {
    /// The command with this number.
    #[must_use]
    pub const fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::Nothing,
            1 => Self::PublicKey,
            2 => Self::ProvisionKey,
            3 => Self::OpenStream,
            4 => Self::Decrypt,
            5 => Self::ForgetKey,
            _ => return None,
        })
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self as u32
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::string::String;

    use super::*;

    #[test]
    fn the_name_is_the_same_in_both_forms() {
        let digits: String = UUID_TEXT.chars().filter(|c| *c != '-').collect();
        assert_eq!(
            u128::from_str_radix(&digits, 16),
            Ok(u128::from_be_bytes(UUID))
        );
    }

    #[test]
    fn commands_and_their_numbers_belong_together() {
        let mut known = 0;
        for number in (0..100).chain([u32::MAX]) {
            if let Some(command) = Command::from_number(number) {
                assert_eq!(command.number(), number);
                known += 1;
            }
        }
        assert_eq!(known, 6);
    }
}
