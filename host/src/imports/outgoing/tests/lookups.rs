//! Lookups that go on when nobody waits for them any more.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use async_trait::async_trait;
use http::StatusCode;
use tokio::sync::{Semaphore, watch};
use wasmill_domain::TenantName;
use wasmtime_wasi_http::{Error, RequestOptions};

use super::support::*;
use crate::imports::outgoing::{LookupPermit, Network, Resolve, SystemResolver};
use crate::settings::OutgoingSettings;

const ANYWHERE: &str = "allowed_hosts = ['http://good.example:*', 'http://stuck.example:*']";

/// For those that wait in vain.
const SHORT: Duration = Duration::from_millis(50);

/// A resolver that knows this machine as `good.example`, and whose lookups of other names go on
/// until it is told.
struct Stuck {
    under_way: watch::Sender<usize>,
    go: Arc<Semaphore>,
}

impl Stuck {
    fn new() -> Arc<Self> {
        Arc::new(Self { under_way: watch::Sender::new(0), go: Arc::new(Semaphore::new(0)) })
    }

    /// Lets so many lookups end, and waits until they have.
    async fn end(&self, lookups: usize) {
        let left = *self.under_way.borrow() - lookups;
        self.go.add_permits(lookups);
        let mut under_way = self.under_way.subscribe();
        tokio::time::timeout(SOON, under_way.wait_for(|number| *number == left))
            .await
            .unwrap()
            .unwrap();
    }
}

#[async_trait]
impl Resolve for Stuck {
    async fn resolve(&self, name: &str, lookup_permit: LookupPermit) -> io::Result<Vec<IpAddr>> {
        if name == "good.example" {
            return Ok(vec![Ipv4Addr::LOCALHOST.into()]);
        }
        // As a thread of the system's does it, which nobody can abort.
        let (under_way, go) = (self.under_way.clone(), Arc::clone(&self.go));
        under_way.send_modify(|number| *number += 1);
        tokio::spawn(async move {
            go.acquire().await.unwrap().forget();
            drop(lookup_permit);
            under_way.send_modify(|number| *number -= 1);
        });
        std::future::pending().await
    }
}

fn function_of(network: &Arc<Network>, tenant: &str, name: &str) -> Function {
    let mut function = Function::new(network, name, ANYWHERE);
    function.begin_of(&tenant.parse::<TenantName>().unwrap(), name, ANYWHERE, SOON);
    function
}

/// Asks for what is not found in time.
async fn give_up(function: &mut Function) -> (Error, Vec<String>) {
    let options = RequestOptions { connect_timeout: Some(SHORT), ..RequestOptions::default() };
    let error =
        function.send(request("http://stuck.example/", ""), Some(options)).await.unwrap_err();
    (error, function.notes())
}

#[tokio::test]
async fn a_lookup_that_is_given_up_still_counts_for_its_function() {
    let server = Server::start(|_| async { text("found") }).await;
    let resolver = Stuck::new();
    let settings = OutgoingSettings { lookups_per_function: 1, ..settings() };
    let network = network(settings, Arc::clone(&resolver) as _);
    let mut function = function_of(&network, "a", "one");
    let (error, notes) = give_up(&mut function).await;
    assert!(matches!(error, Error::DnsTimeout) && notes.is_empty(), "{error} {notes:?}");
    function.begin_of(&"a".parse().unwrap(), "one", ANYWHERE, SOON);
    let (error, notes) = give_up(&mut function).await;
    assert!(matches!(error, Error::DnsTimeout), "{error}");
    assert!(notes[0].contains("1 of the function's lookups of names are under way"), "{notes:?}");
    assert_eq!(*resolver.under_way.borrow(), 1, "no second lookup was begun");
    // Others are not concerned.
    let url = server.url("good.example", "/");
    let mut other = function_of(&network, "a", "other");
    assert_eq!(other.get(&url).await.unwrap(), (StatusCode::OK, "found".into()));
    resolver.end(1).await;
    assert_eq!(function.get(&url).await.unwrap(), (StatusCode::OK, "found".into()));
}

