//! etcd's URLs.

/// `https://ADDRESS:PORT`, with brackets around IPv6.
pub fn url(address: &str, port: u16) -> String {
    if address.contains(':') {
        format!("https://[{address}]:{port}")
    } else {
        format!("https://{address}:{port}")
    }
}

/// The bare address in a URL.
pub fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = rest.rsplit_once(':').map_or(rest, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_comes_out_of_a_url_as_it_went_in() {
        for address in ["10.0.0.1", "fd00::1", "db.example.com"] {
            assert_eq!(host_of(&url(address, 2379)), address);
        }
    }
}
