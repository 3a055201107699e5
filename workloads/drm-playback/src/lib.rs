//! A player's side of DRM playback.
//!
//! ```text
//! let tee = Tee::open()?;
//! let player = Player::open(&tee)?;                                  // a session with the trusted application
//! let key = issuer::wrap(&player.public_key()?, id, &key, &chance);  // what a license server does
//! player.provision(&key)?;                                           // kept in secure storage from now on
//! player.open_stream(&id, Scheme::Cenc)?;
//! let (mut info, sample, clear) = (Shared::new(&tee, 4096)?, Shared::new(&tee, length)?, Shared::new(&tee, length)?);
//! let info_length = write_info(&mut info.pages, id, (iv, 8), &table);
//! player.decrypt((&info, info_length), (&sample, length), (&clear, length))?;
//! ```
//!
//! `drm_protocol` describes the commands; `player.nothing()` is the one that does nothing.

pub mod content;
pub mod issuer;
pub mod playback;
mod player;
pub mod random;
mod reference;
pub mod trials;

pub use player::{Error, Player, Result, Shared, write_info};
pub use reference::Reference;
