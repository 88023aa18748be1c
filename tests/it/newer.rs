//! Etcd 3.6 and 3.7: no v2 store, offline tools in etcdutl alone, other names for settings and metrics.
//!
//! Each of these scenarios also runs on the versions before; here it runs on one of the two, to spare time.

use crate::sim::{Model, Writer};
use crate::walking::move_to;
use crate::{NEWEST, NEXT};

macro_rules! on {
    ($kind:ident: $($place:ident::$scenario:ident),+ $(,)?) => {$(
        #[test]
        fn $scenario() {
            crate::$place::$scenario(crate::$kind);
        }
    )+};
}

mod etcd_3_6 {
    on!(
        NEXT: scaling::three_to_five_to_three_to_one_to_three,
        restoring::a_snapshot_becomes_a_new_cluster,
        maintenance::a_full_database_is_cured_by_maintain,
        actions::credentials_are_packed_privately_and_work,
    );
}

mod etcd_3_7 {
    on!(
        NEWEST: deploying::three_units_without_update_status,
        options::only_what_etcd_reads_at_its_start_restarts_it,
        maintenance::a_snapshot_holds_the_data_and_is_private,
        maintenance::defragmenting_does_not_stop_clients,
        storage::data_lives_and_moves_with_its_storage,
        dashboards::prometheus_and_grafana_follow_the_cluster,
    );
}

#[test]
fn a_cluster_moves_from_3_6_to_3_7_under_load() {
    let model = Model::with_cluster(NEXT, 3);
    model.deploy_consumer("consumer");
    model.wait(&["consumer", "--status", "active", "--idle"]);
    let writer = Writer::start(&model, "consumer/0");
    move_to(&model, NEWEST.channel);
    writer.stop(2000);
    model.assert_no_hook_failed();
}
