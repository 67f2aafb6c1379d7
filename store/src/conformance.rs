//! What every backend must do: each sentence of the port's documentation, tried. A backend runs all
//! of it by `suite!(factory, small)`, where `factory()` gives a [`Fresh`] store.

pub(crate) mod agenda;
pub(crate) mod buckets;
pub(crate) mod catalog;
pub(crate) mod changes;
pub(crate) mod dead_letters;
pub(crate) mod early_rows;
pub(crate) mod fencing;
pub(crate) mod files;
pub(crate) mod history;
pub(crate) mod model;
pub(crate) mod nodes;
pub(crate) mod orders;
pub(crate) mod owners;
pub(crate) mod quotas;
pub(crate) mod sample;
pub(crate) mod secrets;
pub(crate) mod transitions;
pub(crate) mod unreadable;
pub(crate) mod upgrade;
pub(crate) mod versions;

use std::any::Any;
use std::sync::Arc;

use crate::port::{
    Agenda, Artifacts, Buckets, Catalog, DeadLetters, History, Identity, Leases, Ledger, Nodes,
    Orders, Retention, Secrets,
};

/// Makes [`Store`] of ports.
macro_rules! store_of {
    ($($port:ident),+ $(,)?) => {
        /// What a backend is: all of the ports but [`Nodes`] and [`Orders`], which the suite is
        /// given beside it. Only the suite takes a store as a whole.
        pub(crate) trait Store: $($port +)+ {}

        impl<T> Store for T where T: $($port +)+ {}
    };
}

store_of! {
    Catalog, Artifacts, Secrets, Identity, Ledger, History, Agenda, Leases, Retention, Buckets,
    DeadLetters,
}

/// An empty store, and what it needs to live: a temporary folder, a schema.
pub(crate) struct Fresh {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) nodes: Arc<dyn Nodes>,
    pub(crate) orders: Arc<dyn Orders>,
    pub(crate) _keep: Box<dyn Any + Send>,
}

/// Makes a test of each function of the suite. `$small` makes a store with the quotas of
/// [`quotas::small`].
macro_rules! suite {
    ($fresh:path, $small:path) => {
        crate::conformance::suite! { @tests $small;
            quotas: an_artifact_is_its_tenants_secret, artifacts_have_a_quota, what_is_defined_has_quotas, old_versions_go,
                requests_at_once_keep_within_quotas;
            early_rows: what_nothing_is_known_of_has_a_quota, operations_at_once_keep_within_the_quota,
                what_nothing_comes_of_is_forgotten, what_is_old_makes_room;
        }

        crate::conformance::suite!($fresh);
    };
    ($fresh:path) => {
        crate::conformance::suite! { @tests $fresh;
            versions: an_empty_store_is_at_revision_zero, a_deploy_is_defined, the_same_deploy_changes_nothing,
                another_deploy_is_another_version, a_deploy_needs_its_artifact, a_rollback_moves_a_pointer,
                a_function_is_deleted_with_its_versions, a_deleted_function_is_forgotten_once, functions_of_tenants_are_apart;
            catalog: schemas_count_their_changes, keys_are_kept, of_first_keys_at_once_one_is_made, the_last_operator_stays, artifacts_are_kept_by_content,
                changes_at_once_have_revisions_of_their_own, a_refused_change_leaves_no_trace, any_text_is_kept,
                an_installation_has_one_id;
            changes: a_change_is_read_alone, what_is_gone_is_told, what_came_back_is_told, several_changes_are_read_at_once,
                step_by_step_is_as_at_once;
            files: a_deploy_needs_its_files, files_are_kept_while_a_version_has_them, files_of_tenants_are_apart,
                a_rollback_has_its_files;
            owners: a_host_name_must_be_granted, grants_are_kept_and_taken_back, the_configuration_grants_names_too,
                a_route_is_one_functions, a_rollback_claims_as_a_deploy_does, of_claims_at_once_one_stands,
                of_tenants_at_once_one_has_a_host_name;
            secrets: secrets_are_kept_sealed, a_secret_has_one_next_version, a_deleted_secret_begins_anew,
                sealing_keys_are_told_with_an_example;
            history: it_answers, an_accepted_execution_is_queued, what_is_there_is_left_as_it_is, a_start_is_informative,
                a_result_is_kept_with_all_that_belongs_to_it, a_retry_is_delayed, emitted_events_follow_a_success_only,
                filters_hold_together, pages_follow_each_other, times_bound_the_list, logs_are_in_order, any_text_round_trips,
                any_event_is_read_back, large_values_are_kept;
            fencing: each_outcome_makes_its_transition, the_first_outcome_stands, a_row_is_made_where_there_is_none,
                of_two_in_one_batch_the_first_stands,
                of_an_attempt_and_the_next_in_one_batch_both_stand, an_older_attempt_loses, what_is_unfinished_is_told_in_order,
                a_start_that_is_forbidden_is_left_out, writers_at_once_have_one_winner, a_large_batch_is_one,
                a_refused_batch_changes_nothing, another_owner_changes_nothing, the_first_owner_in_a_batch_stands;
            transitions: the_table_is_obeyed, a_suspended_execution_waits, a_replay_begins_the_next_attempt,
                a_cancelled_attempt_cannot_end, other_tenants_cannot_change_it, every_transition_begins_an_epoch,
                a_row_without_an_epoch_is_of_every_one, origins_are_kept;
            agenda: what_is_due_is_promoted, the_outbox_is_in_order, what_went_on_leaves_the_outbox,
                a_lease_has_one_holder, a_lease_runs_out, leases_are_taken_by_one,
                what_ended_is_pruned, pruning_is_bounded, pruning_goes_on_where_it_stopped, unnamed_artifacts_are_pruned;
            dead_letters: a_letter_is_kept_with_its_bytes, letters_come_in_pages, a_letter_ends_what_waits_for_it,
                what_a_letter_ended_waits_again, a_letter_ends_nobody_elses;
            buckets: values_are_kept, batches_are_whole, answers_are_bounded, keys_have_bounds, keys_are_listed_once,
                a_swap_needs_the_value_that_was_seen, numbers_are_counted, writers_to_a_bucket_take_turns,
                of_swaps_at_once_one_is_done, quotas_hold, buckets_are_apart, own_buckets_go_with_their_function;
        }

        #[test]
        fn any_sequence_of_operations_agrees_with_the_model() {
            crate::conformance::model::agrees(|| $fresh());
        }
    };
    (@tests $fresh:path; $($group:ident: $($name:ident),+;)+) => {
        $($(
            #[tokio::test]
            async fn $name() {
                let fresh = $fresh().await;
                crate::conformance::$group::$name(std::sync::Arc::clone(&fresh.store)).await;
            }
        )+)+
    };
}

