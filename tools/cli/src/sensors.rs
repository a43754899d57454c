//! What the machine tells of its heat and its clocks.

pub(crate) mod clocks;
#[cfg(test)]
pub(crate) mod fake;
pub(crate) mod governor;
pub(crate) mod temperature;
