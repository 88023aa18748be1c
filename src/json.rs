//! What is wrong with a JSON text, told without the text: it may hold a key, and the message goes to the log.

use serde_json::error::{Category, Error};

/// What is wrong, and where.
pub fn why(error: &Error) -> String {
    let what = match error.classify() {
        Category::Syntax => "it is no JSON",
        Category::Eof => "it ends too early",
        Category::Data => "it does not have the expected form",
        Category::Io => "it cannot be read",
    };
    // A value that was parsed before has no place.
    match error.line() {
        0 => what.to_owned(),
        line => format!("{what} at line {line}, column {}", error.column()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_names_the_place_and_repeats_nothing() {
        let told = |text: &str| why(&serde_json::from_str::<Vec<u8>>(text).unwrap_err());
        assert_eq!(told("\"PRIVATE KEY\""), "it does not have the expected form at line 1, column 13");
        assert_eq!(told("[1,\nPRIVATE"), "it is no JSON at line 2, column 1");
        assert_eq!(told("[1"), "it ends too early at line 1, column 2");
        let parsed = serde_json::json!({"key": "PRIVATE KEY"});
        let error = serde_json::from_value::<Vec<u8>>(parsed).unwrap_err();
        assert_eq!(why(&error), "it does not have the expected form");
    }
}
