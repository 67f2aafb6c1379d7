//! The ports that a host uses.

wasmill_domain::ports! {
    /// The ports of a store that a host uses.
    pub struct HostStore of wasmill_store {
        catalog: Catalog,
        artifacts: Artifacts,
        identity: Identity,
        ledger: Ledger,
        history: History,
        agenda: Agenda,
        dead_letters: DeadLetters,
        orders: Orders,
    }
}

wasmill_domain::ports! {
    /// The ports of a broker that a host uses.
    pub struct HostBroker of wasmill_broker {
        publishing: Publishing,
        consuming: Consuming,
        queues: Queues,
        streams: Streams,
        broadcasts: Broadcasts,
    }
}
