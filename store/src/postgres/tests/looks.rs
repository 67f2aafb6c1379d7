//! Days that take long to look at.

use std::sync::Arc;
use std::time::Duration;

use sqlx::{AssertSqlSafe, Executor as _};
use wasmill_domain::{Outcome, State};

use super::super::days::Day;
use super::super::session::Access;
use super::partitions::{accepted_at, days, ended_at, make};
use super::{PostgresSettings, PostgresStore, Schema, connect, settings};
use crate::conformance::sample::{dispatch, finished, now, state_of};
use crate::migrations::SchemaMode;
use crate::port::{Ledger as _, Retention as _, StoreError};
use crate::postgres::testing::seed_history;

const HOUR: Duration = Duration::from_secs(3600);

/// A store that looks at a day for one transaction only in each pass.
fn with_one_look(mut store: PostgresStore) -> PostgresStore {
    Arc::get_mut(&mut store.inner).unwrap().settings.upkeep_timeout = Duration::ZERO;
    store
}

async fn hasty(schema: &Schema) -> PostgresStore {
    with_one_look(connect(schema).await)
}

/// A day with as many executions, of which some hundred are looked at in a transaction.
async fn long_day(schema: &Schema, store: &PostgresStore, days_ago: u16) -> Day {
    seed_history(&connect(schema).await, days_ago, 2_000, true).await.unwrap();
    let day = Day::today().plus(-i64::from(days_ago));
    while store.inner.partitions.looks_at_less(day) {}
    day
}

/// A day that takes longer than its turn keeps no other from its own, and is gone on with.
#[tokio::test]
async fn a_long_look_is_gone_on_with_in_the_next_pass() {
    let schema = Schema::make().await;
    let store = hasty(&schema).await;
    let (long, before) = (long_day(&schema, &store, 11).await, Day::today().plus(-5).start());
    let short = long.plus(1);
    make(&store, short).await;
    store.record(&[ended_at(&accepted_at(short.start()), short.start())]).await.unwrap();
    assert_eq!(store.drop_day(before).await.unwrap(), Some(1), "the short one");
    assert_eq!(store.drop_day(before).await.unwrap(), None, "the pass is over");
    // It is not deleted row by row meanwhile.
    assert_eq!(store.prune_executions(before, None, 100).await.unwrap().deleted, 0);
    let mut passes = 1;
    let dropped = loop {
        passes += 1;
        if let Some(count) = store.drop_day(before).await.unwrap() {
            break count;
        }
    };
    assert!(passes > 2, "{passes}");
    assert_eq!(dropped, 2_000);
    assert!(!days(&store).await.contains(&long));
}

/// Between two transactions of a look anybody may write to the day: also to what was seen already.
#[tokio::test]
async fn a_look_begins_again_where_somebody_has_written() {
    let schema = Schema::make().await;
    let (store, other) = (hasty(&schema).await, connect(&schema).await);
    let (day, before) = (long_day(&schema, &store, 10).await, Day::today().plus(-5).start());
    assert_eq!(store.drop_day(before).await.unwrap(), None);
    let late = accepted_at(day.start());
    assert_eq!(other.record(&[ended_at(&late, now())]).await.unwrap(), [true]);
    for _ in 0..10 {
        assert_eq!(store.drop_day(before).await.unwrap(), None);
    }
    assert_eq!(state_of(&store, &late).await, (State::Failed, 1));
    assert!(!store.inner.partitions.is_left(day, before), "it is known to be young");
}

/// A host of the release before writes to the day and does not say that what was seen of it is true
/// no more.
#[tokio::test]
async fn a_day_that_another_release_writes_to_stays() {
    let schema = Schema::make().await;
    let store = hasty(&schema).await;
    let (day, before) = (long_day(&schema, &store, 10).await, Day::today().plus(-5).start());
    assert_eq!(store.drop_day(before).await.unwrap(), None);
    // Its id is among those that were looked at already.
    let insert = format!(
        "INSERT INTO executions (id, accepted_at, queued_at, due_at, attempt, max_attempts, tenant, function, state, event_type, \
         event_id, event_source, traceparent, event) SELECT '{}', accepted_at, queued_at, accepted_at, 2, 3, tenant, function, \
         'scheduled', event_type, event_id, event_source, traceparent, event FROM executions LIMIT 1",
        day.first_id()
    );
    schema.stranger().await.execute(AssertSqlSafe(insert)).await.unwrap();
    for _ in 0..10 {
        assert_eq!(store.drop_day(before).await.unwrap(), None);
    }
    assert!(days(&store).await.contains(&day));
    assert!(!store.inner.partitions.is_left(day, before), "it is known to be young");
}

/// Makes each of two statements of a look take 3.6 seconds, for whoever looks here for functions
/// first: what the statements end with sleeps.
const SLOW: &str = "CREATE FUNCTION slow(text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(3.6); RETURN $1; END $$; \
     CREATE FUNCTION slow(boolean) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(3.6); RETURN $1; END $$; \
     CREATE AGGREGATE min(text) (SFUNC = text_smaller, STYPE = text, FINALFUNC = slow); \
     CREATE AGGREGATE bool_or(boolean) (SFUNC = boolor_statefunc, STYPE = boolean, FINALFUNC = slow)";

