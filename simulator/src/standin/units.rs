//! Unit files: where they are, what they say, which are enabled. Invariant: nothing in here runs or remembers anything; the
//! files are the only state.

pub mod enable;
pub mod files;
pub mod spec;
pub mod syntax;
pub mod words;

/// The full name of a unit: `etcd` is `etcd.service`, and a path is the mount unit for it.
pub fn full_name(name: &str) -> String {
    const KINDS: [&str; 7] = [".service", ".mount", ".target", ".timer", ".socket", ".path", ".slice"];
    if name.starts_with('/') {
        return format!("{}.mount", escape_path(name));
    }
    if KINDS.iter().any(|kind| name.ends_with(kind)) { name.to_owned() } else { format!("{name}.service") }
}

/// A path as it appears in a unit name: `/media/etcd` is `media-etcd`, other letters are `\xNN`.
pub fn escape_path(path: &str) -> String {
    let trimmed = path.trim_matches('/');
    if trimmed.is_empty() {
        return "-".to_owned();
    }
    let mut escaped = String::new();
    for (position, byte) in trimmed.bytes().enumerate() {
        match byte {
            b'/' => escaped.push('-'),
            b'.' if position == 0 => escaped.push_str("\\x2e"),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b':' | b'_' | b'.' => escaped.push(char::from(byte)),
            other => escaped.push_str(&format!("\\x{other:02x}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_a_kind_is_a_service_and_a_path_is_a_mount() {
        assert_eq!(full_name("snap.etcd.etcd"), "snap.etcd.etcd.service");
        assert_eq!(full_name("multi-user.target"), "multi-user.target");
        assert_eq!(full_name("/media/etcd-data"), "media-etcd\\x2ddata.mount");
    }
}
