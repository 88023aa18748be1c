//! Why and where Juju runs this program: the hook's environment, parsed once. The only place of the charm that reads
//! the environment; an empty variable counts as an absent one, since Juju exports many of them empty.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::names::{NameError, RelationId, UnitName};

/// An environment that Juju would not make.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// A variable that every hook has is not there: the program was not run by Juju.
    #[error("cannot run outside a Juju hook: {0} is not set")]
    Absent(&'static str),
    /// A variable does not have the form that Juju gives it.
    #[error("cannot use the environment variable {variable}")]
    Malformed {
        /// Its name.
        variable: &'static str,
        /// What is wrong with its value.
        source: NameError,
    },
    /// The agent's version is not a version.
    #[error("cannot read the Juju version `{0}`")]
    Version(String),
}

/// The agent's version, from `JUJU_VERSION`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct JujuVersion {
    /// 3 in 3.6.26.
    pub major: u32,
    /// 6 in 3.6.26.
    pub minor: u32,
    /// 26 in 3.6.26; 0 where a pre-release has none.
    pub patch: u32,
}

impl JujuVersion {
    /// `leader-get` and `leader-set` exist: removed in Juju 4.
    pub fn has_leader_settings(self) -> bool {
        self.major < 4
    }

    /// The secret tools exist: since Juju 3.0.
    pub fn has_secrets(self) -> bool {
        self.major >= 3
    }
}

impl fmt::Display for JujuVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl FromStr for JujuVersion {
    type Err = ContextError;

    /// Accepts `3.6.26`, builds such as `2.9.52.1` and pre-releases such as `4.0-beta3` or `3.6-rc1.2`.
    fn from_str(text: &str) -> Result<JujuVersion, ContextError> {
        let refused = || ContextError::Version(text.to_owned());
        let release = text.split('-').next().unwrap_or_default();
        let numbers: Vec<u32> =
            release.split('.').map(str::parse).collect::<Result<_, _>>().map_err(|_| refused())?;
        match numbers[..] {
            [major, minor] => Ok(JujuVersion { major, minor, patch: 0 }),
            [major, minor, patch, ..] => Ok(JujuVersion { major, minor, patch }),
            _ => Err(refused()),
        }
    }
}

/// The relation a relation hook is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelationContext {
    /// The endpoint's name in this charm's metadata.
    pub endpoint: String,
    /// The relation.
    pub id: RelationId,
    /// The unit that caused the hook; absent in `-created`, `-broken` and changes of application data.
    pub remote_unit: Option<UnitName>,
    /// The application on the other side; the own one for peers. Juju may leave it out of `-broken` after its agent
    /// was restarted.
    pub remote_app: Option<String>,
    /// In `-departed`: who leaves. This very unit when it is the one that goes.
    pub departing_unit: Option<UnitName>,
}

/// The model's proxies: those for charms (`juju-http-proxy` and so on), which a charm must apply itself, or where there are
/// none the older ones for everything (`http-proxy` and so on).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// URL for HTTP.
    pub http: Option<String>,
    /// URL for HTTPS.
    pub https: Option<String>,
    /// Comma list of hosts to reach directly.
    pub no: Option<String>,
}

/// Everything Juju says about this run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// This unit.
    pub unit: UnitName,
    /// The agent's version.
    pub juju: JujuVersion,
    /// Where the charm is unpacked; also the working directory.
    pub charm_dir: PathBuf,
    /// `hooks/NAME` or `actions/NAME`; absent in `juju exec` and before Juju 2.8.
    pub dispatch_path: Option<String>,
    /// The hook's full name, as Juju or the link by which this program was run has it; empty in actions and `juju exec`.
    pub hook_name: String,
    /// The action's name.
    pub action_name: Option<String>,
    /// In relation hooks.
    pub relation: Option<RelationContext>,
    /// The model's UUID.
    pub model_uuid: Option<String>,
    /// The model's proxies.
    pub proxies: Proxies,
}

