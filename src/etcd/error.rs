//! Why etcd did not do what it was asked: one variant per answer that a caller acts upon.
//!
//! etcd's codes alone do not tell (the same refusal has other codes in other versions), so code and text are read
//! together, here and nowhere else.

use std::error::Error as _;
use std::time::Duration;

use tonic::Code;

/// A call that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A membership change would endanger the quorum now: a member is down, or connected for less than 5 s.
    #[error("cannot change the membership while the cluster is unhealthy")]
    UnhealthyCluster,
    /// A membership change would leave fewer started members than a quorum needs; also removing the last member.
    #[error("cannot change the membership: too few started members would be left")]
    NotEnoughStarted,
    /// Another learner is being caught up.
    #[error("cannot add a learner while the cluster has another one")]
    TooManyLearners,
    /// The learner has not started or is still behind.
    #[error("cannot promote the learner before it has caught up")]
    NotInSync,
    /// The member to promote votes already.
    #[error("cannot promote a member that is a voter already")]
    NotALearner,
    /// No such member now; also right after a remove and an add of the same URL within one second.
    #[error("cannot find the member in the cluster")]
    MemberNotFound,
    /// Another member has this peer URL.
    #[error("cannot use a peer URL that another member has")]
    PeerUrlExists,
    /// The same URL was added within the same second.
    #[error("cannot add the member: its identifier is taken; it changes every second")]
    MemberIdExists,
    /// A learner answers little more than its status.
    #[error("cannot ask a learner")]
    LearnerCannotServe,
    /// There is no raft leader, or it changed meanwhile.
    #[error("cannot go on without a raft leader")]
    NoLeader,
    /// No answer in time. The server may hang, or may have lost its quorum; a write may still happen later.
    #[error("cannot get an answer to {call} within {after_ms} ms")]
    TimedOut {
        /// What was asked.
        call: &'static str,
        /// How long it was waited, milliseconds.
        after_ms: u64,
    },
    /// Nothing listens there, or the connection broke.
    #[error("cannot reach {endpoint}: {cause}")]
    Unreachable {
        /// The client URL.
        endpoint: String,
        /// The transport's words.
        cause: String,
    },
    /// One side does not accept the other's certificate.
    #[error("cannot agree on TLS with {endpoint}: {cause}")]
    TlsRefused {
        /// The client URL.
        endpoint: String,
        /// The transport's words.
        cause: String,
    },
    /// The credentials cannot be used at all: not PEM, or key and certificate do not belong together.
    #[error("cannot use the client credentials: {cause}")]
    BadCredentials {
        /// The TLS library's words.
        cause: String,
    },
    /// Another cluster's server answers there.
    #[error("cannot believe {endpoint}: it is of cluster {found}, not of {wanted}")]
    AnotherCluster {
        /// The client URL.
        endpoint: String,
        /// Which cluster.
        found: String,
        /// The one that counts.
        wanted: String,
    },
    /// None of several endpoints confirmed a quorum.
    #[error("cannot reach a working member: {}", if .causes.is_empty() { "none is known".to_owned() } else { .causes.join("; ") })]
    NobodyServes {
        /// One line per endpoint.
        causes: Vec<String>,
    },
    /// The database is full.
    #[error("cannot write: the database is full (NOSPACE); run the action maintain")]
    NoSpace,
    /// Members disagree about the data.
    #[error("cannot write: members disagree about the data (CORRUPT)")]
    Corrupt,
    /// Only the raft leader can do this.
    #[error("cannot hand over raft leadership: this member does not lead")]
    NotLeader,
    /// The chosen member is no voter.
    #[error("cannot hand over raft leadership to this member")]
    BadTransferee,
    /// The cluster has users and roles, and this client's user lacks the role `root`.
    #[error(
        "etcd's users and roles are on, and this charm's user lacks the role root; see juju status of the members"
    )]
    Denied,
    /// The revision is compacted already.
    #[error("cannot use a KV revision that is compacted already")]
    Compacted,
    /// The revision has not been reached.
    #[error("cannot use a KV revision that the cluster has not reached")]
    FutureRevision,
    /// A URL that the API would silently understand as something else.
    #[error("cannot use {url:?} as a URL; accepted: http://ADDRESS:PORT or https://ADDRESS:PORT")]
    NotAUrl {
        /// What was given.
        url: String,
    },
    /// A snapshot that is not what its server sent.
    #[error("cannot trust the snapshot: {why}")]
    BrokenSnapshot {
        /// What does not fit.
        why: String,
    },
    /// The snapshot could not be written or read on this machine.
    #[error("cannot access the snapshot file")]
    SnapshotFile(#[source] std::io::Error),
    /// Anything else.
    #[error("cannot do {call}: {message} ({code})")]
    Other {
        /// What was asked.
        call: &'static str,
        /// The gRPC code, in gRPC's words.
        code: String,
        /// The server's text.
        message: String,
        /// gRPC calls this code a passing condition.
        passing: bool,
    },
}

