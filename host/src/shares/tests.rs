//! Who gets permits, and who waits for whom.

use futures_util::FutureExt;

use super::*;

fn tenant(name: &str) -> TenantName {
    name.parse().unwrap()
}

/// So many permits for `tenant/function`, once they are there.
async fn acquire(shares: &TenantShares, name: &str, permits: u64) -> SharePermit {
    let (of, function) = name.split_once('/').unwrap();
    shares.acquire(&tenant(of), &function.parse().unwrap(), permits).await
}

/// The same where they must be there at once.
fn now(shares: &TenantShares, name: &str, permits: u64) -> Option<SharePermit> {
    acquire(shares, name, permits).now_or_never()
}

/// For the only tenant.
fn of_one_tenant(total: u64) -> TenantShares {
    let shares = TenantShares::new(total);
    shares.set_shared(false);
    shares
}

/// Queues one waiter for each `tenant/function`, with the only permit taken; gives the order in
/// which they get it.
async fn order(asked: &[&str]) -> Vec<String> {
    let shares = of_one_tenant(1);
    let busy = acquire(&shares, "a/x", 1).await;
    let (sender, mut got) = tokio::sync::mpsc::unbounded_channel();
    let mut waiting = tokio::task::JoinSet::new();
    for name in asked {
        let (of_task, sender, name) = (shares.clone(), sender.clone(), (*name).to_owned());
        waiting.spawn(async move {
            let permit = acquire(&of_task, &name, 1).await;
            sender.send(name).unwrap();
            drop(permit);
        });
        // One thread: the task runs until it waits.
        tokio::task::yield_now().await;
    }
    drop((busy, sender));
    let mut order = Vec::new();
    while let Some(name) = got.recv().await {
        order.push(name);
    }
    order
}

#[tokio::test]
async fn tenants_and_functions_are_served_by_turns() {
    let order = order(&["a/x", "a/x", "a/x", "a/y", "a/y", "b/z", "b/z"]).await;
    assert_eq!(order, ["a/x", "b/z", "a/y", "b/z", "a/x", "a/y", "a/x"]);
}

#[tokio::test]
async fn who_gave_up_is_passed_over() {
    let shares = TenantShares::new(1);
    let busy = acquire(&shares, "a/x", 1).await;
    let mut gone = Box::pin(acquire(&shares, "a/x", 1));
    assert!((&mut gone).now_or_never().is_none() && shares.waiting() == 1);
    drop(gone);
    assert_eq!(shares.waiting(), 0);
    // Nor is a permit lost that was sent and not taken.
    let mut gone = Box::pin(acquire(&shares, "a/x", 1));
    assert!((&mut gone).now_or_never().is_none());
    drop(busy);
    drop(gone);
    assert_eq!(shares.available(), 1);
}

#[tokio::test]
async fn a_tenant_leaves_a_quarter_to_others() {
    let shares = TenantShares::new(8);
    let mut of_a: Vec<_> = std::iter::from_fn(|| now(&shares, "a/x", 1)).collect();
    assert_eq!(of_a.len(), 6);
    assert!(shares.try_acquire(&tenant("a"), 1).is_none());
    let of_b = now(&shares, "b/x", 1).unwrap();
    // What is left is more than its share as the next one takes it.
    assert!(now(&shares, "b/x", 1).is_none());
    let of_c = now(&shares, "c/x", 1).unwrap();
    let mut waits = Box::pin(acquire(&shares, "a/x", 1));
    assert!((&mut waits).now_or_never().is_none());
    of_a.pop();
    assert!((&mut waits).now_or_never().is_none(), "others may come");
    drop((of_b, of_c));
    waits.now_or_never().unwrap();
}

#[tokio::test]
async fn the_only_tenant_may_have_everything() {
    let shares = of_one_tenant(8);
    let all: Vec<_> = std::iter::from_fn(|| now(&shares, "a/x", 1)).collect();
    assert_eq!(all.len(), 8);
    // Another one comes: the first one's permits are passed to it as they become free.
    shares.set_shared(true);
    let mut mine = Box::pin(acquire(&shares, "a/x", 1));
    let mut others: Vec<_> = (0..3).map(|_| Box::pin(acquire(&shares, "b/x", 1))).collect();
    assert!((&mut mine).now_or_never().is_none());
    assert!(others.iter_mut().all(|other| other.now_or_never().is_none()));
    let mut all = all.into_iter();
    (0..3).for_each(|_| drop(all.next()));
    let got: Vec<_> = others.iter_mut().filter_map(FutureExt::now_or_never).collect();
    assert_eq!(got.len(), 2, "and one is kept for a third");
    shares.set_shared(false);
    assert!((&mut mine).now_or_never().is_some());
}

