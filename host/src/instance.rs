//! One instance of a function: its store, and the way into it.

use std::sync::Arc;
use std::time::Instant;

use wasmill_domain::manifest::{Kind, Limits};
use wasmill_domain::{Event, Manifest};
use wasmill_guest::GuestData;
use wasmill_store::MAX_BATCH_BYTES;
use wasmtime::{CallHook, Store, StoreContextMut, Trap, UpdateDeadline};

use crate::entry::http::HttpExchange;
use crate::entry::returned::Returned;
use crate::entry::{Entry, Live};
use crate::execution::CurrentExecution;
use crate::guest::Guest;
use crate::log::LOG_FACTOR;
use crate::prepare::prepared::Prepared;
use crate::settings::GuestSettings;
use crate::shares::SharePermit;
use crate::streams::Streams;

/// The attempt's time is over.
#[derive(Debug, thiserror::Error)]
#[error("the time limit was reached")]
pub(crate) struct DeadlinePassed;

/// The guest has called the host as often as it may.
#[derive(Debug, thiserror::Error)]
#[error("the limit on calls of host functions was reached")]
pub(crate) struct TooManyHostCalls;

/// The host holds more for the guest than there is room for.
#[derive(Debug, thiserror::Error)]
#[error("the limit on memory was reached by what the host holds")]
pub(crate) struct HostMemoryExceeded;

/// An instance, made when it is called first.
pub(crate) struct Instance {
    // Dropped before the room that it takes is given to somebody else.
    store: Store<GuestData>,
    live: Option<Live>,
    entry: Arc<Entry>,
    served: u32,
    _reservation: InstanceReservation,
}

/// What of the engine's an instance takes, given back when it is gone.
pub(crate) struct InstanceReservation {
    pub(crate) _slots: SharePermit,
    pub(crate) _memory: SharePermit,
}

impl Instance {
    /// A fresh one.
    pub(crate) fn new(
        prepared: &Prepared,
        manifest: &Manifest,
        settings: &GuestSettings,
        guest: Guest,
        reservation: InstanceReservation,
    ) -> Self {
        let mut store = Store::new(prepared.wasmtime(), GuestData::new(guest));
        store.limiter(|data| Guest::of_mut(data));
        store.set_max_component_handles(settings.handles);
        store.call_hook(after_each_call);
        // Says that calls need a stack of their own, on which they can be interrupted; what happens
        // is the next line's.
        store.epoch_deadline_async_yield_and_update(1);
        store.epoch_deadline_callback(at_each_tick);
        Self {
            store,
            live: None,
            entry: prepared.entry(manifest.kind),
            served: 0,
            _reservation: reservation,
        }
    }

    /// Begins an attempt: gives the guest its budgets, and a command its event.
    pub(crate) fn begin(
        &mut self,
        manifest: &Manifest,
        deadline: Instant,
        execution: CurrentExecution,
        event: Option<&Event>,
    ) -> wasmtime::Result<()> {
        self.served += 1;
        let is_command = self.kind() == Kind::Command;
        let most = manifest.limits.output_bytes.as_usize();
        let streams = event.filter(|_| is_command).map(|event| Streams::of(event, most));
        self.guest_mut().begin(manifest, deadline, execution, streams)?;
        self.store.fuel_async_yield_interval(Some(FUEL_STEP))?;
        self.store.set_fuel(manifest.limits.fuel)?;
        self.store.set_epoch_deadline(1);
        let largest = largest_call(&manifest.limits, self.guest().keyvalue.largest_value());
        self.store.set_hostcall_fuel(largest);
        self.guest_mut().expect_calls_of(largest);
        Ok(())
    }

    /// Makes the instance: runs what the guest runs at its start, and finds `handle` with the
    /// contract's types.
    pub(crate) async fn instantiate(&mut self) -> wasmtime::Result<()> {
        if self.live.is_none() {
            self.live = Some(self.entry.instantiate(&mut self.store).await?);
        }
        Ok(())
    }

    /// Calls the guest with an event, or with a request whose caller waits.
    pub(crate) async fn call(
        &mut self,
        event: &Event,
        exchange: Option<HttpExchange>,
    ) -> wasmtime::Result<Returned> {
        self.instantiate().await?;
        let Some(live) = &self.live else { wasmtime::bail!("there is no instance") };
        match exchange {
            None => live.call(&mut self.store, event).await,
            Some(exchange) => live.exchange(&mut self.store, exchange).await,
        }
    }

    /// What it is called as.
    pub(crate) fn kind(&self) -> Kind {
        self.entry.kind()
    }

