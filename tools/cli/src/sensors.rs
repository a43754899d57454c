//! How many threads may work while the machine stays below a temperature.

#[cfg(test)]
pub(crate) mod fake;
pub(crate) mod governor;