#[tokio::test]
async fn smaller_ones_pass_a_large_one() {
    let shares = of_one_tenant(100);
    let busy = acquire(&shares, "a/busy", 30).await;
    let mut large = Box::pin(acquire(&shares, "a/large", 90));
    assert!((&mut large).now_or_never().is_none());
    // In one queue, all of them would wait behind it.
    let small = now(&shares, "a/small", 10).unwrap();
    drop((busy, small));
    assert!(large.now_or_never().is_some());
}

#[tokio::test]
async fn a_large_one_is_not_passed_for_ever() {
    let shares = of_one_tenant(100);
    let mut last = acquire(&shares, "a/small", 20).await;
    let mut large = Box::pin(acquire(&shares, "a/large", 90));
    assert!((&mut large).now_or_never().is_none());
    let mut passed_by = 0;
    // There is always one of them, so 90 are never free.
    while let Some(next) = now(&shares, "a/small", 20) {
        last = next;
        passed_by += 20;
        assert!(passed_by <= 100, "it is passed again and again");
    }
    assert_eq!(passed_by, 100);
    drop(last);
    let large = large.now_or_never().unwrap();
    let beside = now(&shares, "a/tiny", 10).unwrap();
    assert!(now(&shares, "a/small", 20).is_none());
    drop((large, beside));
    assert!(now(&shares, "a/small", 20).is_some());
}

#[tokio::test]
async fn a_large_one_that_gives_up_is_waited_for_no_longer() {
    let shares = of_one_tenant(100);
    let mut last = acquire(&shares, "a/small", 20).await;
    let mut large = Box::pin(acquire(&shares, "a/large", 90));
    assert!((&mut large).now_or_never().is_none());
    while let Some(next) = now(&shares, "a/small", 20) {
        last = next;
    }
    let mut small = Box::pin(acquire(&shares, "a/small", 20));
    assert!((&mut small).now_or_never().is_none());
    drop(large);
    assert!((&mut small).now_or_never().is_some());
    drop(last);
}

#[tokio::test]
async fn others_do_not_wait_for_more_than_a_tenant_s_share() {
    let shares = TenantShares::new(100);
    let mut last = acquire(&shares, "b/small", 10).await;
    // Nearly all there is.
    let mut large = Box::pin(acquire(&shares, "a/large", 95));
    assert!((&mut large).now_or_never().is_none());
    // Another tenant's go on and on, as long as a quarter of all is enough for them.
    for _ in 0..50 {
        last = now(&shares, "b/small", 10).expect("a quarter is left to others");
    }
    assert!((&mut large).now_or_never().is_none());
    // One that has nothing gets what is free: no room is kept for so much.
    drop(now(&shares, "c/x", 50).expect("ninety are free"));
    // Nor does its own tenant wait for it as long as another one is in its way.
    drop(now(&shares, "a/small", 1).expect("it would wait in vain"));
    drop(last);
    let large = (&mut large).now_or_never().unwrap();
    drop(large);
    assert!(now(&shares, "a/small", 1).is_some());
}

#[tokio::test]
async fn a_tenant_s_share_is_kept_for_a_large_one() {
    let shares = TenantShares::new(100);
    let mut last = acquire(&shares, "b/small", 20).await;
    let second = acquire(&shares, "b/small", 20).await;
    let mut large = Box::pin(acquire(&shares, "a/large", 70));
    assert!((&mut large).now_or_never().is_none());
    let mut passed_by = 0;
    while let Some(next) = now(&shares, "b/small", 20) {
        last = next;
        passed_by += 20;
        assert!(passed_by <= 100, "it is passed again and again");
    }
    drop(last);
    let large = large.now_or_never().unwrap();
    drop((large, second));
    assert_eq!(shares.available(), 100);
}

