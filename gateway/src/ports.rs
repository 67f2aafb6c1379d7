//! The ports that a gateway uses.

wasmill_domain::ports! {
    /// The ports of a store that a gateway uses.
    pub struct GatewayStore of wasmill_store {
        catalog: Catalog,
        artifacts: Artifacts,
        secrets: Secrets,
        identity: Identity,
        ledger: Ledger,
        history: History,
        agenda: Agenda,
        buckets: Buckets,
        dead_letters: DeadLetters,
    }
}

wasmill_domain::ports! {
    /// The ports of a broker that a gateway uses, beside what it publishes events by.
    pub struct GatewayBroker of wasmill_broker {
        publishing: Publishing,
        queues: Queues,
        streams: Streams,
        control: Control,
        broadcasts: Broadcasts,
    }
}