impl Context {
    /// Reads this process's environment.
    ///
    /// # Errors
    /// [`ContextError`] when it was not made by Juju.
    pub fn from_environment() -> Result<Context, ContextError> {
        let argv0 = std::env::args().next().unwrap_or_default();
        #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
        let variable = |name: &str| std::env::var(name).ok();
        Context::parse(variable, &argv0)
    }

    /// What Juju asked for, as a path (`hooks/NAME`, `actions/NAME`) or a bare hook name; empty in `juju exec`.
    pub fn hook(&self) -> &str {
        self.dispatch_path.as_deref().unwrap_or(&self.hook_name)
    }

    /// `vars` gives a variable's value, `argv0` the name this program was called by.
    ///
    /// # Errors
    /// [`ContextError`] naming the variable.
    pub fn parse(vars: impl Fn(&str) -> Option<String>, argv0: &str) -> Result<Context, ContextError> {
        let var = |name: &str| vars(name).filter(|value| !value.is_empty());
        let dispatch_path = var("JUJU_DISPATCH_PATH");
        let called_for = |folder: &str| match &dispatch_path {
            Some(path) => path.strip_prefix(folder)?.strip_prefix('/').map(ToOwned::to_owned),
            None => linked_from(folder, argv0),
        };
        let action_name = var("JUJU_ACTION_NAME").or_else(|| called_for("actions"));
        let hook_name =
            var("JUJU_HOOK_NAME").or_else(|| called_for("hooks").filter(|_| action_name.is_none()));
        let juju = var("JUJU_VERSION").ok_or(ContextError::Absent("JUJU_VERSION"))?.parse()?;
        Ok(Context {
            unit: name(&var, "JUJU_UNIT_NAME")?.ok_or(ContextError::Absent("JUJU_UNIT_NAME"))?,
            juju,
            charm_dir: var("JUJU_CHARM_DIR")
                .or_else(|| var("CHARM_DIR"))
                .ok_or(ContextError::Absent("JUJU_CHARM_DIR"))?
                .into(),
            hook_name: hook_name.unwrap_or_default(),
            dispatch_path,
            action_name,
            relation: relation(&var)?,
            model_uuid: var("JUJU_MODEL_UUID"),
            proxies: proxies(var),
        })
    }
}

/// The older settings `http-proxy` and so on are in the environment of every program that a hook starts. Juju does not have
/// both kinds in one model.
fn proxies(var: impl Fn(&str) -> Option<String>) -> Proxies {
    let url = |name: &str| var(name).and_then(|text| address(&text));
    let hosts = |name: &str| var(name).and_then(|text| list(&text));
    let charm = Proxies {
        http: url("JUJU_CHARM_HTTP_PROXY"),
        https: url("JUJU_CHARM_HTTPS_PROXY"),
        no: hosts("JUJU_CHARM_NO_PROXY"),
    };
    if charm.http.is_some() || charm.https.is_some() {
        return charm;
    }
    Proxies {
        http: url("http_proxy").or_else(|| url("HTTP_PROXY")),
        https: url("https_proxy").or_else(|| url("HTTPS_PROXY")),
        no: charm.no.or_else(|| hosts("no_proxy")).or_else(|| hosts("NO_PROXY")),
    }
}

/// A proxy's address, which operators may have written with a line break behind it. What has blanks within is none.
fn address(text: &str) -> Option<String> {
    let text = text.trim();
    let is_one_word = !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control());
    is_one_word.then(|| text.to_owned())
}

/// Hosts and networks, which operators write with commas, blanks and line breaks between them; with commas alone.
fn list(text: &str) -> Option<String> {
    let words = text.split(|c: char| c == ',' || c.is_whitespace() || c.is_control());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    (!words.is_empty()).then(|| words.join(","))
}

/// The name of a link in this folder of the charm, where the program was run by one.
fn linked_from(folder: &str, argv0: &str) -> Option<String> {
    let path = Path::new(argv0);
    let is_link = path.parent()?.file_name()? == folder;
    path.file_name()?.to_str().filter(|_| is_link).map(ToOwned::to_owned)
}