/// What runs when room begins to be kept may go on for long; what others get meanwhile is bounded,
/// and is not nothing.
#[tokio::test]
async fn a_quarter_is_left_while_room_is_kept() {
    let shares = TenantShares::new(100);
    let long = acquire(&shares, "b/long", 60).await;
    let mut large = Box::pin(acquire(&shares, "a/large", 70));
    assert!((&mut large).now_or_never().is_none());
    let mut last = None;
    for _ in 0..10 {
        last = Some(now(&shares, "c/x", 10).expect("forty are free"));
    }
    drop(last);
    // It has been passed by a hundred. One that asks now does not get all that is free.
    assert!(now(&shares, "d/x", 31).is_none());
    let of_c = now(&shares, "c/x", 10).expect("thirty are left to others");
    let of_d = now(&shares, "d/x", 10).expect("thirty are left to others");
    assert!(now(&shares, "c/x", 10).is_none(), "some are left for the next one");
    drop(long);
    let large = large.now_or_never().unwrap();
    assert_eq!(shares.available(), 10);
    drop((large, of_c, of_d));
    assert_eq!(shares.available(), 100);
}

/// As small ones come again and again, there are always enough free for it, and never enough that
/// its tenant may have them.
#[tokio::test]
async fn a_request_within_its_tenant_s_part_is_not_passed_for_ever() {
    let shares = TenantShares::new(100);
    let _of_b = acquire(&shares, "b/x", 1).await;
    let mut of_a: std::collections::VecDeque<_> =
        std::iter::from_fn(|| now(&shares, "a/x", 1)).collect();
    let mut medium = Box::pin(acquire(&shares, "b/y", 20));
    assert!((&mut medium).now_or_never().is_none());
    for passed_by in 0.. {
        let mut next = Box::pin(acquire(&shares, "a/x", 1));
        assert!((&mut next).now_or_never().is_none(), "it has its share");
        of_a.pop_front();
        if (&mut medium).now_or_never().is_some() {
            break;
        }
        of_a.push_back(next.now_or_never().expect("one is free for it"));
        assert!(passed_by < 100, "it is passed again and again");
    }
}

#[tokio::test]
async fn a_tenant_s_own_work_makes_way_for_its_large_one() {
    let shares = TenantShares::new(100);
    let mut last = acquire(&shares, "a/small", 1).await;
    let mut large = Box::pin(acquire(&shares, "a/large", 80));
    assert!((&mut large).now_or_never().is_none());
    let mut passed_by = 0;
    while let Some(next) = now(&shares, "a/small", 1) {
        last = next;
        passed_by += 1;
        assert!(passed_by <= 100, "it is passed again and again");
    }
    // Another one gets what is free nevertheless, and as long as it has it, nobody waits in vain.
    let of_b = now(&shares, "b/x", 21).unwrap();
    let small = now(&shares, "a/small", 1).expect("it would wait in vain");
    drop((of_b, small));
    // Nor does what comes later become due before it.
    let mut small = Box::pin(acquire(&shares, "a/small", 1));
    for _ in 0..200 {
        assert!((&mut small).now_or_never().is_none());
        drop(now(&shares, "b/x", 1).expect("there are twenty for others"));
        // What a task may do at once, without waiting for anything, is bounded by tokio.
        tokio::task::yield_now().await;
    }
    drop(last);
    let large = (&mut large).now_or_never().unwrap();
    assert!((&mut small).now_or_never().is_none(), "its tenant has more than a share");
    drop(large);
    assert!(small.now_or_never().is_some());
}

#[tokio::test]
async fn who_gave_up_behind_another_is_not_kept() {
    let shares = TenantShares::new(1);
    let busy = acquire(&shares, "a/x", 1).await;
    let mut first = Box::pin(acquire(&shares, "a/x", 1));
    assert!((&mut first).now_or_never().is_none());
    for _ in 0..10_000 {
        assert!(now(&shares, "a/x", 1).is_none());
    }
    assert_eq!(shares.waiting(), 1);
    drop(busy);
    assert!(first.now_or_never().is_some());
}

#[tokio::test]
async fn more_than_there_is_takes_all() {
    let shares = TenantShares::new(4);
    let all = acquire(&shares, "a/x", 100).await;
    assert_eq!(shares.available(), 0);
    drop(all);
    assert_eq!(shares.available(), 4);
}
