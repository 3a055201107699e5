//! Floating-point and vector registers, which tests do without.

/// None.
#[derive(Clone, Debug, Default)]
pub struct FloatRegisters(());

impl FloatRegisters {
    /// Saves nothing.
    pub fn save(&mut self) {}

    /// Loads nothing.
    pub fn load(&self) {}
}
