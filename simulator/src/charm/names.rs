//! Juju's rules for names. Every name that comes from a person or a charm passes here once.

use anyhow::{Result, bail};

/// Lower-case words joined by single hyphens; each word holds a letter, the first begins with one.
fn is_application_like(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.split('-').all(|word| {
            word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
                && word.chars().any(|c| c.is_ascii_lowercase())
        })
}

/// # Errors
/// Not a name that a charm can have.
pub fn check_charm(name: &str) -> Result<()> {
    if !is_application_like(name) {
        bail!("charm name {name:?} not valid");
    }
    Ok(())
}

/// # Errors
/// Not a name that an application can have.
pub fn check_application(name: &str) -> Result<()> {
    if is_application_like(name) {
        return Ok(());
    }
    if name.contains('_') {
        bail!("invalid application name {name:?}, unexpected character _");
    }
    bail!("invalid application name {name:?}");
}

/// # Errors
/// Not a name that an endpoint can have.
pub fn check_endpoint(name: &str) -> Result<()> {
    let good = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if !good {
        bail!("metadata: relation name {name:?} not valid");
    }
    Ok(())
}

/// Model names: lower-case letters, digits and hyphens, not at the ends.
///
/// # Errors
/// Not a name that a model can have; it also names a directory, so nothing else may pass.
pub fn check_model(name: &str) -> Result<()> {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || !name.chars().all(inner) || name.starts_with('-') || name.ends_with('-') {
        bail!(
            "{name:?} is not a valid name: model names may only contain lowercase letters, digits and hyphens"
        );
    }
    Ok(())
}

/// The rule for action names and for every part of a result key.
#[must_use]
pub fn is_action_word(word: &str) -> bool {
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    word.starts_with(edge) && word.ends_with(edge) && word.chars().all(|c| edge(c) || c == '-')
}

/// Splits `application/number`.
///
/// # Errors
/// The text names no unit.
pub fn split_unit(text: &str) -> Result<(&str, u32)> {
    if let Some((application, number)) = text.split_once('/')
        && is_application_like(application)
        && let Ok(number) = number.parse()
    {
        return Ok((application, number));
    }
    bail!("invalid unit name {text:?}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn application_names_follow_jujus_rule() {
        for good in ["etcd", "etcd2", "my-etcd", "a1-b2"] {
            assert!(check_application(good).is_ok(), "{good}");
        }
        for bad in ["", "Etcd", "etcd-", "etcd-2", "-etcd", "et_cd", "2etcd", "etcd/0", "a--b"] {
            assert!(check_application(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn unit_names_are_an_application_and_a_number() {
        assert_eq!(split_unit("my-etcd/12").unwrap(), ("my-etcd", 12));
        for bad in ["etcd", "etcd/", "etcd/x", "etcd/-1", "/0", "etcd/0/1"] {
            assert!(split_unit(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn model_names_cannot_leave_their_directory() {
        for bad in ["", "..", "a/b", "A", "-a", "a-"] {
            assert!(check_model(bad).is_err(), "{bad}");
        }
        assert!(check_model("test-3").is_ok());
    }
}
