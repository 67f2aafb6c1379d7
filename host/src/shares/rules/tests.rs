//! The rules, by what must hold whoever asks for whatever.

use proptest::prelude::*;

use super::*;

fn tenant(name: &str) -> TenantName {
    name.parse().unwrap()
}

fn function(number: usize) -> FunctionName {
    format!("f{number}").parse().unwrap()
}

/// Asks as the rules do, and counts how often.
struct Counting<'a> {
    asking: Asking<'a, ()>,
    tenants: usize,
    requests: usize,
}

impl Chooser<Waiter<()>> for Counting<'_> {
    fn considers(&mut self, tenant: &TenantName) -> bool {
        self.tenants += 1;
        self.asking.considers(tenant)
    }

    fn chooses(&mut self, tenant: &TenantName, waiter: &Waiter<()>) -> bool {
        self.requests += 1;
        self.asking.chooses(tenant, waiter)
    }
}

/// However many functions a tenant has that wait, it is looked at once where none may have what it
/// asks for.
#[test]
fn a_tenant_that_gets_nothing_is_asked_once() {
    for (own, permits) in [(75, 1), (60, 30)] {
        let mut rules = ShareRules::new(100);
        let a = tenant("a");
        let own = rules.try_take(&a, own).unwrap();
        let of_b = rules.try_take(&tenant("b"), 1).unwrap();
        for number in 0..1_000 {
            rules.wait(&a, &function(number), permits, ());
            assert!(rules.next().is_none());
        }
        rules.release(&of_b);
        let mut waiting = std::mem::take(&mut rules.waiting);
        let asking = Asking { rules: &mut rules, most: 0, only: None };
        let mut counting = Counting { asking, tenants: 0, requests: 0 };
        assert!(waiting.pop_where(&mut counting).is_none());
        assert_eq!((counting.tenants, counting.requests), (1, 0));
        rules.waiting = waiting;
        // Nothing is kept back by that: all of them are asked when there is something for one.
        rules.release(&own);
        assert!(rules.next().is_some());
    }
}

/// A request that is less than all that were asked before is not taken for one of them.
#[test]
fn a_smaller_request_is_asked_again() {
    let mut rules = ShareRules::new(100);
    let (a, large, small) = (tenant("a"), function(0), function(1));
    let busy = rules.try_take(&tenant("b"), 90).unwrap();
    let id = rules.wait(&a, &large, 50, "large");
    rules.wait(&a, &large, 5, "behind it");
    assert!(rules.next().is_none());
    rules.wait(&a, &small, 10, "small");
    assert_eq!(rules.next().map(|(waiter, _)| waiter), Some("small"));
    rules.release(&busy);
    let busy = rules.try_take(&tenant("b"), 85);
    assert!(busy.is_none(), "somebody waits");
    rules.give_up(&a, &large, id);
    assert_eq!(rules.next().map(|(waiter, _)| waiter), Some("behind it"));
}

#[test]
fn what_waits_is_needed_by_whom_it_helps() {
    let mut rules = ShareRules::new(100);
    let (a, b, c) = (tenant("a"), tenant("b"), tenant("c"));
    let own = rules.try_take(&a, 70).unwrap();
    let of_b = rules.try_take(&b, 5).unwrap();
    rules.wait(&a, &function(0), 20, ());
    assert!(rules.next().is_none());
    // It waits as it has its share, which nothing of another one's changes.
    assert!(rules.is_needed(&a) && !rules.is_needed(&b));
    // This one has nothing.
    rules.wait(&c, &function(0), 50, ());
    assert!(rules.next().is_none());
    assert!(rules.is_needed(&b));
    rules.release(&own);
    rules.release(&of_b);
    assert_eq!(std::iter::from_fn(|| rules.next()).count(), 2);
    assert!(!rules.is_needed(&a) && !rules.is_needed(&b));
}

/// The only tenant's are asked anew by what they need when another one comes, and are passed no
/// longer for it.
#[test]
fn who_comes_and_goes_makes_nobody_begin_anew() {
    let mut rules = ShareRules::new(100);
    rules.set_shared(false);
    let a = tenant("a");
    let busy = rules.try_take(&a, 40).unwrap();
    rules.wait(&a, &function(0), 70, 0);
    for number in 1..100 {
        rules.wait(&a, &function(number), 10, number);
        if number % 2 == 0 {
            rules.set_shared(true);
            rules.set_shared(false);
        }
        match rules.next() {
            Some((_, grant)) => rules.release(&grant),
            None => break,
        }
        assert!(number <= 10, "it is passed again and again");
    }
    rules.release(&busy);
    assert_eq!(rules.next().map(|(waiter, _)| waiter), Some(0));
}

/// A function that asks for so many permits, again and again, and keeps them for so many steps.
#[derive(Clone, Debug)]
struct Asker {
    tenant: usize,
    permits: u64,
    life: usize,
    /// It asks in one of so many steps.
    seldom: usize,
}

const TENANTS: usize = 4;
const LONGEST_LIFE: usize = 6;
const STEPS: usize = 500;

