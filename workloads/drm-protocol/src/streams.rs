//! What the player's streams are called, which whoever starts it has to know, too.

/// The streams that the player has.
pub const STREAMS: [&str; 5] = [
    "1080p30",
    "2160p60",
    "100Mbit60",
    "100Mbit60-cbcs",
    "240Mbit60",
];

/// Behind a stream's name: with buffers that are registered for each frame.
pub const PER_FRAME: &str = "+per-frame";

/// Whether the player plays something of this name.
#[must_use]
pub fn is_stream(name: &str) -> bool {
    STREAMS.contains(&name.strip_suffix(PER_FRAME).unwrap_or(name))
}
