//! Relations: which there are, who is on them, and their databags. Databag writes take effect only when the hook
//! succeeds; this unit's own later reads see them at once.

use std::collections::BTreeMap;

use super::{Databag, ToolError, Tools, finish, parse, unreadable};
use crate::juju::memory::WRITTEN_BY_JUJU;
use crate::juju::names::{RelationId, UnitName};

impl Tools {
    /// The relations of an endpoint, by number. Empty during `install`; since Juju 3.4 a relation that has lost all
    /// its members is left out although it can still be used by its id.
    /// <https://documentation.ubuntu.com/juju/3.6/reference/hook-command/list-of-hook-commands/relation-ids/>
    pub async fn relation_ids(&self, endpoint: &str) -> Result<Vec<RelationId>, ToolError> {
        let ids = self.ask("relation-ids", [endpoint], parse::list).await?;
        let ids: Result<Vec<RelationId>, _> = ids.iter().map(|id| id.parse()).collect();
        let mut ids = ids.map_err(|error| unreadable("relation-ids", error))?;
        ids.sort();
        Ok(ids)
    }

    /// The remote units, by number; for peers the other units, never this one.
    /// <https://documentation.ubuntu.com/juju/3.6/reference/hook-command/list-of-hook-commands/relation-list/>
    pub async fn relation_units(&self, id: &RelationId) -> Result<Vec<UnitName>, ToolError> {
        let units = self.ask("relation-list", ["-r", &id.to_string()], parse::list).await?;
        let units: Result<Vec<UnitName>, _> = units.iter().map(|unit| unit.parse()).collect();
        let mut units = units.map_err(|error| unreadable("relation-list", error))?;
        units.sort();
        Ok(units)
    }

    /// The remote application's name; the own one for peers.
    /// <https://documentation.ubuntu.com/juju/3.6/reference/hook-command/list-of-hook-commands/relation-list/>
    pub async fn relation_app(&self, id: &RelationId) -> Result<Option<String>, ToolError> {
        let name: Option<String> =
            self.ask("relation-list", ["-r", &id.to_string(), "--app"], parse::typed).await?;
        Ok(name.filter(|name| !name.is_empty()))
    }

    /// A unit's databag. A departed unit's stays readable for the life of the relation.
    /// <https://documentation.ubuntu.com/juju/3.6/reference/hook-command/list-of-hook-commands/relation-get/>
    pub async fn relation_get(&self, id: &RelationId, unit: &UnitName) -> Result<Databag, ToolError> {
        self.ask("relation-get", ["-r", &id.to_string(), "-", &unit.to_string()], parse::strings).await
    }

    /// This unit's own databag, without what Juju itself writes there and changes as it likes.
    pub async fn relation_get_own(&self, id: &RelationId, own: &UnitName) -> Result<Databag, ToolError> {
        let mut bag = self.relation_get(id, own).await?;
        bag.retain(|key, _| !WRITTEN_BY_JUJU.contains(&key.as_str()));
        Ok(bag)
    }

    /// An application's databag. The own one on a relation that is not the peer relation is for the leader alone:
    /// others are refused with "permission denied" up to Juju 3.6.
    /// <https://documentation.ubuntu.com/juju/3.6/reference/hook-command/list-of-hook-commands/relation-get/>
    pub async fn relation_get_app(&self, id: &RelationId, application: &str) -> Result<Databag, ToolError> {
        self.ask("relation-get", ["-r", &id.to_string(), "--app", "-", application], parse::strings).await
    }

    /// Changes this unit's databag; `None` removes a key, and so does an empty value.
    /// <https://documentation.ubuntu.com/juju/3.6/reference/hook-command/list-of-hook-commands/relation-set/>
    pub async fn relation_set(
        &self,
        id: &RelationId,
        changes: &BTreeMap<String, Option<String>>,
    ) -> Result<(), ToolError> {
        self.remember(|memory| memory.write_databag(id));
        self.write_databag(id, &[], changes).await
    }

