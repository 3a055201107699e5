//! Results in a message (`TEE_ERROR_*`, `TEE_ORIGIN_*`; GlobalPlatform TEE Internal Core API 1.3.1,
//! §3.3.3 and §4.11.4, `lib/libutee/include/tee_api_defines.h`, OP-TEE 4.5.0).

/// `TEE_SUCCESS`
pub const SUCCESS: u32 = 0;
/// `TEE_ERROR_GENERIC`
pub const GENERIC: u32 = 0xffff_0000;
/// `TEE_ERROR_ACCESS_DENIED`
pub const ACCESS_DENIED: u32 = 0xffff_0001;
/// `TEE_ERROR_BAD_PARAMETERS`
pub const BAD_PARAMETERS: u32 = 0xffff_0006;
/// `TEE_ERROR_ITEM_NOT_FOUND`
pub const ITEM_NOT_FOUND: u32 = 0xffff_0008;
/// `TEE_ERROR_NOT_SUPPORTED`
pub const NOT_SUPPORTED: u32 = 0xffff_000a;
/// `TEE_ERROR_OUT_OF_MEMORY`
pub const OUT_OF_MEMORY: u32 = 0xffff_000c;
/// `TEE_ERROR_COMMUNICATION`
pub const COMMUNICATION: u32 = 0xffff_000e;
/// `TEE_ERROR_SECURITY`
pub const SECURITY: u32 = 0xffff_000f;

/// `TEE_ORIGIN_COMMS`: what lies between the client and the TEE.
pub const ORIGIN_COMMS: u32 = 2;
/// `TEE_ORIGIN_TEE`
pub const ORIGIN_TEE: u32 = 3;
