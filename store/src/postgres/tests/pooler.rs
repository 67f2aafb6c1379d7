//! A pooler that gives each transaction another session, and the store behind it.
//!
//! It does what PgBouncer does with `pool_mode = transaction`, and less kindly: sessions are handed out in turn, so that nobody
//! gets the same one twice in a row, and start-up parameters that it cannot keep are refused.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::str::FromStr as _;
use std::sync::{Arc, Mutex};

use sqlx::postgres::PgConnectOptions;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use wasmill_domain::Outcome;

use super::schema::{address, server, server_at};
use super::{PostgresSettings, PostgresStore, Schema, settings};
use crate::conformance::sample::{dispatch, finished};
use crate::conformance::{agenda, catalog, fencing, history, moves, versions};
use crate::port::{Error, Ledger as _, Store};

/// How many sessions the pooler has.
const SESSIONS: usize = 3;

/// What PgBouncer keeps for its clients.
const KEPT: [&str; 6] = ["user", "database", "client_encoding", "DateStyle", "TimeZone", "application_name"];

struct Pooler {
    address: SocketAddr,
}

/// The sessions that no transaction holds, the one of the longest rest first.
struct Sessions {
    idle: Mutex<VecDeque<TcpStream>>,
    count: Semaphore,
    start_up: Vec<u8>,
}

impl Pooler {
    async fn before(schema: &Schema) -> Self {
        let options = PgConnectOptions::from_str(&server()).unwrap();
        let mut start_up = 196_608_i32.to_be_bytes().to_vec();
        let database = options.get_database().unwrap_or("postgres");
        let search_path = format!("-c search_path={}", schema.name);
        for text in ["user", options.get_username(), "database", database, "options", search_path.as_str(), ""] {
            start_up.extend_from_slice(text.as_bytes());
            start_up.push(0);
        }
        let sessions = Sessions { idle: Mutex::default(), count: Semaphore::new(SESSIONS), start_up };
        for _ in 0..SESSIONS {
            let session = sessions.open().await.unwrap();
            sessions.idle.lock().unwrap().push_back(session);
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let sessions = Arc::new(sessions);
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let sessions = Arc::clone(&sessions);
                tokio::spawn(async move { serve(client, &sessions).await });
            }
        });
        Self { address }
    }

    /// The URL of the database behind it.
    fn url(&self) -> String {
        server_at(&self.address.to_string())
    }
}

impl Sessions {
    /// A session of a server that trusts this machine.
    async fn open(&self) -> io::Result<TcpStream> {
        let mut session = TcpStream::connect(address()).await?;
        session.set_nodelay(true)?;
        session.write_all(&framed(&[], &self.start_up)).await?;
        loop {
            let (kind, body) = message(&mut session).await?;
            assert!(kind != b'R' || body == [0; 4], "these tests need a server that asks for no password");
            if kind == b'Z' {
                return Ok(session);
            }
        }
    }
}

/// A message: its kind, where it has one, its length, its body.
fn framed(kind: &[u8], body: &[u8]) -> Vec<u8> {
    [kind, &(body.len() as i32 + 4).to_be_bytes(), body].concat()
}

async fn body(from: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = from.read_u32().await?;
    let mut body = vec![0; length as usize - 4];
    from.read_exact(&mut body).await?;
    Ok(body)
}

async fn message(from: &mut TcpStream) -> io::Result<(u8, Vec<u8>)> {
    Ok((from.read_u8().await?, body(from).await?))
}

async fn serve(mut client: TcpStream, sessions: &Sessions) -> io::Result<()> {
    client.set_nodelay(true)?;
    if !welcome(&mut client).await? {
        return Ok(());
    }
    loop {
        let first = message(&mut client).await?;
        if first.0 == b'X' {
            return Ok(());
        }
        let _turn = sessions.count.acquire().await.unwrap();
        let idle = sessions.idle.lock().unwrap().pop_front();
        let mut session = match idle {
            Some(session) => session,
            None => sessions.open().await?,
        };
        // Where the client leaves in the middle, its session goes with it, and another one is opened for the next.
        transaction(&mut client, &mut session, first).await?;
        sessions.idle.lock().unwrap().push_back(session);
    }
}

