//! History by days.

use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Executor as _, Row as _};
use wasmill_domain::{Dispatch, ExecutionId, Operation, Outcome, State, Timestamp, Transition};

use super::super::days::Day;
use super::super::partitions;
use super::super::session::Access;
use super::{PostgresSettings, PostgresStore, Schema, connect, settings};
use crate::conformance::sample::{dispatch, finished, line, now, prune, retried, state_of, tenant};
use crate::port::{
    Agenda as _, ExecutionQuery, Finished, History as _, Ledger as _, Publication, Retention as _,
    StoreError,
};
use crate::postgres::testing::seed_history;

const HOUR: Duration = Duration::from_secs(3600);

fn hours(count: u32) -> Duration {
    HOUR * count
}

/// A day that is old.
fn old_day() -> Day {
    Day::today().plus(-10)
}

/// An execution that was accepted at `at`.
pub(super) fn accepted_at(at: Timestamp) -> Dispatch {
    let mut id = crate::convert::first_id_at(at).0.as_u128();
    // Unique, as ids are.
    id |= ExecutionId::new().0.as_u128() & ((1 << 64) - 1);
    Dispatch {
        execution: ExecutionId(uuid::Uuid::from_u128(id)),
        accepted_at: at,
        ..dispatch("total")
    }
}

pub(super) fn ended_at(dispatch: &Dispatch, at: Timestamp) -> Finished {
    let mut entry = Finished { logs: vec![line(0, "a")], ..finished(dispatch, Outcome::Trap) };
    entry.report.finished_at = at;
    entry
}

/// Makes the partitions of a day that nobody would make by now.
pub(super) async fn make(store: &PostgresStore, day: Day) {
    store.inner.write(|session| Box::pin(store.inner.make_day(session, day))).await.unwrap();
}

pub(super) async fn days(store: &PostgresStore) -> Vec<Day> {
    store.inner.read(|session| Box::pin(partitions::days(session))).await.unwrap()
}

/// In which partition each table has rows of an execution.
async fn homes(stranger: &mut PgConnection, id: ExecutionId) -> Vec<String> {
    let mut homes = Vec::new();
    for (table, key) in partitions::TABLES {
        let sql = format!("SELECT tableoid::regclass::text FROM {table} WHERE {key} = $1");
        let rows =
            sqlx::query(AssertSqlSafe(sql)).bind(id.0).fetch_all(&mut *stranger).await.unwrap();
        homes.extend(rows.iter().map(|row| row.get::<String, _>(0)));
    }
    homes
}

#[tokio::test]
async fn each_day_has_its_place() {
    let schema = Schema::make().await;
    let store =
        PostgresStore::connect(&schema.url(), PostgresSettings { days_ahead: 2, ..settings() })
            .await
            .unwrap();
    let today = Day::today();
    let made = days(&store).await;
    assert!(made.starts_with(&[today, today.plus(1), today.plus(2)]), "{made:?}");
    let batch = [
        ended_at(&accepted_at(today.start().plus(hours(1))), now()),
        ended_at(&accepted_at(today.plus(1).start()), now()),
        ended_at(&accepted_at(today.plus(40).start()), now()),
        ended_at(&accepted_at(Timestamp::from_micros(0)), now()),
    ];
    assert_eq!(store.record(&batch).await.unwrap(), [true; 4]);
    for entry in &batch {
        // Its first attempt gets a row of its own.
        store
            .transition_execution(
                &tenant(),
                entry.dispatch.execution,
                &Operation::new(Transition::Replay, now()),
            )
            .await
            .unwrap();
    }
    let mut stranger = schema.stranger().await;
    let all = |suffix: &str| ["executions", "attempts"].map(|table| format!("{table}_{suffix}"));
    let expected = [all(&today.suffix()), all(&today.plus(1).suffix()), all("rest"), all("rest")];
    for (entry, expected) in batch.iter().zip(expected) {
        assert_eq!(homes(&mut stranger, entry.dispatch.execution).await, expected);
    }
}

#[tokio::test]
async fn a_day_that_has_rows_already_stays_in_the_default_partition() {
    let schema = Schema::make().await;
    let store = connect(&schema).await;
    let early = Day::today().plus(3);
    store.record(&[ended_at(&accepted_at(early.start()), now())]).await.unwrap();
    let settings = PostgresSettings { days_ahead: 4, ..settings() };
    let store = PostgresStore::connect(&schema.url(), settings).await.unwrap();
    let made = days(&store).await;
    assert!(
        made.contains(&early.plus(-1)) && !made.contains(&early) && made.contains(&early.plus(1)),
        "{made:?}"
    );
    let late = accepted_at(early.start().plus(HOUR));
    assert_eq!(store.record(&[ended_at(&late, now())]).await.unwrap(), [true]);
    assert_eq!(state_of(&store, &late).await, (State::Failed, 1));
}