/// Makes a test of each function of [`orders`].
macro_rules! orders_suite {
    ($fresh:path) => {
        crate::conformance::orders_suite! { @tests $fresh;
            a_move_may_come_before_the_row, what_is_resumed_before_it_came_is_as_if_it_never_was_held,
            what_is_resumed_is_given_to_be_published, what_was_not_published_is_once_whatever_another_tenant_does,
            an_outcome_stands_whatever_another_tenant_does,
            an_outcome_that_does_not_stand_brings_the_event, a_move_before_the_row_binds_its_tenant_only,
            only_some_moves_may_come_before_the_row, the_attempt_that_a_cancellation_ended_is_added,
            what_runs_is_suspended_and_made_again, hosts_get_orders_about_what_they_run,
            a_function_has_open_executions_until_all_have_ended
        }
    };
    (@tests $fresh:path; $($name:ident),+) => {
        $(
            #[tokio::test]
            async fn $name() {
                crate::conformance::orders::$name($fresh().await).await;
            }
        )+
    };
}

/// Makes a test of each function of [`nodes`]. `$short_lived` makes a store with [`nodes::SHORT`]
/// as its node timeout.
macro_rules! nodes_suite {
    ($fresh:path, $short_lived:path) => {
        crate::conformance::nodes_suite! { @tests $fresh;
            a_process_is_listed_until_it_leaves, a_heartbeat_renews_what_a_process_says, any_number_of_processes_beat_at_once,
                any_name_is_kept
        }
        crate::conformance::nodes_suite! { @tests $short_lived;
            a_process_that_says_nothing_is_not_alive, a_process_that_was_deleted_comes_back
        }
    };
    (@tests $fresh:path; $($name:ident),+) => {
        $(
            #[tokio::test]
            async fn $name() {
                let fresh = $fresh().await;
                crate::conformance::nodes::$name(std::sync::Arc::clone(&fresh.nodes)).await;
            }
        )+
    };
}

pub(crate) use {nodes_suite, orders_suite, suite};