    /// Changes this application's databag; only the leader may.
    /// <https://documentation.ubuntu.com/juju/3.6/reference/hook-command/list-of-hook-commands/relation-set/>
    pub async fn relation_set_app(
        &self,
        id: &RelationId,
        changes: &BTreeMap<String, Option<String>>,
    ) -> Result<(), ToolError> {
        self.write_databag(id, &["--app"], changes).await
    }

    /// By standard input: arguments would be visible in the process list, limited to 128 KiB, and trimmed.
    async fn write_databag(
        &self,
        id: &RelationId,
        whose: &[&str],
        changes: &BTreeMap<String, Option<String>>,
    ) -> Result<(), ToolError> {
        if changes.is_empty() {
            return Ok(());
        }
        let pairs = changes.iter().map(|(key, value)| (key.as_str(), value.as_deref().unwrap_or_default()));
        let run = self.run("relation-set").args(["-r", &id.to_string()]).args(whose).args(["--file", "-"]);
        finish("relation-set", run.stdin(parse::mapping(pairs))).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::FakeTools;
    use super::*;

    fn id() -> RelationId {
        "cluster:3".parse().unwrap()
    }

    #[tokio::test]
    async fn relations_and_units_come_by_number() {
        // Juju sorts both as text.
        let fake = FakeTools::new().tool("relation-ids", r#"echo '["db:10","db:2"]'"#).tool(
            "relation-list",
            r#"case "$*" in *--app*) echo '"etcd"';; *) echo '["etcd/10","etcd/2"]';; esac"#,
        );
        let tools = fake.tools();
        let numbers: Vec<u64> =
            tools.relation_ids("db").await.unwrap().iter().map(RelationId::number).collect();
        assert_eq!(numbers, [2, 10]);
        let units = tools.relation_units(&id()).await.unwrap();
        assert_eq!(units.iter().map(UnitName::number).collect::<Vec<_>>(), [2, 10]);
        assert_eq!(tools.relation_app(&id()).await.unwrap().as_deref(), Some("etcd"));
        assert_eq!(
            fake.calls(),
            [
                "relation-ids|--format=json|db",
                "relation-list|--format=json|-r|cluster:3",
                "relation-list|--format=json|-r|cluster:3|--app",
            ]
        );
    }

    #[tokio::test]
    async fn databags_are_read_whole() {
        let fake =
            FakeTools::new().tool("relation-get", r#"echo '{"egress-subnets":"10.0.0.1/32","port":"2379"}'"#);
        let tools = fake.tools();
        let unit = tools.relation_get(&id(), &"etcd/2".parse().unwrap()).await.unwrap();
        assert_eq!(unit["port"], "2379");
        tools.relation_get_app(&id(), "etcd").await.unwrap();
        assert_eq!(
            fake.calls(),
            [
                "relation-get|--format=json|-r|cluster:3|-|etcd/2",
                "relation-get|--format=json|-r|cluster:3|--app|-|etcd",
            ]
        );
    }

    #[tokio::test]
    async fn databags_are_written_by_standard_input() {
        let fake = FakeTools::new().keeping_input("relation-set");
        let tools = fake.tools();
        let changes = BTreeMap::from([
            ("client_key".to_owned(), Some("-----BEGIN\nx\n".to_owned())),
            ("gone".to_owned(), None),
        ]);
        tools.relation_set_app(&id(), &changes).await.unwrap();
        assert_eq!(fake.kept(), r#"{"client_key":"-----BEGIN\nx\n","gone":""}"#);
        tools.relation_set(&id(), &BTreeMap::new()).await.unwrap();
        assert_eq!(fake.calls(), ["relation-set|-r|cluster:3|--app|--file|-"]);
    }

    #[tokio::test]
    async fn a_relation_that_has_gone_can_be_told() {
        let refusal = r#"echo 'ERROR invalid value "9" for option -r: relation not found' >&2; exit 2"#;
        let fake = FakeTools::new().tool("relation-list", refusal);
        assert!(fake.tools().relation_units(&id()).await.unwrap_err().is_not_found());
    }
}
