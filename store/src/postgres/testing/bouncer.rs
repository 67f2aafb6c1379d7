//! PgBouncer, which gives each transaction another session.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use sqlx::postgres::PgConnectOptions;
use tempfile::TempDir;

use super::{Schema, command, free_port, give_away, shared_server, url_at, wait};

/// How many sessions it has at the server: fewer than clients, so that they are passed around.
const SESSIONS: usize = 3;

/// A PgBouncer with `pool_mode = transaction` in front of the server that tests share, every
/// session of which works in one schema. It is gone with this object.
pub struct PgBouncer {
    port: u16,
    process: Child,
    _folder: TempDir,
}

impl PgBouncer {
    /// Starts one.
    pub fn before(schema: &Schema) -> Self {
        Self::ignoring(schema, "")
    }

    /// Starts one that lets clients ask for these parameters at the beginning of a session
    /// (`name,name,…`), and does not care.
    pub fn ignoring(schema: &Schema, parameters: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        give_away(folder.path());
        let (port, options) = (free_port(), shared_server().parse::<PgConnectOptions>().unwrap());
        let (host, server_port, user) =
            (options.get_host(), options.get_port(), options.get_username());
        let database = options.get_database().unwrap_or(user);
        // Sessions are handed out in turn: nobody gets the same one twice in a row.
        let settings = format!(
            "[databases]\n\
             {database} = host={host} port={server_port} user={user} connect_query='SET search_path = {schema}'\n\
             [pgbouncer]\n\
             pool_mode = transaction\n\
             server_round_robin = 1\n\
             default_pool_size = {SESSIONS}\n\
             listen_addr = 127.0.0.1\n\
             listen_port = {port}\n\
             unix_socket_dir =\n\
             auth_type = any\n\
             ignore_startup_parameters = {parameters}\n",
            schema = schema.name()
        );
        let (file, log) = (folder.path().join("pgbouncer.ini"), folder.path().join("log"));
        fs::write(&file, settings).unwrap();
        let output = fs::File::create(&log).unwrap();
        let mut bouncer = command(&program());
        let process = bouncer.arg("-q").arg(file).stdout(Stdio::null()).stderr(output).spawn();
        let process = process
            .unwrap_or_else(|e| panic!("pgbouncer (Debian's package of this name) is needed: {e}"));
        let mut bouncer = Self { port, process, _folder: folder };
        wait("PgBouncer answers", || {
            let ended = bouncer.process.try_wait().unwrap();
            assert!(ended.is_none(), "it does not start: {}", fs::read_to_string(&log).unwrap());
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        bouncer
    }

    /// The URL of the database behind it.
    pub fn url(&self) -> String {
        url_at(&format!("127.0.0.1:{}", self.port), &shared_server())
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// Debian has it where only root's path leads.
fn program() -> PathBuf {
    let debian = Path::new("/usr/sbin/pgbouncer");
    if debian.exists() { debian.into() } else { "pgbouncer".into() }
}