/// What was asked of whom, for the message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub call: &'static str,
    pub endpoint: &'a str,
    pub waited: Duration,
}

impl Error {
    /// Whether the same call may succeed in a moment without anyone doing anything.
    pub fn is_retryable(&self) -> bool {
        match self {
            Error::UnhealthyCluster
            | Error::TooManyLearners
            | Error::NotInSync
            | Error::MemberIdExists
            | Error::NoLeader
            | Error::TimedOut { .. }
            | Error::Unreachable { .. }
            | Error::NobodyServes { .. } => true,
            Error::Other { passing, .. } => *passing,
            Error::NotEnoughStarted
            | Error::NotALearner
            | Error::MemberNotFound
            | Error::PeerUrlExists
            | Error::LearnerCannotServe
            | Error::TlsRefused { .. }
            | Error::BadCredentials { .. }
            | Error::AnotherCluster { .. }
            | Error::NoSpace
            | Error::Corrupt
            | Error::NotLeader
            | Error::BadTransferee
            | Error::Denied
            | Error::Compacted
            | Error::FutureRevision
            | Error::NotAUrl { .. }
            | Error::BrokenSnapshot { .. }
            | Error::SnapshotFile(_) => false,
        }
    }

    pub(super) fn timed_out(call: &'static str, waited: Duration) -> Error {
        // Rounded: a text that is never the same twice looks like news.
        let after_ms = (waited.as_millis() + 50) / 100 * 100;
        Error::TimedOut { call, after_ms: u64::try_from(after_ms).unwrap_or(u64::MAX) }
    }

    pub(super) fn of(error: etcd_client::Error, asked: Asked<'_>) -> Error {
        match error {
            etcd_client::Error::GRpcStatus(status) => {
                let mut chain = Vec::new();
                let mut source = status.source();
                while let Some(cause) = source {
                    chain.push(cause.to_string());
                    source = cause.source();
                }
                classify(status.code(), status.message(), &chain, asked)
            }
            other => Error::Other {
                call: asked.call,
                code: "client".to_owned(),
                message: other.to_string(),
                passing: false,
            },
        }
    }
}

/// `causes`: the transport's chain, outermost first; empty when the answer came from the server.
fn classify(code: Code, message: &str, causes: &[String], asked: Asked<'_>) -> Error {
    if let Some(known) = by_text(message) {
        return known;
    }
    if let Some(refused) = tls_refusal(message, causes, asked) {
        return refused;
    }
    let says = |part: &str| message.contains(part);
    if code == Code::DeadlineExceeded
        || says("request timed out")
        || says("Timeout expired")
        || says("context deadline exceeded")
    {
        return Error::timed_out(asked.call, asked.waited);
    }
    // The library's words for a server that ended in the middle of its answer.
    if says("missing grpc-status trailer") || says("h2 protocol error") {
        let cause = "the server ended before its answer".to_owned();
        return Error::Unreachable { endpoint: asked.endpoint.to_owned(), cause };
    }
    match code {
        Code::Unauthenticated | Code::PermissionDenied => Error::Denied,
        Code::Unavailable | Code::Cancelled | Code::Unknown if !causes.is_empty() => {
            let cause = causes.last().map_or(message, String::as_str).to_owned();
            Error::Unreachable { endpoint: asked.endpoint.to_owned(), cause }
        }
        code => Error::Other {
            call: asked.call,
            code: code.description().to_owned(),
            message: message.to_owned(),
            passing: matches!(
                code,
                Code::Unavailable | Code::ResourceExhausted | Code::Aborted | Code::Cancelled
            ),
        },
    }
}