#[tokio::test]
async fn whoever_writes_sees_to_the_days_ahead() {
    let schema = Schema::make().await;
    let store = connect(&schema).await;
    let last = *days(&store).await.last().unwrap();
    // As if the process had started long ago.
    let mut stranger = schema.stranger().await;
    for (table, _) in partitions::TABLES {
        stranger
            .execute(AssertSqlSafe(format!("DROP TABLE {table}_{}", last.suffix())))
            .await
            .unwrap();
    }
    store.inner.partitions.forget();
    store.enqueue(&[dispatch("total")], Publication::Confirmed).await.unwrap();
    super::until("the day is made", async || days(&store).await.contains(&last)).await;
}

#[tokio::test]
async fn a_day_is_dropped_when_all_of_it_is_old() {
    let schema = Schema::make().await;
    let store = connect(&schema).await;
    let day = old_day();
    let at = |hours: u32| day.start().plus(HOUR * hours);
    make(&store, day).await;
    let all: Vec<Dispatch> = (0..23).map(|hour| accepted_at(at(hour))).collect();
    let batch: Vec<Finished> = all.iter().map(|dispatch| ended_at(dispatch, at(30))).collect();
    store.enqueue(&all[..5], Publication::Pending).await.unwrap();
    store.record(&batch).await.unwrap();
    // While time goes through it, it stays whole.
    assert_eq!(prune(&store, at(20), 1_000).await, 0);
    // All of it is past, and the last has not ended.
    assert_eq!(prune(&store, at(28), 1_000).await, 0);
    assert!(days(&store).await.contains(&day));
    assert_eq!(prune(&store, at(31), 10).await, 23, "in one go, beyond the limit");
    assert!(!days(&store).await.contains(&day));
    assert_eq!(store.execution(&tenant(), all[0].execution).await.unwrap(), None);
    let mut stranger = schema.stranger().await;
    assert_eq!(
        sqlx::query_scalar::<_, i64>("SELECT count(*) FROM outbox")
            .fetch_one(&mut stranger)
            .await
            .unwrap(),
        0
    );
    // Should one of it come again, it finds a place.
    assert_eq!(store.record(&batch[..1]).await.unwrap(), [true]);
    assert_eq!(homes(&mut stranger, all[0].execution).await[0], "executions_rest");
}

/// An operator has cancelled what never came: the note of that goes with the day.
#[tokio::test]
async fn a_day_goes_with_the_notes_of_its_early_rows() {
    let schema = Schema::make().await;
    let store = connect(&schema).await;
    let day = old_day();
    make(&store, day).await;
    let [old, next] = [day, day.plus(1)].map(|day| accepted_at(day.start()));
    for dispatch in [&old, &next] {
        let cancel = Operation::new(Transition::Cancel, day.start()).before_row(true);
        store.transition_execution(&tenant(), dispatch.execution, &cancel).await.unwrap();
    }
    assert_eq!(store.drop_day(day.plus(1).start()).await.unwrap(), Some(1));
    let left = sqlx::query_scalar::<_, uuid::Uuid>("SELECT execution_id FROM early_rows");
    let left = left.fetch_all(&mut schema.stranger().await).await.unwrap();
    assert_eq!(left, [next.execution.0]);
}

#[tokio::test]
async fn what_has_not_ended_survives() {
    let schema = Schema::make().await;
    let store = connect(&schema).await;
    let day = old_day();
    let at = |hours: u32| day.start().plus(HOUR * hours);
    make(&store, day).await;
    let all: Vec<Dispatch> = (0..10).map(|hour| accepted_at(at(hour))).collect();
    let mut batch: Vec<Finished> = all.iter().map(|dispatch| ended_at(dispatch, at(12))).collect();
    batch[3] = retried(&all[3], now().plus(HOUR));
    store.record(&batch).await.unwrap();
    // Around it, row by row and by the limit.
    assert_eq!(prune(&store, at(30), 4).await, 4);
    assert_eq!(prune(&store, at(30), 100).await, 5);
    assert_eq!(prune(&store, at(30), 100).await, 0);
    assert!(days(&store).await.contains(&day));
    assert_eq!(state_of(&store, &all[3]).await, (State::Delayed, 2));
    // Now it ends; then it has to be old itself.
    let second = store.promote_due(now().plus(hours(2)), 1).await.unwrap().remove(0);
    assert_eq!(store.record(&[ended_at(&second, at(40))]).await.unwrap(), [true]);
    assert_eq!(prune(&store, at(40), 100).await, 0);
    assert_eq!(prune(&store, at(41), 100).await, 1);
    assert!(!days(&store).await.contains(&day));
}

