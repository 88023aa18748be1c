//! Takes secrets out of text that is to leave the machine: private keys, tokens, passwords in URLs. Rather too much
//! than too little.

/// The text without secrets. `known`: values that are secret wherever they stand.
pub fn redact(text: &str, known: &[&str]) -> String {
    let mut clean = without_private_keys(text);
    for secret in known.iter().filter(|secret| !secret.is_empty()) {
        clean = clean.replace(secret, "<redacted>");
    }
    clean.lines().map(|line| without_passwords(&without_tokens(line)) + "\n").collect()
}

/// Takes out PEM blocks, also ones on a single line with written-out line feeds. A block that lost its begin or its
/// end to the limits of a log goes as well, with everything on that side of it.
fn without_private_keys(text: &str) -> String {
    const END_OF_LABEL: &str = "PRIVATE KEY-----";
    let mut clean = String::new();
    let mut rest = text;
    while let Some(label) = rest.find(END_OF_LABEL) {
        let (before, behind) = (&rest[..label], &rest[label + END_OF_LABEL.len()..]);
        match before.rfind("-----") {
            Some(begin) if before[begin..].starts_with("-----BEGIN") => {
                clean.push_str(&before[..begin]);
                let end = behind.find(END_OF_LABEL).map(|end| end + END_OF_LABEL.len());
                rest = end.map_or("", |end| &behind[end..]);
            }
            _ => {
                clean.clear();
                rest = behind;
            }
        }
        clean.push_str("<private key redacted>");
    }
    clean + rest
}

/// What follows a name with `token` in it: `initial-cluster-token: x`, `"initial-cluster-token":"x"`, `token=x`.
fn without_tokens(line: &str) -> String {
    let mut clean = String::new();
    let mut rest = line;
    // Only ASCII letters change, so places are the same in both.
    while let Some(place) = rest.to_ascii_lowercase().find("token") {
        let (before, behind) = rest.split_at(place + "token".len());
        let value = behind.trim_start_matches(['"', '\'', ':', '=', ' ', '\t', '\\', '(']);
        clean.push_str(before);
        if value.len() == behind.len() {
            rest = behind;
            continue;
        }
        clean.push_str(&behind[..behind.len() - value.len()]);
        let end = value.find(['"', '\'', ',', ' ', '}', ')', '\\', '&']).unwrap_or(value.len());
        if end > 0 {
            clean.push_str("<redacted>");
        }
        rest = &value[end..];
    }
    clean + rest
}

/// `https://user:password@host` keeps its host alone.
fn without_passwords(line: &str) -> String {
    let mut clean = String::new();
    let mut rest = line;
    while let Some(place) = rest.find("://") {
        let (before, behind) = rest.split_at(place + "://".len());
        clean.push_str(before);
        let authority = behind.find(['/', ' ', '"', '\'', ',']).unwrap_or(behind.len());
        rest = match behind[..authority].rfind('@') {
            Some(at) => {
                clean.push_str("<redacted>@");
                &behind[at + 1..]
            }
            None => behind,
        };
    }
    clean + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_keys_go_in_every_form() {
        let key = "-----BEGIN RSA PRIVATE KEY-----\nMIIE\nABCD\n-----END RSA PRIVATE KEY-----\n";
        let certificate = "-----BEGIN CERTIFICATE-----\nMIIC\n-----END CERTIFICATE-----\n";
        let clean = redact(&format!("one\n{certificate}{key}two\n{key}"), &[]);
        assert_eq!(clean, format!("one\n{certificate}<private key redacted>\ntwo\n<private key redacted>\n"));
        let escaped = key.replace('\n', "\\n");
        assert_eq!(redact(&format!("a=\"{escaped}\" b"), &[]), "a=\"<private key redacted>\\n\" b\n");
        // Cut by a limit.
        assert_eq!(redact("x\n-----BEGIN PRIVATE KEY-----\nMIIE\n", &[]), "x\n<private key redacted>\n");
        assert_eq!(redact("ABCD\n-----END EC PRIVATE KEY-----\ny\n", &[]), "<private key redacted>\ny\n");
    }

    #[test]
    fn tokens_go_by_their_name_and_by_their_value() {
        let cases = [
            ("initial-cluster-token: abc-1", "initial-cluster-token: <redacted>"),
            ("initial-cluster-token: 'abc-1'", "initial-cluster-token: '<redacted>'"),
            (
                "{\"initial-cluster-token\":\"abc\",\"name\":\"etcd0\"}",
                "{\"initial-cluster-token\":\"<redacted>\",\"name\":\"etcd0\"}",
            ),
            ("GET /x?access_token=abc&b=1", "GET /x?access_token=<redacted>&b=1"),
            ("Token: Bearer", "Token: <redacted>"),
            ("no tokens here", "no tokens here"),
            ("token", "token"),
        ];
        for (text, clean) in cases {
            assert_eq!(redact(text, &[]), format!("{clean}\n"));
        }
        assert_eq!(redact("cluster abc-1 started", &["abc-1", ""]), "cluster <redacted> started\n");
    }

    #[test]
    fn passwords_go_and_hosts_stay() {
        let text = "proxy http://me:secret@10.0.0.1:3128/x and https://10.0.0.2:2379, a@b";
        let clean = "proxy http://<redacted>@10.0.0.1:3128/x and https://10.0.0.2:2379, a@b\n";
        assert_eq!(redact(text, &[]), clean);
    }
}
