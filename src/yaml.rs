//! YAML in and out. No other module names the YAML library, so that replacing it touches this file only.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Text that is not YAML or not of the wanted shape, or a value that YAML cannot express.
#[derive(Debug, thiserror::Error)]
pub enum YamlError {
    /// The text could not be read; the cause names line and column where it can.
    #[error("cannot read YAML: {0}")]
    Read(String),
    /// The value could not be written.
    #[error("cannot write YAML: {0}")]
    Write(String),
}

/// Reads one document.
///
/// # Errors
/// [`YamlError::Read`] for malformed text and for text of another shape than `T`.
pub fn from_str<T: DeserializeOwned>(text: &str) -> Result<T, YamlError> {
    yaml_serde::from_str(text).map_err(|error| YamlError::Read(error.to_string()))
}

/// Writes one document, ending with a newline, keys in the order of the value's fields.
///
/// # Errors
/// [`YamlError::Write`] for values that have no YAML form, for example a map with maps as keys.
pub fn to_string<T: Serialize>(value: &T) -> Result<String, YamlError> {
    yaml_serde::to_string(value).map_err(|error| YamlError::Write(error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let value = BTreeMap::from([("a".to_owned(), "1".to_owned()), ("b".to_owned(), "x: y".to_owned())]);
        let read: BTreeMap<String, String> = from_str(&to_string(&value).unwrap()).unwrap();
        assert_eq!(read, value);
    }

    #[test]
    fn malformed_text_is_refused_with_its_place() {
        let error = from_str::<BTreeMap<String, String>>("a: [1").unwrap_err();
        assert!(error.to_string().starts_with("cannot read YAML: "), "{error}");
        assert!(error.to_string().contains("line"), "{error}");
    }
}
