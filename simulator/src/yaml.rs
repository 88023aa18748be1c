//! YAML in and out. The only module that knows which library does it, so that it can be replaced in one place.

use anyhow::{Context, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Reads one YAML document into a type.
///
/// # Errors
/// The text is no YAML, or does not have the wanted shape; the message carries line and column.
pub fn read<T: DeserializeOwned>(text: &str) -> Result<T> {
    Ok(yaml_serde::from_str(text)?)
}

/// Writes a value as a YAML block, ending in one newline.
///
/// # Errors
/// The value has no YAML form (a map with keys that are no scalars).
pub fn write<T: Serialize>(value: &T) -> Result<String> {
    yaml_serde::to_string(value).context("cannot write YAML")
}