#[tokio::test]
async fn yesterday_and_today_go_row_by_row() {
    let schema = Schema::make().await;
    let store = connect(&schema).await;
    let yesterday = Day::today().plus(-1);
    make(&store, yesterday).await;
    let all: Vec<Dispatch> = [yesterday, Day::today()].map(|day| accepted_at(day.start())).into();
    let batch: Vec<Finished> =
        all.iter().map(|dispatch| ended_at(dispatch, dispatch.accepted_at)).collect();
    store.record(&batch).await.unwrap();
    assert_eq!(prune(&store, now().plus(HOUR), 100).await, 2);
    let left = days(&store).await;
    assert!(left.contains(&yesterday) && left.contains(&Day::today()), "{left:?}");
}

/// A day that is looked at is closed to those who write to it, and to nobody else.
#[tokio::test]
async fn looking_at_an_old_day_holds_up_nobody_else() {
    let schema = Schema::make().await;
    let hasty = PostgresSettings { call_timeout: Duration::from_secs(2), ..settings() };
    let (store, other) =
        (PostgresStore::connect(&schema.url(), hasty).await.unwrap(), connect(&schema).await);
    let day = old_day();
    make(&store, day).await;
    let old = accepted_at(day.start().plus(HOUR));
    store.enqueue(std::slice::from_ref(&old), Publication::Confirmed).await.unwrap();
    let mut looker = other.inner.pool.begin(Access::Write).await.unwrap();
    partitions::own_day(&mut looker, day).await.unwrap();
    // More than looking does: not even this is felt.
    looker.run(format!("LOCK TABLE executions_{} IN SHARE MODE", day.suffix())).await.unwrap();
    for _ in 0..10 {
        let new = dispatch("total");
        store.enqueue(std::slice::from_ref(&new), Publication::Pending).await.unwrap();
        assert_eq!(store.record(&[finished(&new, Outcome::Success)]).await.unwrap(), [true]);
    }
    let late = [ended_at(&old, now())];
    let waits = store.record(&late).await;
    assert!(matches!(waits, Err(StoreError::Unavailable(_))), "{waits:?}");
    looker.end(Ok(())).await.unwrap();
    assert_eq!(store.record(&late).await.unwrap(), [true]);
}

/// Somebody reads a day for hours: it is dropped another time, and nobody waits behind the one who
/// would drop it.
#[tokio::test]
async fn a_day_in_use_is_dropped_another_time() {
    let schema = Schema::make().await;
    let settings =
        PostgresSettings { partition_lock_timeout: Duration::from_millis(50), ..settings() };
    let store = PostgresStore::connect(&schema.url(), settings).await.unwrap();
    let day = old_day();
    make(&store, day).await;
    store.record(&[ended_at(&accepted_at(day.start()), day.start().plus(HOUR))]).await.unwrap();
    let mut reader = schema.stranger().await;
    let read = format!("BEGIN; SELECT count(*) FROM executions_{}", day.suffix());
    reader.execute(AssertSqlSafe(read)).await.unwrap();
    let before = day.plus(2).start();
    // Nor does it go row by row meanwhile.
    assert_eq!(prune(&store, before, 100).await, 0);
    assert!(days(&store).await.contains(&day));
    reader.execute("COMMIT").await.unwrap();
    assert_eq!(prune(&store, before, 100).await, 1);
    assert!(!days(&store).await.contains(&day));
}

/// What has to stay is looked at once, and upkeep takes no connection from anybody.
#[tokio::test]
async fn a_long_history_goes_in_pages_beside_everything_else() {
    let schema = Schema::make().await;
    let one = PostgresSettings { connections: 1, ..settings() };
    let store = PostgresStore::connect(&schema.url(), one).await.unwrap();
    for (days_ago, in_partition) in [(10, true), (11, true), (12, false)] {
        seed_history(&store, days_ago, 1_000, in_partition).await.unwrap();
    }
    let before = Day::today().plus(-5).start();
    // Somebody has the only connection that is not for upkeep.
    let busy = store.inner.pool.begin(Access::Write).await.unwrap();
    let mut days = Vec::new();
    while let Some(count) = store.drop_day(before).await.unwrap() {
        days.push(count);
    }
    assert_eq!(days, [1_000, 1_000]);
    let (mut pages, mut after) = (Vec::new(), None);
    loop {
        let page = store.prune_executions(before, after, 400).await.unwrap();
        pages.push(page.deleted);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(pages, [400, 400, 200]);
    busy.end(Ok(())).await.unwrap();
    let query = ExecutionQuery::all_of(tenant(), 1);
    assert!(store.executions(&query).await.unwrap().is_empty());
}