#[tokio::test]
async fn a_tenant_s_functions_have_a_share_together() {
    let server = Server::start(|_| async { text("found") }).await;
    let resolver = Stuck::new();
    let settings =
        OutgoingSettings { lookups_per_function: 1, lookups_per_tenant: 2, ..settings() };
    let network = network(settings, Arc::clone(&resolver) as _);
    for name in ["one", "two"] {
        give_up(&mut function_of(&network, "a", name)).await;
    }
    assert_eq!(*resolver.under_way.borrow(), 2);
    let (error, notes) = give_up(&mut function_of(&network, "a", "three")).await;
    assert!(matches!(error, Error::DnsTimeout), "{error}");
    assert!(
        notes[0].contains("2 lookups of names are under way for the tenant's functions"),
        "{notes:?}"
    );
    let url = server.url("good.example", "/");
    let found = function_of(&network, "b", "one").get(&url).await.unwrap();
    assert_eq!(found, (StatusCode::OK, "found".into()));
    resolver.end(2).await;
    let found = function_of(&network, "a", "three").get(&url).await.unwrap();
    assert_eq!(found, (StatusCode::OK, "found".into()));
}

/// Lookups as [`SystemResolver`] makes them, on threads that nobody can interrupt. `good.example` is
/// this machine; what else is looked up hangs until it is let go.
struct Threads {
    hanging: watch::Sender<usize>,
    go: Mutex<mpsc::Receiver<()>>,
}

impl Threads {
    fn look_up(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        if name != "good.example" {
            self.hanging.send_modify(|number| *number += 1);
            self.go.lock().unwrap().recv().map_err(io::Error::other)?;
            self.hanging.send_modify(|number| *number -= 1);
        }
        Ok(vec![Ipv4Addr::LOCALHOST.into()])
    }

    /// Waits until so many hang.
    async fn hang(&self, lookups: usize) {
        let mut hanging = self.hanging.subscribe();
        let are = hanging.wait_for(|number| *number == lookups);
        tokio::time::timeout(SOON, are).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_thread_that_hangs_in_a_lookup_keeps_its_permits() {
    let server = Server::start(|_| async { text("found") }).await;
    let url = server.url("good.example", "/");
    let (go, gate) = mpsc::channel();
    let threads = Arc::new(Threads { hanging: watch::Sender::new(0), go: Mutex::new(gate) });
    let of_resolver = Arc::clone(&threads);
    // Two threads, of which a tenant has one.
    let resolver = SystemResolver::with_lookup(2, move |name: &str| of_resolver.look_up(name));
    let settings = OutgoingSettings {
        lookups: 2,
        lookups_per_tenant: 1,
        lookups_per_function: 1,
        ..settings()
    };
    let network = network(settings, Arc::new(resolver));
    let mut one = function_of(&network, "a", "one");
    let (error, notes) = give_up(&mut one).await;
    assert!(matches!(error, Error::DnsTimeout) && notes.is_empty(), "{error} {notes:?}");
    threads.hang(1).await;
    // Nobody waits for it any more, and the thread is in it.
    let (error, notes) = give_up(&mut function_of(&network, "a", "other")).await;
    assert!(matches!(error, Error::DnsTimeout), "{error}");
    assert!(notes[0].contains("1 lookups of names are under way for the tenant"), "{notes:?}");
    assert_eq!(*threads.hanging.borrow(), 1, "no second thread hangs for the tenant");
    let found = function_of(&network, "b", "one").get(&url).await.unwrap();
    assert_eq!(found, (StatusCode::OK, "found".into()));
    // Two tenants that hang have all threads: the next one waits for one, for as long as it may.
    let (error, _) = give_up(&mut function_of(&network, "b", "two")).await;
    assert!(matches!(error, Error::DnsTimeout), "{error}");
    threads.hang(2).await;
    let mut third = function_of(&network, "c", "one");
    let options = RequestOptions { connect_timeout: Some(SHORT), ..RequestOptions::default() };
    let error = third.send(request(&url, ""), Some(options)).await.unwrap_err();
    assert!(matches!(error, Error::DnsTimeout), "{error}");
    // Each that ends makes room for one.
    go.send(()).unwrap();
    threads.hang(1).await;
    assert_eq!(third.get(&url).await.unwrap(), (StatusCode::OK, "found".into()));
    go.send(()).unwrap();
    threads.hang(0).await;
    for name in ["one", "other"] {
        let found = function_of(&network, "a", name).get(&url).await.unwrap();
        assert_eq!(found, (StatusCode::OK, "found".into()));
    }
}