/// Each statement is done in time, and all together would not be: the server gives the last one up
/// before the caller gives up the connection and all others with it.
#[tokio::test]
async fn statements_that_take_long_together_have_another_turn() {
    let schema = Schema::make().await;
    seed_history(&connect(&schema).await, 11, 1, true).await.unwrap();
    let slow = Schema::make().await;
    slow.stranger().await.execute(SLOW).await.unwrap();
    let path = format!("{},pg_catalog,{}", slow.name(), schema.name());
    let settings = PostgresSettings {
        call_timeout: Duration::from_secs(12),
        partition_lock_timeout: HOUR,
        schema: SchemaMode::Require,
        ..settings()
    };
    let url = schema.url().replace(schema.name(), &path);
    let store = with_one_look(PostgresStore::connect(&url, settings).await.unwrap());
    let mut stranger = schema.stranger().await;
    let day = Day::today().plus(-11);
    // To read it is no problem, but to drop it.
    let read = format!("BEGIN; SELECT count(*) FROM executions_{}", day.suffix());
    stranger.execute(AssertSqlSafe(read)).await.unwrap();
    assert_eq!(store.drop_day(Day::today().plus(-5).start()).await.unwrap(), None);
    assert!(store.inner.pool.take_idle().is_some());
    stranger.execute("COMMIT").await.unwrap();
    assert!(days(&store).await.contains(&day));
}

/// The server takes too long for one day: all others have their turn, and what goes row by row goes.
#[tokio::test]
async fn a_day_that_cannot_be_read_in_time_has_another_turn() {
    let schema = Schema::make().await;
    connect(&schema).await;
    let slow = PostgresSettings {
        call_timeout: Duration::from_secs(4),
        // A statement that waits for the table takes long.
        partition_lock_timeout: HOUR,
        ..settings()
    };
    let store = with_one_look(PostgresStore::connect(&schema.url(), slow).await.unwrap());
    let [first, second] = [-11, -10].map(|ago| Day::today().plus(ago));
    for day in [first, second] {
        make(&store, day).await;
        store.record(&[ended_at(&accepted_at(day.start()), day.start())]).await.unwrap();
    }
    let mut stranger = schema.stranger().await;
    let lock = format!("BEGIN; LOCK TABLE executions_{}", first.suffix());
    stranger.execute(AssertSqlSafe(lock)).await.unwrap();
    let before = Day::today().plus(-5).start();
    assert_eq!(store.drop_day(before).await.unwrap(), Some(1));
    assert_eq!(store.drop_day(before).await.unwrap(), None);
    let made = days(&store).await;
    assert!(made.contains(&first) && !made.contains(&second), "{made:?}");
    assert_eq!(store.prune_executions(before, None, 100).await.unwrap().deleted, 0);
    stranger.execute("COMMIT").await.unwrap();
    assert_eq!(store.drop_day(before).await.unwrap(), Some(1));
}

/// What a state of a later release means is not known here, so the day has to stay.
#[tokio::test]
async fn a_state_of_a_later_release_keeps_its_day() {
    let schema = Schema::make().await;
    let store = connect(&schema).await;
    let (day, before) = (Day::today().plus(-10), Day::today().plus(-5).start());
    make(&store, day).await;
    let [known, unknown] = [1, 2].map(|hour| accepted_at(day.start().plus(HOUR * hour)));
    let batch = [&known, &unknown].map(|dispatch| ended_at(dispatch, day.plus(1).start()));
    store.record(&batch).await.unwrap();
    let mut stranger = schema.stranger().await;
    for finished_at in ["NULL", "1"] {
        let change = format!(
            "UPDATE executions SET state = 'pondering', finished_at = {finished_at} WHERE id = '{}'",
            unknown.execution
        );
        stranger.execute(AssertSqlSafe(change)).await.unwrap();
        assert_eq!(store.drop_day(before).await.unwrap(), None, "{finished_at}");
        assert!(days(&store).await.contains(&day));
    }
}

/// Whoever waits in vain for the connection of upkeep knows nothing of the others.
#[tokio::test]
async fn a_call_that_had_no_connection_cuts_none() {
    let schema = Schema::make().await;
    connect(&schema).await;
    let settings = PostgresSettings { call_timeout: Duration::from_secs(2), ..settings() };
    let store = PostgresStore::connect(&schema.url(), settings).await.unwrap();
    let busy = store.inner.pool.begin(Access::Upkeep).await.unwrap();
    store.record(&[finished(&dispatch("total"), Outcome::Success)]).await.unwrap();
    let waits = store.prune_artifacts(now(), 1).await;
    assert!(matches!(waits, Err(StoreError::Unavailable(_))), "{waits:?}");
    assert!(store.inner.pool.take_idle().is_some());
    drop(busy);
}