fn asker(total: u64) -> impl Strategy<Value = Asker> {
    // As many of one permit as of several, and few of nearly all.
    let permits = prop_oneof![3 => Just(1), 2 => 2..=total / 2, 1 => total / 2..=total];
    (0..TENANTS, permits, 1..=LONGEST_LIFE, 1_usize..=3)
        .prop_map(|(tenant, permits, life, seldom)| Asker { tenant, permits, life, seldom })
}

fn askers() -> impl Strategy<Value = (u64, Vec<Asker>)> {
    (4_u64..40).prop_flat_map(|total| (Just(total), prop::collection::vec(asker(total), 1..10)))
}

/// One that waits.
#[derive(Clone, Copy)]
struct Waits {
    id: u64,
    /// Everything that was granted before it came.
    since: u64,
    /// The step in which as much as there is had passed it, for each of its tenant's functions.
    due: Option<usize>,
}

struct Simulation {
    rules: ShareRules<usize>,
    askers: Vec<Asker>,
    tenants: Vec<TenantName>,
    waiting: Vec<Option<Waits>>,
    /// With the step in which each ends.
    running: Vec<(usize, Grant)>,
    now: usize,
}

impl Simulation {
    fn new(total: u64, askers: Vec<Asker>) -> Self {
        let tenants = (0..TENANTS).map(|number| tenant(&format!("t{number}"))).collect();
        let waiting = vec![None; askers.len()];
        let rules = ShareRules::new(total);
        Self { rules, askers, tenants, waiting, running: Vec::new(), now: 0 }
    }

    /// Lets who is to ask ask, and work end that is to end.
    fn step(&mut self, asks: impl Fn(usize, &Asker) -> bool) {
        self.now += 1;
        for number in 0..self.askers.len() {
            if self.waiting[number].is_none() && asks(number, &self.askers[number]) {
                self.ask(number);
            }
        }
        let ended = self.running.extract_if(.., |(end, _)| *end <= self.now);
        for (_, grant) in ended.collect::<Vec<_>>() {
            self.rules.release(&grant);
            self.grant();
        }
        self.check();
    }

    fn ask(&mut self, number: usize) {
        let Asker { tenant, permits, life, .. } = self.askers[number];
        let of = &self.tenants[tenant];
        if let Some(grant) = self.rules.try_take(of, permits) {
            self.running.push((self.now + life, grant));
            return;
        }
        let since = self.rules.granted;
        let id = self.rules.wait(of, &function(number), permits, number);
        self.waiting[number] = Some(Waits { id, since, due: None });
        self.grant();
    }

    fn grant(&mut self) {
        while let Some((number, grant)) = self.rules.next() {
            self.waiting[number] = None;
            self.running.push((self.now + self.askers[number].life, grant));
        }
    }

    fn check(&mut self) {
        let rules = &self.rules;
        let taken: u64 = self.running.iter().map(|(_, grant)| grant.permits).sum();
        assert!(taken == rules.taken && taken <= rules.total);
        assert_eq!(taken, rules.tenants.values().map(|state| state.own).sum::<u64>());
        let free = rules.total - taken;
        if let Some(Reservation { passed, part, .. }) = &rules.reservation {
            assert!(*part <= rules.share() && passed.permits > free);
        }
        for (asker, waits) in self.askers.iter().zip(&mut self.waiting) {
            let Some(waits) = waits else { continue };
            let state = &rules.tenants[&self.tenants[asker.tenant]];
            if rules.reservation.is_none()
                && state.own == 0
                && rules.due(state).is_none_or(|due| due.id == waits.id)
            {
                assert!(asker.permits > free, "a tenant that has none does not get what is free");
            }
            let functions = self.askers.iter().filter(|other| other.tenant == asker.tenant).count();
            if rules.granted - waits.since >= rules.total * functions as u64 {
                let due = *waits.due.get_or_insert(self.now);
                // For each function, its tenant's work ends, and so does what ran when room began
                // to be kept for one request of each tenant, and a large one of its own.
                let most = functions * (TENANTS + 2) * 2 * LONGEST_LIFE;
                let is_large = asker.permits > rules.share();
                assert!(is_large || self.now - due <= most, "{asker:?} waits since {due}");
            }
        }
    }
}

proptest! {
    #[test]
    fn whoever_asks_gets_it((total, askers) in askers(), seed in any::<u64>()) {
        let mut simulation = Simulation::new(total, askers);
        let mut random = seed;
        for _ in 0..STEPS {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            simulation.step(|number, asker| {
                ((random >> (16 + number)) as usize).is_multiple_of(asker.seldom)
            });
        }
        // Now the large ones as well: nobody else is in their way for ever.
        for _ in 0..simulation.askers.len() * 2 * LONGEST_LIFE {
            simulation.step(|_, _| false);
        }
        assert_eq!(simulation.rules.waiting(), 0);
        for _ in 0..LONGEST_LIFE {
            simulation.step(|_, _| false);
        }
        assert_eq!(simulation.rules.available(), total);
        assert!(simulation.rules.tenants.is_empty());
    }
}
