//! Signs with a key of OP-TEE's PKCS#11 token (PKCS #11 Specification 3.0), which is made where it
//! is not there yet, and checks the signature. Says `@@key made` or `@@key found`.

use std::error::Error;
use std::process::ExitCode;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;

/// Debian's libckteec0t64.
const LIBRARY: &str = "libckteec.so.0";
const LABEL: &str = "kept";
/// secp256r1, as an object identifier in DER.
const CURVE: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// What is signed: as long as a digest.
const DIGEST: [u8; 32] = *b"thirty-two bytes that are signed";

fn main() -> ExitCode {
    match sign() {
        Ok(said) => {
            println!("@@key {said}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("kept-key: {error}");
            ExitCode::FAILURE
        }
    }
}

fn sign() -> Result<&'static str, Box<dyn Error>> {
    let token = Pkcs11::new(LIBRARY)?;
    token.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))?;
    let slot = *token.get_all_slots()?.first().ok_or("there is no slot")?;
    let (officer, user) = (AuthPin::from("12345678"), AuthPin::from("1234"));
    if !token.get_token_info(slot)?.token_initialized() {
        token.init_token(slot, &officer, LABEL)?;
        let session = token.open_rw_session(slot)?;
        session.login(UserType::So, Some(&officer))?;
        session.init_pin(&user)?;
    }
    let session = log_in(&token, slot, &user)?;
    let private = key(&session, ObjectClass::PRIVATE_KEY)?;
    let public = key(&session, ObjectClass::PUBLIC_KEY)?;
    let (public, private, said) = match (public, private) {
        (Some(public), Some(private)) => (public, private, "found"),
        _ => {
            let (public, private) = make(&session)?;
            (public, private, "made")
        }
    };
    let signature = session.sign(&Mechanism::Ecdsa, private, &DIGEST)?;
    session.verify(&Mechanism::Ecdsa, public, &DIGEST, &signature)?;
    Ok(said)
}

fn log_in(token: &Pkcs11, slot: Slot, pin: &AuthPin) -> Result<Session, Box<dyn Error>> {
    let session = token.open_rw_session(slot)?;
    session.login(UserType::User, Some(pin))?;
    Ok(session)
}

fn key(session: &Session, class: ObjectClass) -> Result<Option<ObjectHandle>, Box<dyn Error>> {
    let template = [Attribute::Class(class), Attribute::Label(LABEL.into())];
    Ok(session.find_objects(&template)?.first().copied())
}

fn make(session: &Session) -> Result<(ObjectHandle, ObjectHandle), Box<dyn Error>> {
    let label = || Attribute::Label(LABEL.into());
    let public = [
        Attribute::Token(true),
        Attribute::Verify(true),
        Attribute::EcParams(CURVE.into()),
        label(),
    ];
    let private = [
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sign(true),
        label(),
    ];
    Ok(session.generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private)?)
}