    /// Whether it can be used for a further attempt.
    pub(crate) fn serves_again(&self) -> bool {
        self.entry.serves_again()
    }

    /// How many attempts it was used for.
    pub(crate) fn served(&self) -> u32 {
        self.served
    }

    /// Takes down what the host still holds for the guest, at the end of an attempt.
    pub(crate) fn measure(&mut self) {
        self.guest_mut().measure();
    }

    /// What is known of the guest.
    pub(crate) fn guest(&self) -> &Guest {
        Guest::of(self.store.data())
    }

    fn guest_mut(&mut self) -> &mut Guest {
        Guest::of_mut(self.store.data_mut())
    }

    /// The fuel that is left. Where the guest did not come to its end, there is less, by at most
    /// [`FUEL_STEP`].
    pub(crate) fn fuel_left(&self) -> u64 {
        // An error would mean that fuel is not counted, and it always is.
        self.store.get_fuel().unwrap_or(0)
    }
}

/// A guest counts its fuel where only it sees it, and takes it down at calls of the host, when it
/// returns, and whenever it has used this much.
const FUEL_STEP: u64 = 5_000_000;

/// The fuel that a call of the host takes: its work is not the guest's instructions.
const HOST_CALL_FUEL: u64 = 1_000;

/// Bytes that a guest may hand over in one call besides a result: a log line and its fields, say.
const CALL_ALLOWANCE: usize = 1 << 20;

/// Bytes for the attributes of one emitted event.
const EVENT_ALLOWANCE: usize = 1 << 10;

/// What the guest may hand over in one call, in bytes: its result, or what it keeps, is the
/// largest.
fn largest_call(limits: &Limits, largest_value: usize) -> usize {
    let events = limits.emitted_events as usize * EVENT_ALLOWANCE;
    let result = limits.output_bytes.as_usize().saturating_add(events);
    result.max(largest_value).saturating_add(CALL_ALLOWANCE)
}

/// What the host may come to hold for an attempt within limits of their own, besides what counts as
/// the guest's memory, in bytes: its result while that is collected in a buffer that grows, its
/// log, and what is handed over in one call or read from a bucket.
fn allowance(limits: &Limits) -> u64 {
    let result = 2 * limits.output_bytes.0;
    let log = limits.log_bytes.0.saturating_mul(LOG_FACTOR);
    let call = largest_call(limits, usize::try_from(MAX_BATCH_BYTES).unwrap_or(usize::MAX)) as u64;
    result.saturating_add(log).saturating_add(call)
}

/// The same of a function with this manifest: where it has files, each resource may be one that is
/// read.
pub(crate) fn allowance_for(manifest: &Manifest, settings: &GuestSettings) -> u64 {
    const PIECE: u64 = 64 << 10;
    let open = if manifest.files.is_empty() { 0 } else { settings.resources_with_files as u64 };
    allowance(&manifest.limits).saturating_add(open * PIECE)
}

/// Ends an attempt that called the host too often, or for which the host holds too much. (Counting
/// is done where the calls arrive: wasmtime calls this for its own built-in functions as well, such
/// as copying memory.)
fn after_each_call(
    mut store: StoreContextMut<'_, GuestData>,
    hook: CallHook,
) -> wasmtime::Result<()> {
    if matches!(hook, CallHook::CallingHost) {
        Guest::of_mut(store.data_mut()).calls.enter();
    }
    if !matches!(hook, CallHook::ReturningFromHost) {
        return Ok(());
    }
    // Around wasmtime's own functions the guest keeps its count where only it sees it: what is set
    // here it would not notice, or count what it used a second time.
    if Guest::of_mut(store.data_mut()).calls.leave() {
        let left = store.get_fuel()?.checked_sub(HOST_CALL_FUEL);
        store.set_fuel(left.unwrap_or(0))?;
        if left.is_none() {
            return Err(Trap::OutOfFuel.into());
        }
    }
    let guest = Guest::of_mut(store.data_mut());
    if guest.calls.exceeded() {
        return Err(TooManyHostCalls.into());
    }
    if !guest.measure_in_time() {
        return Err(HostMemoryExceeded.into());
    }
    Ok(())
}

/// Lets others have the thread, unless the guest's time is over. (A guest that waits inside a host
/// call is not here; a timer ends that.)
#[expect(clippy::needless_pass_by_value, reason = "it is called so")]
fn at_each_tick(store: StoreContextMut<'_, GuestData>) -> wasmtime::Result<UpdateDeadline> {
    if Instant::now() >= Guest::of(store.data()).deadline {
        return Err(DeadlinePassed.into());
    }
    Ok(UpdateDeadline::Yield(1))
}