/// Answers a client as a server would that has just let it in; false for one that asks for too much.
async fn welcome(client: &mut TcpStream) -> io::Result<bool> {
    let mut start_up = body(client).await?;
    // TLS is asked for first.
    if start_up == 80_877_103_i32.to_be_bytes() {
        client.write_all(b"N").await?;
        start_up = body(client).await?;
    }
    let texts: Vec<&[u8]> = start_up[4..].split(|byte| *byte == 0).collect();
    let strange = texts.iter().step_by(2).find(|name| !name.is_empty() && !KEPT.iter().any(|kept| kept.as_bytes() == **name));
    if let Some(name) = strange {
        let complaint = format!("SFATAL\0C08P01\0Munsupported startup parameter: {}\0\0", String::from_utf8_lossy(name));
        client.write_all(&framed(b"E", complaint.as_bytes())).await?;
        return Ok(false);
    }
    client.write_all(&[framed(b"R", &[0; 4]), framed(b"K", &[0; 8]), framed(b"Z", b"I")].concat()).await?;
    Ok(true)
}

/// Carries messages until the session is out of a transaction.
async fn transaction(client: &mut TcpStream, session: &mut TcpStream, first: (u8, Vec<u8>)) -> io::Result<()> {
    let (mut kind, mut body) = first;
    loop {
        session.write_all(&framed(&[kind], &body)).await?;
        // Only these are answered to the end.
        if matches!(kind, b'Q' | b'S') {
            loop {
                let (kind, body) = message(session).await?;
                client.write_all(&framed(&[kind], &body)).await?;
                if kind == b'Z' {
                    if body == b"I" {
                        return Ok(());
                    }
                    break;
                }
            }
        }
        (kind, body) = message(client).await?;
    }
}

fn pooled() -> PostgresSettings {
    PostgresSettings { transaction_pooler: true, ..settings() }
}

async fn behind_a_pooler() -> (Schema, Arc<dyn Store>) {
    let schema = Schema::make().await;
    let pooler = Pooler::before(&schema).await;
    let store = PostgresStore::connect(&pooler.url(), pooled()).await.unwrap();
    (schema, Arc::new(store))
}

/// What uses most kinds of statements, from the port's suite.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_works_behind_a_pooler() {
    let (_schema, store) = behind_a_pooler().await;
    fencing::writers_at_once_have_one_winner(Arc::clone(&store)).await;
    fencing::the_first_outcome_stands(Arc::clone(&store)).await;
    fencing::a_large_batch_is_one(Arc::clone(&store)).await;
    agenda::leases_are_taken_by_one(Arc::clone(&store)).await;
    let (_schema, store) = behind_a_pooler().await;
    history::logs_are_in_order(Arc::clone(&store)).await;
    let (_schema, store) = behind_a_pooler().await;
    agenda::what_went_on_leaves_the_outbox(Arc::clone(&store)).await;
    let (_schema, store) = behind_a_pooler().await;
    history::filters_hold_together(Arc::clone(&store)).await;
    moves::a_replay_begins_the_next_attempt(store).await;
    let (_schema, store) = behind_a_pooler().await;
    versions::another_deploy_is_another_version(store).await;
    let (_schema, store) = behind_a_pooler().await;
    catalog::changes_at_once_have_revisions_of_their_own(Arc::clone(&store)).await;
    agenda::what_ended_is_pruned(store).await;
}

/// Several processes come at once, and take each other's sessions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_start_behind_a_pooler() {
    let schema = Schema::make().await;
    let pooler = Pooler::before(&schema).await;
    let starts: Vec<_> = (0..5)
        .map(|_| {
            let url = pooler.url();
            tokio::spawn(async move {
                let store = PostgresStore::connect(&url, pooled()).await.unwrap();
                for _ in 0..10 {
                    let new = dispatch("total");
                    assert_eq!(store.record(&[finished(&new, Outcome::Success)]).await.unwrap(), [true]);
                }
            })
        })
        .collect();
    for start in starts {
        start.await.unwrap();
    }
}

/// Whoever forgets the setting is told by the pooler, not by chance later.
#[tokio::test]
async fn the_pooler_has_to_be_named() {
    let schema = Schema::make().await;
    let pooler = Pooler::before(&schema).await;
    let error = PostgresStore::connect(&pooler.url(), settings()).await.err().unwrap();
    assert!(matches!(&error, Error::Unavailable(why) if why.contains("startup parameter")), "{error}");
}