/// A variable that holds a name, if it is set.
fn name<T: FromStr<Err = NameError>>(
    var: &impl Fn(&str) -> Option<String>,
    variable: &'static str,
) -> Result<Option<T>, ContextError> {
    let parsed = var(variable).map(|text| text.parse()).transpose();
    parsed.map_err(|source| ContextError::Malformed { variable, source })
}

fn relation(var: &impl Fn(&str) -> Option<String>) -> Result<Option<RelationContext>, ContextError> {
    let Some(id) = name::<RelationId>(var, "JUJU_RELATION_ID")? else { return Ok(None) };
    let remote_unit = name::<UnitName>(var, "JUJU_REMOTE_UNIT")?;
    let remote_app =
        var("JUJU_REMOTE_APP").or_else(|| remote_unit.as_ref().map(|unit| unit.application().to_owned()));
    Ok(Some(RelationContext {
        endpoint: var("JUJU_RELATION").unwrap_or_else(|| id.endpoint().to_owned()),
        id,
        remote_unit,
        remote_app,
        departing_unit: name(var, "JUJU_DEPARTING_UNIT")?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The variables of every hook on a machine, after the tables of Juju's uniter source.
    const EVERY_HOOK: [(&str, &str); 7] = [
        ("JUJU_UNIT_NAME", "etcd/0"),
        ("JUJU_VERSION", "3.6.26"),
        ("JUJU_CHARM_DIR", "/var/lib/juju/agents/unit-etcd-0/charm"),
        ("JUJU_MODEL_NAME", "prod"),
        ("JUJU_MACHINE_ID", "3/lxd/1"),
        ("JUJU_PRINCIPAL_UNIT", ""),
        ("JUJU_CHARM_HTTP_PROXY", ""),
    ];

    fn parse(more: &[(&str, &str)], argv0: &str) -> Result<Context, ContextError> {
        let find = |name: &str| {
            let all = more.iter().chain(&EVERY_HOOK);
            all.into_iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        Context::parse(find, argv0)
    }

    #[test]
    fn a_departed_hook_says_who_leaves() {
        let context = parse(
            &[
                ("JUJU_DISPATCH_PATH", "hooks/cluster-relation-departed"),
                ("JUJU_HOOK_NAME", "cluster-relation-departed"),
                ("JUJU_RELATION", "cluster"),
                ("JUJU_RELATION_ID", "cluster:0"),
                ("JUJU_REMOTE_UNIT", "etcd/2"),
                ("JUJU_REMOTE_APP", "etcd"),
                ("JUJU_DEPARTING_UNIT", "etcd/0"),
            ],
            "/charm/dispatch",
        )
        .unwrap();
        let relation = context.relation.as_ref().unwrap();
        assert_eq!(relation.departing_unit.as_ref(), Some(&context.unit));
        assert_eq!(relation.id.to_string(), "cluster:0");
        assert_eq!(context.hook(), "hooks/cluster-relation-departed");
        assert_eq!(context.hook_name, "cluster-relation-departed");
    }

    #[test]
    fn empty_variables_are_absent_ones() {
        let context = parse(
            &[
                ("JUJU_HOOK_NAME", ""),
                ("JUJU_DISPATCH_PATH", "actions/health"),
                ("JUJU_ACTION_NAME", "health"),
                ("JUJU_RELATION_ID", "db:4"),
                ("JUJU_REMOTE_UNIT", ""),
                ("JUJU_REMOTE_APP", ""),
            ],
            "dispatch",
        )
        .unwrap();
        assert_eq!((context.hook_name.as_str(), context.action_name.as_deref()), ("", Some("health")));
        let relation = context.relation.unwrap();
        assert_eq!((relation.remote_unit, relation.remote_app), (None, None));
        assert_eq!(relation.endpoint, "db");
        assert_eq!(context.proxies, Proxies::default());
    }

    #[test]
    fn the_older_proxies_serve_where_there_are_none_for_charms() {
        let older = [
            ("http_proxy", "http://10.0.0.9:3128"),
            ("HTTPS_PROXY", "http://10.0.0.9:3129"),
            ("no_proxy", "10.0.0.0/8"),
        ];
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            parse(&older, "dispatch").unwrap().proxies,
            Proxies {
                http: some("http://10.0.0.9:3128"),
                https: some("http://10.0.0.9:3129"),
                no: some("10.0.0.0/8"),
            }
        );
        let both = [&older[..], &[("JUJU_CHARM_HTTPS_PROXY", "http://10.0.0.8:1")]].concat();
        let only = Proxies { https: some("http://10.0.0.8:1"), ..Proxies::default() };
        assert_eq!(parse(&both, "dispatch").unwrap().proxies, only, "two kinds are not mixed");
    }

    #[test]
    fn proxies_are_read_however_operators_write_them() {
        let parse = |http: &'static str, no: &'static str| {
            let variables = [
                ("JUJU_UNIT_NAME", "etcd/0"),
                ("JUJU_VERSION", "3.6.0"),
                ("JUJU_CHARM_DIR", "/charm"),
                ("JUJU_CHARM_HTTP_PROXY", http),
                ("JUJU_CHARM_NO_PROXY", no),
            ];
            parse(&variables, "dispatch").unwrap().proxies
        };
        let proxies =
            parse("http://10.0.0.9:3128\n", "127.0.0.1,localhost\n10.0.0.0/8, \r\n\texample.com,\n");
        assert_eq!(proxies.http.as_deref(), Some("http://10.0.0.9:3128"));
        assert_eq!(proxies.no.as_deref(), Some("127.0.0.1,localhost,10.0.0.0/8,example.com"));
        assert_eq!(parse("http://10.0.0.9:3128\nhttp://other", " \n,"), Proxies::default());
    }

    #[test]
    fn the_name_of_a_link_names_the_hook_or_the_action() {
        let called_by = |argv0: &str, more: &[(&str, &str)]| {
            let context = parse(more, argv0).unwrap();
            (context.hook().to_owned(), context.action_name)
        };
        let hook = |name: &str| (name.to_owned(), None);
        let action = |path: &str, name: &str| (path.to_owned(), Some(name.to_owned()));
        assert_eq!(called_by("hooks/config-changed", &[]), hook("config-changed"));
        assert_eq!(called_by("/charm/hooks/stop", &[]), hook("stop"));
        assert_eq!(called_by("./actions/health", &[]), action("", "health"));
        assert_eq!(called_by("/charm/dispatch", &[]), hook(""));
        assert_eq!(called_by("/tmp/stop", &[]), hook(""), "another name of the program is no hook");
        // What Juju says counts more: a hook's link may be what the operator runs in a session of debug-hooks.
        let dispatched = [("JUJU_DISPATCH_PATH", "actions/health")];
        assert_eq!(called_by("hooks/stop", &dispatched), action("actions/health", "health"));
        let named = [("JUJU_ACTION_NAME", "health")];
        assert_eq!(called_by("actions/health", &named), action("", "health"));
    }

    #[test]
    fn an_environment_that_is_not_jujus_is_refused_by_name() {
        let error = Context::parse(|_| None, "dispatch").unwrap_err();
        assert_eq!(error.to_string(), "cannot run outside a Juju hook: JUJU_VERSION is not set");
        let error = parse(&[("JUJU_UNIT_NAME", "etcd")], "dispatch").unwrap_err();
        assert_eq!(error.to_string(), "cannot use the environment variable JUJU_UNIT_NAME");
    }

    #[test]
    fn versions_of_all_kinds_are_read_and_answer_questions() {
        for (text, expected) in
            [("3.6.26", "3.6.26"), ("2.9.52.1", "2.9.52"), ("4.0-beta3", "4.0.0"), ("3.6-rc1.2", "3.6.0")]
        {
            assert_eq!(text.parse::<JujuVersion>().unwrap().to_string(), expected);
        }
        assert!("three".parse::<JujuVersion>().is_err());
        let questions = |text: &str| {
            let version = text.parse::<JujuVersion>().unwrap();
            (version.has_leader_settings(), version.has_secrets())
        };
        assert_eq!(questions("2.9.52"), (true, false));
        assert_eq!(questions("3.0.4"), (true, true));
        assert_eq!(questions("4.0.13"), (false, true));
    }
}