/// Part of a text, and what it means.
type Known = (&'static str, fn() -> Error);

/// etcd's own texts (`etcdserver: …`), the same in 3.4, 3.5 and 3.6 whatever the code. The longer text comes first
/// where one contains the other.
fn by_text(message: &str) -> Option<Error> {
    let known: [Known; 20] = [
        ("unhealthy cluster", || Error::UnhealthyCluster),
        ("not enough started members", || Error::NotEnoughStarted),
        ("too many learner members", || Error::TooManyLearners),
        ("in sync with leader", || Error::NotInSync),
        ("can only promote a learner member", || Error::NotALearner),
        ("member not found", || Error::MemberNotFound),
        ("Peer URLs already exists", || Error::PeerUrlExists),
        ("member ID already exist", || Error::MemberIdExists),
        ("rpc not supported for learner", || Error::LearnerCannotServe),
        ("etcdserver: no leader", || Error::NoLeader),
        ("etcdserver: leader changed", || Error::NoLeader),
        ("database space exceeded", || Error::NoSpace),
        ("corrupt cluster", || Error::Corrupt),
        ("bad leader transferee", || Error::BadTransferee),
        ("etcdserver: not leader", || Error::NotLeader),
        ("user name is empty", || Error::Denied),
        ("invalid auth token", || Error::Denied),
        ("etcdserver: permission denied", || Error::Denied),
        ("revision has been compacted", || Error::Compacted),
        ("is a future revision", || Error::FutureRevision),
    ];
    known.iter().find(|(text, _)| message.contains(text)).map(|(_, error)| error())
}

/// A refused server certificate is told by this side's TLS; a refused client certificate by an alert, and with
/// TLS 1.3 so late that the connection just closes under the first request.
fn tls_refusal(message: &str, causes: &[String], asked: Asked<'_>) -> Option<Error> {
    let signs =
        ["invalid peer certificate", "received fatal alert", "received corrupt message", "certificate"];
    let told = causes.iter().rev().find(|cause| signs.iter().any(|sign| cause.contains(sign)));
    let closed = message
        .contains("operation was canceled")
        .then(|| causes.iter().find(|cause| cause.contains("connection closed")))
        .flatten();
    let late = closed.map(|cause| format!("{cause}; the server may not accept the client certificate"));
    let cause = told.cloned().or(late)?;
    Some(Error::TlsRefused { endpoint: asked.endpoint.to_owned(), cause })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Asked<'_> =
        Asked { call: "put", endpoint: "https://10.0.0.1:2379", waited: Duration::from_millis(3000) };

    fn name(error: &Error) -> String {
        let debug = format!("{error:?}");
        debug.split([' ', '(', '{']).next().unwrap_or_default().to_owned()
    }

    /// Seen from 3.4.23, 3.5.16, 3.5.30 and 3.6.14, with the codes they came with.
    #[test]
    fn every_answer_of_a_server_is_told_apart() {
        let cases = [
            (Code::Unavailable, "etcdserver: unhealthy cluster", "UnhealthyCluster"),
            (
                Code::Unknown,
                "etcdserver: re-configuration failed due to not enough started members",
                "NotEnoughStarted",
            ),
            (Code::FailedPrecondition, "etcdserver: too many learner members in cluster", "TooManyLearners"),
            (
                Code::FailedPrecondition,
                "etcdserver: can only promote a learner member which is in sync with leader",
                "NotInSync",
            ),
            (Code::FailedPrecondition, "etcdserver: can only promote a learner member", "NotALearner"),
            (Code::NotFound, "etcdserver: member not found", "MemberNotFound"),
            (Code::FailedPrecondition, "etcdserver: Peer URLs already exists", "PeerUrlExists"),
            (Code::FailedPrecondition, "etcdserver: member ID already exist", "MemberIdExists"),
            (Code::Unavailable, "etcdserver: rpc not supported for learner", "LearnerCannotServe"),
            (Code::FailedPrecondition, "etcdserver: rpc not supported for learner", "LearnerCannotServe"),
            (Code::Unavailable, "etcdserver: no leader", "NoLeader"),
            (Code::Unavailable, "etcdserver: leader changed", "NoLeader"),
            (Code::Unavailable, "etcdserver: request timed out", "TimedOut"),
            (
                Code::Unavailable,
                "etcdserver: request timed out, possibly due to previous leader failure",
                "TimedOut",
            ),
            (Code::DeadlineExceeded, "context deadline exceeded", "TimedOut"),
            (Code::Unknown, "context deadline exceeded", "TimedOut"),
            (Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded", "NoSpace"),
            (Code::DataLoss, "etcdserver: corrupt cluster", "Corrupt"),
            (Code::FailedPrecondition, "etcdserver: not leader", "NotLeader"),
            (Code::FailedPrecondition, "etcdserver: bad leader transferee", "BadTransferee"),
            (Code::InvalidArgument, "etcdserver: user name is empty", "Denied"),
            (Code::Unauthenticated, "etcdserver: invalid auth token", "Denied"),
            (Code::PermissionDenied, "etcdserver: permission denied", "Denied"),
            (Code::Unknown, "etcdserver: permission denied", "Denied"),
            (Code::OutOfRange, "etcdserver: mvcc: required revision has been compacted", "Compacted"),
            (Code::OutOfRange, "etcdserver: mvcc: required revision is a future revision", "FutureRevision"),
            (
                Code::Unknown,
                "protocol error: missing grpc-status trailer, stream was terminated",
                "Unreachable",
            ),
            (Code::Internal, "h2 protocol error: http2 error", "Unreachable"),
            (Code::InvalidArgument, "etcdserver: request is too large", "Other"),
        ];
        for (code, text, expected) in cases {
            assert_eq!(name(&classify(code, text, &[], ASKED)), expected, "{code:?} {text}");
        }
    }

    #[test]
    fn what_the_transport_says_is_told_apart() {
        let cases: [(Code, &str, &[&str], &str); 4] = [
            (
                Code::Unavailable,
                "tcp connect error",
                &["transport error", "tcp connect error", "Connection refused (os error 111)"],
                "Unreachable",
            ),
            (
                Code::Unavailable,
                "invalid peer certificate: UnknownIssuer",
                &["transport error", "invalid peer certificate: UnknownIssuer"],
                "TlsRefused",
            ),
            (
                Code::Cancelled,
                "operation was canceled",
                &["transport error", "operation was canceled", "connection closed"],
                "TlsRefused",
            ),
            (
                Code::Unknown,
                "transport error",
                &["transport error", "received fatal alert: BadCertificate"],
                "TlsRefused",
            ),
        ];
        for (code, text, causes, expected) in cases {
            let causes: Vec<String> = causes.iter().map(|&cause| cause.to_owned()).collect();
            assert_eq!(name(&classify(code, text, &causes, ASKED)), expected, "{code:?} {text}");
        }
    }

    #[test]
    fn only_passing_conditions_are_tried_again() {
        let retryable = |code, text| classify(code, text, &[], ASKED).is_retryable();
        assert!(retryable(Code::Unavailable, "etcdserver: unhealthy cluster"));
        assert!(retryable(Code::Unavailable, "etcdserver: server stopped"));
        assert!(retryable(Code::ResourceExhausted, "etcdserver: too many requests"));
        assert!(!retryable(Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded"));
        assert!(!retryable(Code::InvalidArgument, "etcdserver: request is too large"));
        assert!(!retryable(Code::NotFound, "etcdserver: member not found"));
    }

    #[test]
    fn messages_are_for_the_operator() {
        let text = classify(Code::DeadlineExceeded, "", &[], ASKED).to_string();
        assert_eq!(text, "cannot get an answer to put within 3000 ms");
        let error = Error::NobodyServes { causes: vec!["a: x".to_owned(), "b: y".to_owned()] };
        assert_eq!(error.to_string(), "cannot reach a working member: a: x; b: y");
    }
}
