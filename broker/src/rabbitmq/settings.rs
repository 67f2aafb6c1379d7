//! The bounds of a RabbitMQ broker, and where it is.

use std::path::PathBuf;
use std::time::Duration;

use wasmill_domain::wire::Writes;

/// The type of functions' queues. It counts when a queue is declared first; a queue that exists
/// stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueueKind {
    /// Replicated over the nodes of the cluster. It counts how often each message was delivered, so
    /// that an event that kills hosts is found.
    #[default]
    Quorum,
    /// On one node. It knows only whether a message was delivered before, not how often: an event
    /// that kills hosts is never told from one that was on a host that died.
    Classic,
}

/// Every bound of a [`RabbitBroker`](super::RabbitBroker). [`RabbitSettings::default`] fits most.
#[derive(Clone, Debug)]
pub struct RabbitSettings {
    /// The connections' name in RabbitMQ's own lists, followed by what each is for. Default:
    /// `wasmill`.
    pub name: String,
    /// For `amqps`: a file of certificates in PEM. RabbitMQ's certificate must be one of them or be
    /// signed by one of them, and no other is trusted. Default: none, which trusts what the system
    /// trusts.
    pub ca_file: Option<PathBuf>,
    /// What kind of queue is declared. Default: quorum.
    pub queue_kind: QueueKind,
    /// How many batches a queue takes; RabbitMQ refuses further ones, and counts a little late. A
    /// quorum queue that was full takes again when a fifth is gone. Default: 1,000,000. `None`
    /// leaves it to the policies of the RabbitMQ.
    pub queue_max_batches: Option<u64>,
    /// The prefix of every queue's name on RabbitMQ, for installations that share a virtual host.
    /// Default: empty.
    pub queue_prefix: String,
    /// Over how many channels publishes are spread. Those of one queue share one, which keeps their
    /// order. Default: 4.
    pub publish_channels: usize,
    /// How many messages of one publish channel may await their confirms at a time. Default: 1,024.
    pub channel_window: usize,
    /// How many messages of one publish channel may wait to be sent. Default: 16,384.
    pub channel_backlog: usize,
    /// How many bytes of bodies may wait or await confirms, on all channels together. Default:
    /// 256 MiB.
    pub publish_bytes: usize,
    /// How large a body may be. Default: 16 MiB, which is RabbitMQ 4's own default.
    pub message_bytes: usize,
    /// How many requests may await their replies at a time, on each publish channel. Default:
    /// 65,536.
    pub replies: usize,
    /// How long a publish is tried. It ends when it is confirmed or refused, or by then with
    /// `Unavailable`. Once RabbitMQ has been away for so long, publishes fail at once. Default: 5
    /// s.
    pub publish_timeout: Duration,
    /// How long declaring, deleting, asking for a depth, pinging and beginning to consume may take.
    /// Default: 5 s.
    pub operation_timeout: Duration,
    /// How long making a connection may take: DNS, TCP, TLS and AMQP's handshake together. Default:
    /// 5 s.
    pub connect_timeout: Duration,
    /// How often a connection sends a heartbeat. One that is idle for twice as long is given up.
    /// Whole seconds, at least one. Default: 5 s.
    pub heartbeat: Duration,
    /// How long after the first failure to connect the second attempt is made; each further wait is
    /// twice as long, up to `retry_at_most`. Default: 100 ms.
    pub retry_first: Duration,
    /// The longest wait between two attempts to connect. Default: 5 s.
    pub retry_at_most: Duration,
    /// The versions of the formats that are written to other processes. Whoever learns which
    /// processes are alive sets them, at any time: clones share them. Default: the newest of each.
    pub writes: Writes,
}

impl Default for RabbitSettings {
    fn default() -> Self {
        Self {
            name: "wasmill".into(),
            ca_file: None,
            queue_kind: QueueKind::Quorum,
            queue_max_batches: Some(1_000_000),
            queue_prefix: String::new(),
            publish_channels: 4,
            channel_window: 1_024,
            channel_backlog: 16_384,
            publish_bytes: 256 << 20,
            message_bytes: 16 << 20,
            replies: 65_536,
            publish_timeout: Duration::from_secs(5),
            operation_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(5),
            heartbeat: Duration::from_secs(5),
            retry_first: Duration::from_millis(100),
            retry_at_most: Duration::from_secs(5),
            writes: Writes::default(),
        }
    }
}

impl RabbitSettings {
    /// The settings with values that cannot work replaced by the nearest that can.
    pub(super) fn checked(mut self) -> Self {
        self.publish_channels = self.publish_channels.clamp(1, 256);
        self.channel_window = self.channel_window.max(1);
        self.channel_backlog = self.channel_backlog.max(1);
        self.heartbeat = self.heartbeat.clamp(Duration::from_secs(1), Duration::from_secs(3_600));
        self.retry_first = self.retry_first.max(Duration::from_millis(1));
        self.retry_at_most = self.retry_at_most.max(self.retry_first);
        self
    }
}
